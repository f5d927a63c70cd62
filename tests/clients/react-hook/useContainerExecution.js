// A hook as the guide of BharatBuild describes it, reading from each answer what its clients read and nothing else. It sends no
// credentials, takes the lines of a stream that begin with `data: `, and shows the `detail` of an error.
const { useCallback, useState } = require('react');

function useContainerExecution({ baseUrl, projectId, projectType = 'node', onOutput = () => {}, onError = () => {} }) {
  const [container, setContainer] = useState(null);
  const [output, setOutput] = useState([]);
  const [isExecuting, setExecuting] = useState(false);
  const [previewUrl, setPreviewUrl] = useState(null);
  const base = `${baseUrl}/api/v1/containers/${projectId}`;

  const failed = useCallback(
    (what) => {
      onError(what);
      return null;
    },
    [onError],
  );

  const createContainer = useCallback(
    async (limits = {}) => {
      const response = await send('POST', `${base}/create`, { project_type: projectType, ...limits });
      if (!response.ok) return failed((await response.json()).detail);
      const made = await response.json();
      setContainer(made);
      setPreviewUrl(made.preview_urls['3000'] ?? null);
      return made;
    },
    [base, projectType, failed],
  );

  // Reads a stream to its end; true when every command succeeded.
  const follow = useCallback(
    async (path, body) => {
      setExecuting(true);
      let success = true;
      try {
        const response = await send('POST', `${base}/${path}`, body);
        if (!response.ok) throw new Error((await response.json()).detail);
        for await (const event of events(response)) {
          onOutput(event);
          if (event.type === 'stdout' || event.type === 'stderr') setOutput((lines) => [...lines, event.data]);
          if (event.type === 'exit') success &&= event.success || event.data === 0;
          if (event.type === 'error') {
            success = false;
            onError(event.data);
          }
          if (event.type === 'done') break;
        }
      } catch (error) {
        success = false;
        onError(error.message);
      } finally {
        setExecuting(false);
      }
      return success;
    },
    [base, onOutput, onError],
  );

  const executeCommand = useCallback((command, timeout = 300) => follow('exec', { command, timeout }), [follow]);
  const executeCommands = useCallback((commands, stopOnError = true) => follow('exec/batch', { commands, stop_on_error: stopOnError }), [follow]);

  const writeFile = useCallback(async (path, content) => (await send('POST', `${base}/files`, { path, content })).ok, [base]);

  const writeFiles = useCallback(
    async (files) => {
      const response = await send('POST', `${base}/files/batch`, { files });
      if (!response.ok) return false;
      const { success, total } = await response.json();
      return success === total;
    },
    [base],
  );

  const verifyFiles = useCallback(
    async (paths) => {
      const { all_exist, missing } = await (await send('POST', `${base}/files/verify`, { paths })).json();
      return { allExist: all_exist, missing };
    },
    [base],
  );

  const readFile = useCallback(
    async (path) => {
      const response = await fetch(`${base}/files/${encodeURIComponent(path)}`);
      return response.ok ? (await response.json()).content : null;
    },
    [base],
  );

  const listFiles = useCallback(
    async (path = '.') => {
      const files = await (await fetch(`${base}/files?path=${encodeURIComponent(path)}`)).json();
      return files.map(({ name, type }) => `${type}:${name}`);
    },
    [base],
  );

  const getPreviewUrl = useCallback(
    async (port = 3000) => {
      const response = await fetch(`${base}/preview?port=${port}`);
      if (!response.ok) return failed((await response.json()).detail);
      const { url } = await response.json();
      setPreviewUrl(url);
      return url;
    },
    [base, failed],
  );

  const getStats = useCallback(async () => (await fetch(`${base}/stats`)).json(), [base]);
  const stopContainer = useCallback(async () => (await fetch(`${base}/stop`, { method: 'POST' })).ok, [base]);

  const deleteContainer = useCallback(
    async (deleteFiles = false) => {
      const response = await fetch(`${base}?delete_files=${deleteFiles}`, { method: 'DELETE' });
      if (response.ok) setContainer(null);
      return response.ok;
    },
    [base],
  );

  return {
    container, output, isExecuting, previewUrl, createContainer, executeCommand, executeCommands, writeFile, writeFiles, verifyFiles,
    readFile, listFiles, getPreviewUrl, getStats, stopContainer, deleteContainer,
  };
}

function send(method, url, body) {
  return fetch(url, { method, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
}

async function* events(response) {
  const decoder = new TextDecoder();
  let waiting = '';
  for await (const piece of response.body) {
    waiting += decoder.decode(piece, { stream: true });
    const lines = waiting.split('\n');
    waiting = lines.pop();
    for (const line of lines) if (line.startsWith('data: ')) yield JSON.parse(line.slice('data: '.length));
  }
}

// The address that another client of the same system would show: the first of these that there is.
function firstPreviewUrl(urls) {
  return ['primary', '3000', '5173', '5174', '8080', 'reverse_proxy'].map((name) => urls[name]).find(Boolean);
}

module.exports = { useContainerExecution, firstPreviewUrl };
