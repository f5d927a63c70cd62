// What a user does in the editor of the guide, from the first render to the last, with the hook in a component.
//
// usage: node scenario.js URL
const assert = require('node:assert/strict');
const { createElement } = require('react');
const { act, create } = require('react-test-renderer');
const { firstPreviewUrl, useContainerExecution } = require('./useContainerExecution');

globalThis.IS_REACT_ACT_ENVIRONMENT = true;
const baseUrl = process.argv[2];
const seen = { events: [], errors: [] };
let heard = () => {};
const onOutput = (event) => {
  seen.events.push(event);
  heard(event);
};
const onError = (error) => seen.errors.push(error);

// What the component was last given by the hook.
let hook;
function Editor({ projectId }) {
  hook = useContainerExecution({ baseUrl, projectId, onOutput, onError });
  return createElement('pre', null, hook.output.join('\n'));
}

// Does something with the hook, and waits until the component shows it.
async function doing(work) {
  seen.events.length = 0;
  seen.errors.length = 0;
  let result;
  await act(async () => {
    result = await work(hook);
  });
  return result;
}

const types = () => seen.events.map((event) => event.type);

async function beforeThereIsAContainer() {
  assert.equal(await doing((hook) => hook.executeCommand('ls')), false);
  assert.deepEqual(seen.errors, ['Container not found. Create project first.']);
  assert.equal(await doing((hook) => hook.writeFile('a', 'b')), false);
  assert.equal(await doing((hook) => hook.getPreviewUrl()), null);
  assert.deepEqual(seen.errors, ['Preview not available - container not found']);
  await doing((hook) => hook.createContainer({ memory_limit: 'lots' }));
  assert.match(seen.errors[0], /512m/, 'the detail of an error is a text');
}

async function createAndWrite() {
  const made = await doing((hook) => hook.createContainer({ memory_limit: '512m', cpu_limit: 0.5 }));
  assert.equal(made.status, 'running');
  assert.equal(hook.container.project_id, 'editor');
  assert.equal(hook.previewUrl, made.preview_urls['3000']);
  assert.equal(firstPreviewUrl(made.preview_urls), made.preview_urls.primary);

  assert.equal(await doing((hook) => hook.writeFile('package.json', '{"scripts":{"dev":"node server.js"}}')), true);
  const server = `require('http').createServer((q, r) => r.setHeader('content-type', 'text/html').end('<script src="/main.js">'))
    .listen(3001, () => console.log('Ready on http://localhost:3001'))`;
  assert.equal(await doing((hook) => hook.writeFiles([{ path: 'server.js', content: server }, { path: 'src/App.tsx', content: 'x' }])), true);
  assert.equal(await doing((hook) => hook.writeFiles([{ path: '../a', content: '' }])), false);
  assert.deepEqual(await doing((hook) => hook.verifyFiles(['src/App.tsx', 'b'])), { allExist: false, missing: ['b'] });
  assert.equal(await doing((hook) => hook.readFile('src/App.tsx')), 'x');
  assert.equal(await doing((hook) => hook.readFile('b')), null);
  assert.deepEqual(await doing((hook) => hook.listFiles()), ['directory:src', 'file:package.json', 'file:server.js']);
}

async function runCommands(screen) {
  assert.equal(await doing((hook) => hook.executeCommand('echo out && echo oops >&2')), true);
  assert.deepEqual([types()[0], types()[1], types().at(-2), types().at(-1)], ['system', 'status', 'exit', 'done']);
  assert.deepEqual([...hook.output].sort(), ['oops', 'out']);
  assert.equal(screen.toJSON().children[0], hook.output.join('\n'), 'the component shows it');
  assert.equal(hook.isExecuting, false);

  assert.equal(await doing((hook) => hook.executeCommand('exit 3')), false);
  const exit = seen.events.find((event) => event.type === 'exit');
  assert.deepEqual([exit.data, exit.code, exit.success], [3, 3, false]);

  assert.equal(await doing((hook) => hook.executeCommand('sudo ls')), false);
  assert.deepEqual(seen.errors, ['Blocked: Blocked command pattern: sudo']);
  assert.equal(await doing((hook) => hook.executeCommand('sleep 60', 1)), false);
  assert.deepEqual(seen.errors, ['Command timed out after 1s']);

  assert.equal(await doing((hook) => hook.executeCommands(['echo a', 'false', 'echo b'])), false);
  assert.deepEqual(types().filter((type) => type === 'command_start' || type === 'batch_stopped'), ['command_start', 'command_start', 'batch_stopped']);
}

// The server runs as long as its command is followed, so the preview is looked at from within.
async function seeThePreview() {
  let page;
  await doing(async (hook) => {
    const ready = new Promise((resolve) => (heard = (event) => event.data?.includes?.('Ready on') && resolve()));
    const running = hook.executeCommand('npm run dev', 600);
    await Promise.race([ready, running]);
    const url = await hook.getPreviewUrl(3000);
    page = await fetch(baseUrl + url, { headers: { Origin: 'https://editor.example' } });
    await hook.stopContainer();
    await running;
  });
  assert.equal(hook.previewUrl, '/api/v1/preview/editor/');
  assert.equal(page.status, 200, 'the port was found in the output');
  assert.equal(page.headers.get('access-control-allow-origin'), '*');
  assert.equal(page.headers.get('x-frame-options'), null);
  assert.equal(await page.text(), '<script src="/api/v1/preview/editor/main.js">');
}

async function cleanUp() {
  const stats = await doing((hook) => hook.getStats());
  assert.deepEqual(Object.keys(stats).sort(), ['cpu_percent', 'memory_limit_mb', 'memory_percent', 'memory_usage_mb', 'status']);
  assert.equal(await doing((hook) => hook.deleteContainer()), true);
  assert.equal(hook.container, null);
  await doing((hook) => hook.createContainer());
  assert.equal(await doing((hook) => hook.readFile('src/App.tsx')), 'x', 'files outlive a delete that does not name them');
  assert.equal(await doing((hook) => hook.deleteContainer(true)), true);
}

async function main() {
  let screen;
  await act(async () => {
    screen = create(createElement(Editor, { projectId: 'editor' }));
  });
  await beforeThereIsAContainer();
  await createAndWrite();
  await runCommands(screen);
  await seeThePreview();
  await cleanUp();
  await act(async () => screen.unmount());
  console.log('the hook saw what it expects');
}

main();
