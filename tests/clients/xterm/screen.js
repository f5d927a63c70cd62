// A page with a terminal, as who sits before it: keys in, a screen out.
const fs = require('node:fs');
const path = require('node:path');

const PAGE_FILES = {
  '/': ['page.html', 'text/html'],
  '/attach.js': ['attach.js', 'text/javascript'],
  '/xterm.js': ['node_modules/@xterm/xterm/lib/xterm.js', 'text/javascript'],
  '/xterm.css': ['node_modules/@xterm/xterm/css/xterm.css', 'text/css'],
};
// Longest time until the screen shows what it has to.
const SHOWN_WITHIN_MS = 60_000;

class Screen {
  // Settings are the origin of the page, the dialect, the address of its WebSocket, and the size in columns and rows.
  static async open(browser, settings) {
    const page = await browser.newPage();
    page.setDefaultTimeout(SHOWN_WITHIN_MS);
    // Nothing listens at the page's origin: its files are given to the browser from here.
    await page.route('**/*', (route) => {
      const file = PAGE_FILES[new URL(route.request().url()).pathname];
      if (!file) return route.fulfill({ status: 404 });
      return route.fulfill({ contentType: file[1], body: fs.readFileSync(path.join(__dirname, file[0])) });
    });
    const screen = new Screen(page, settings);
    await page.goto(`${settings.origin}/`);
    await screen.attach();
    return screen;
  }

  constructor(page, settings) {
    this.page = page;
    this.settings = settings;
  }

  async attach() {
    await this.page.evaluate((settings) => attach(settings), this.settings);
    await this.page.locator('.xterm-helper-textarea').focus();
    await this.until('a prompt', ({ lines }) => lines.some((line) => line.trim() !== ''));
  }

  // As a user does who presses F5.
  async reload() {
    await this.page.reload();
    await this.attach();
  }

  async resize(cols, rows) {
    this.settings = { ...this.settings, cols, rows };
    await this.page.evaluate((settings) => resize(settings), this.settings);
  }

  async type(text) {
    await this.page.keyboard.type(text);
  }

  async press(...keys) {
    for (const key of keys) await this.page.keyboard.press(key);
  }

  // Types a command line.
  async run(command) {
    await this.type(command);
    await this.press('Enter');
  }

  shown() {
    return this.page.evaluate(() => shown());
  }

  // Waits until the screen is as it has to be; the screen.
  async until(what, isSo, argument) {
    const source = `(argument) => (${isSo})(shown(), argument)`;
    try {
      await this.page.waitForFunction(`(${source})(${JSON.stringify(argument ?? null)})`, undefined, { polling: 50 });
    } catch (error) {
      const { lines, kind } = await this.shown();
      throw new Error(`no ${what} on the ${kind} screen:\n${lines.join('\n')}`, { cause: error });
    }
    return this.shown();
  }

  // Waits for a line that is exactly this; its number.
  async line(text) {
    const { lines } = await this.until(`line ${JSON.stringify(text)}`, ({ lines }, text) => lines.includes(text), text);
    return lines.lastIndexOf(text);
  }

  // Waits until the shell asks for a command: nothing is on its line yet.
  async prompt() {
    await this.until('free prompt', ({ lines }) => /[$#] *$/.test(lines.filter(Boolean).at(-1) ?? ''));
  }

  // Waits until the other screen is shown: `alternate` is that of a program which fills it.
  async kind(kind) {
    await this.until(`${kind} screen`, (shown, kind) => shown.kind === kind, kind);
  }

  // The cells of a line that is exactly this.
  async cells(text) {
    const row = await this.line(text);
    return this.page.evaluate((row) => cells(row), row);
  }

  // Waits until the server has closed the socket; its close code.
  async closed() {
    await this.page.waitForFunction('closedWith !== null', undefined, { polling: 50 });
    return this.page.evaluate(() => closedWith);
  }
}

module.exports = { Screen };
