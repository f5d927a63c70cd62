// A shell on a terminal, over a WebSocket: node-pty with ws, as web IDEs put them together.
// The first line on standard output is the port.
const pty = require('node-pty');
const { WebSocketServer } = require('ws');

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
server.on('listening', () => console.log(server.address().port));
server.on('connection', (socket) => {
  const [program, ...argv] = process.argv.slice(2);
  // Without an encoding the output stays bytes, which is the fastest that it can do.
  const shell = pty.spawn(program, argv, { name: 'xterm-256color', cols: 80, rows: 24, encoding: null });
  shell.onData((bytes) => socket.send(bytes));
  shell.onExit(() => socket.close());
  socket.on('message', (bytes) => shell.write(bytes.toString()));
  socket.on('close', () => shell.kill());
});
