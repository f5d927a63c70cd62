// What a web IDE does to show a terminal: xterm.js on one end, a dialect's WebSocket on the other.

// How each of them is spoken.
const dialects = {
  // The AI Project Builder. Keys and output are the messages themselves. A size is told when the socket is opened, so another
  // size needs another socket.
  builder: {
    address: (socket, { cols, rows }) => `${socket}?cols=${cols}&rows=${rows}`,
    keys: (text) => text,
    output: (message) => message,
  },
  // The Terminal Server. Everything is JSON with a type.
  terminal_server: {
    address: (socket) => socket,
    keys: (text) => JSON.stringify({ type: 'stdin', data: text }),
    output: (message) => {
      const said = JSON.parse(message);
      return said.type === 'stdout' || said.type === 'stderr' ? said.data : '';
    },
    size: ({ cols, rows }) => JSON.stringify({ type: 'resize', data: { rows, cols } }),
  },
};

let term;
let socket;
// The close code of a socket that the server closed.
let closedWith = null;

// Shows the terminal; done when it is connected.
function attach({ dialect, address, cols, rows }) {
  const spoken = dialects[dialect];
  term = new Terminal({ cols, rows });
  term.open(document.getElementById('terminal'));
  term.onData((text) => socket.send(spoken.keys(text)));
  return connect(spoken, address);
}

// Changes the size of the window; done when the server has been told.
function resize({ dialect, address, cols, rows }) {
  const spoken = dialects[dialect];
  term.resize(cols, rows);
  if (spoken.size) return socket.send(spoken.size(term));
  socket.onmessage = socket.onclose = null;
  socket.close();
  return connect(spoken, address);
}

function connect(spoken, address) {
  socket = new WebSocket(spoken.address(address, term));
  socket.onmessage = ({ data }) => term.write(spoken.output(data));
  socket.onclose = ({ code }) => (closedWith = code);
  return new Promise((resolve, reject) => {
    socket.onopen = () => {
      if (spoken.size) socket.send(spoken.size(term));
      resolve();
    };
    socket.onerror = () => reject(new Error(`no WebSocket at ${socket.url}`));
  });
}

// What is on the screen: its lines without blanks at their ends, and which of the two screens it is.
function shown() {
  const buffer = term.buffer.active;
  const lines = [];
  for (let row = 0; row < term.rows; row++) {
    lines.push(buffer.getLine(buffer.baseY + row)?.translateToString(true) ?? '');
  }
  return { lines, kind: buffer.type };
}

// The cells of a line: its character, how many columns it takes, and its colour.
function cells(row) {
  const buffer = term.buffer.active;
  const line = buffer.getLine(buffer.baseY + row);
  return Array.from({ length: term.cols }, (_, column) => {
    const cell = line.getCell(column);
    return { text: cell.getChars(), width: cell.getWidth(), color: cell.getFgColor() };
  });
}
