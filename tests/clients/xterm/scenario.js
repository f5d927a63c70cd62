// What a user does in the terminal of a web IDE, from the first key to the end of the shell, in a real browser.
//
// usage: node scenario.js DIALECT ORIGIN ADDRESS      the origin is that of the page, the address that of the WebSocket
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { chromium } = require('playwright-core');
const { Screen } = require('./screen');

const [dialect, origin, address] = process.argv.slice(2);
const where = { dialect, origin, address };
const BROWSERS = ['chromium', 'google-chrome', 'google-chrome-stable', 'chromium-browser'];
const ARGUMENTS = [
  // Tests run as root, in containers, and reach for nothing outside.
  '--no-sandbox',
  '--disable-dev-shm-usage',
  '--disable-background-networking',
  // The page comes from no address, which makes it a public one. Such a page would have to ask its user before it may reach loopback.
  '--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets',
];

function browserPath() {
  const dirs = process.env.PATH.split(path.delimiter);
  const places = BROWSERS.flatMap((name) => dirs.map((dir) => path.join(dir, name)));
  const found = places.find((place) => fs.existsSync(place));
  assert(found, 'no Chromium is installed; scripts/ensure-browser installs it');
  return found;
}

async function typing(screen) {
  await screen.run("echo he''llo");
  await screen.line('hello');
  await screen.run("echo sl''eeps; sleep 1000");
  await screen.line('sleeps');
  await screen.press('Control+c');
  // The interrupt drops what was typed after it and not read, as in every terminal.
  await screen.prompt();
  await screen.run("echo af''ter");
  await screen.line('after');
}

async function editingTheHistory(screen) {
  await screen.run('echo one two');
  await screen.line('one two');
  await screen.press('ArrowUp', 'Backspace', 'Backspace', 'Backspace');
  await screen.run('three');
  await screen.line('one three');
  await screen.press('ArrowUp', ...Array(5).fill('ArrowLeft'));
  await screen.run('and ');
  await screen.line('one and three');
}

async function charactersAndColors(screen) {
  await screen.run("printf '%s\\n' 日本語'|' é'|'");
  const wide = await screen.cells('日本語|');
  assert.deepEqual(wide.slice(0, 7).map(({ text }) => text), ['日', '', '本', '', '語', '', '|']);
  assert.deepEqual(wide.slice(0, 7).map(({ width }) => width), [2, 0, 2, 0, 2, 0, 1]);
  assert.equal((await screen.cells('é|'))[1].text, '|');
  await screen.run("printf '\\033[31mre''d\\033[0m\\n'");
  await isRed(screen);
}

async function isRed(screen) {
  const red = await screen.cells('red');
  assert.deepEqual(red.slice(0, 3).map(({ color }) => color), [1, 1, 1]);
}

async function resizing(screen) {
  await screen.run('stty size');
  await screen.line('24 80');
  await screen.resize(100, 30);
  await screen.run('stty size');
  await screen.line('30 100');
}

async function aProgramThatFillsTheScreen(screen) {
  const before = await screen.shown();
  await screen.run('seq 1 500 | less');
  await screen.kind('alternate');
  await screen.line('29');
  await screen.press('Shift+G');
  await screen.line('500');
  await screen.press('q');
  await screen.kind('normal');
  await screen.until('what was there before', ({ lines }, line) => lines.includes(line), before.lines.find(Boolean));
}

async function reloadingThePage(screen) {
  await screen.run('MARK=ke""pt');
  await screen.run('echo be""fore');
  await screen.line('before');
  const before = await screen.shown();
  await screen.reload();
  await screen.until('same lines', ({ lines }, before) => lines.join('\n') === before, before.lines.join('\n'));
  await isRed(screen);
  await screen.run('echo "<$MARK>"');
  await screen.line('<kept>');
}

async function reloadingInAnEditor(screen) {
  await screen.run('vi notes.txt');
  await screen.kind('alternate');
  await screen.press('i');
  await screen.run('written before');
  await screen.line('written before');
  await screen.reload();
  await screen.kind('alternate');
  await screen.line('written before');
  await screen.type('written after');
  await screen.line('written after');
  await screen.press('Escape');
  await screen.run(':wq');
  await screen.kind('normal');
  await screen.run("tac notes.txt | tr '\\n' ';'; echo");
  await screen.line('written after;written before;');
}

async function aSecondWindow(screen) {
  const { lines } = await screen.shown();
  const browser = screen.page.context().browser();
  const second = await Screen.open(browser, { ...where, cols: 100, rows: 30 });
  await second.until('what the first shows', (shown, lines) => lines.every((line) => shown.lines.includes(line)), lines.filter(Boolean));
  await second.run("echo to bo''th");
  await Promise.all([second.line('to both'), screen.line('to both')]);
  await second.page.close();
  await screen.run("echo to o''ne");
  await screen.line('to one');
}

async function theEnd(screen) {
  await screen.run('exit 3');
  assert.equal(await screen.closed(), 1000);
}

// Each goes on where the one before it ended.
const STEPS = [
  typing,
  editingTheHistory,
  resizing,
  aProgramThatFillsTheScreen,
  charactersAndColors,
  reloadingThePage,
  reloadingInAnEditor,
  aSecondWindow,
  theEnd,
];

async function main() {
  const browser = await chromium.launch({ executablePath: browserPath(), args: ARGUMENTS });
  try {
    const screen = await Screen.open(browser, { ...where, cols: 80, rows: 24 });
    for (const step of STEPS) {
      console.log(step.name);
      await step(screen);
    }
    console.log('the screen showed all that it had to');
  } finally {
    await browser.close();
  }
}

main();
