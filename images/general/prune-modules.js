// Removes the Node modules that nothing reaches from the modules named as arguments.
//
// Debian's npm is the way to have npm from Debian packages alone, but it depends on 338 packages, among them webpack, Babel, TypeScript
// types and two copies of core-js: 147 MB, of which npm reaches a quarter. A module is kept when a kept module names it in its package.json
// or requires it from any file that is not a test: Debian's modules do not declare everything that they use.

const fs = require('fs');
const path = require('path');

const MODULES = '/usr/share/nodejs';
const kept = new Set();

process.argv.slice(2).forEach(keep);
remove();

function keep(name) {
  const dir = path.join(MODULES, name);
  if (kept.has(name) || !fs.existsSync(dir)) return;
  kept.add(name);
  const real = fs.realpathSync(dir);
  if (real !== dir && real.startsWith(MODULES + '/')) keep(moduleOf(real.slice(MODULES.length + 1)));
  declared(real).forEach(keep);
  sources(real).flatMap(required).forEach(keep);
}

// "@scope/name/file" belongs to "@scope/name", "name/file" to "name".
function moduleOf(specifier) {
  return specifier.split('/').slice(0, specifier.startsWith('@') ? 2 : 1).join('/');
}

function declared(dir) {
  const manifest = path.join(dir, 'package.json');
  if (!fs.existsSync(manifest)) return [];
  const { dependencies, optionalDependencies } = JSON.parse(fs.readFileSync(manifest, 'utf8'));
  return Object.keys({ ...dependencies, ...optionalDependencies });
}

function sources(dir) {
  if (!fs.statSync(dir).isDirectory()) return [dir];
  return fs.readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    if (/^(__)?tests?(__)?($|[-.])/.test(entry.name)) return [];
    if (entry.isDirectory()) return sources(path.join(dir, entry.name));
    return /\.[cm]?js$/.test(entry.name) ? [path.join(dir, entry.name)] : [];
  });
}

function required(file) {
  const specifiers = /(?:require(?:\.resolve)?\(|\bfrom\s|\bimport\s*\(?)\s*["']([^."'/][^"']*)["']/g;
  return [...fs.readFileSync(file, 'utf8').matchAll(specifiers)].map((match) => moduleOf(match[1]));
}

// Links stay: they are tiny, and some of them are how one kept module finds another.
function remove() {
  const present = directories(MODULES).flatMap((name) =>
    name.startsWith('@') ? directories(path.join(MODULES, name)).map((inner) => `${name}/${inner}`) : [name]);
  for (const name of present.filter((name) => !kept.has(name))) {
    fs.rmSync(path.join(MODULES, name), { recursive: true, force: true });
  }
}

function directories(dir) {
  return fs.readdirSync(dir, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}
