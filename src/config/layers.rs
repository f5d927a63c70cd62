//! Layers of the configuration, flattened to leaves; later layers win, leaf by leaf.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use toml::Value;

use super::Fault;

/// Prefix of environment variables that are keys.
pub(super) const ENV_PREFIX: &str = "SANDTREE_";
/// The profile that others inherit from.
const BASE_PROFILE: &str = "default";

/// Name of a leaf, such as `profiles.default.limits.pids`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Vec<Box<str>>);

impl Key {
    /// A key from its parts.
    pub(super) fn of<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        Self(parts.into_iter().map(Into::into).collect())
    }

    /// A key from a text with dots between its parts.
    pub(super) fn dotted(text: &str) -> Self {
        Self::of(text.split('.'))
    }

    /// The last part, if the parts before it are these.
    pub(super) fn below(&self, parent: &Key) -> Option<&str> {
        let (last, before) = self.0.split_last()?;
        (before == parent.0).then_some(last)
    }

    /// The part after these, if others follow it.
    pub(super) fn section_below(&self, parent: &Key) -> Option<&str> {
        let rest = self.0.strip_prefix(&*parent.0)?;
        rest.first().filter(|_| rest.len() > 1).map(|name| &**name)
    }

    pub(super) fn starts_with(&self, parent: &Key) -> bool {
        self.0.starts_with(&parent.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, part) in self.0.iter().enumerate() {
            let dot = if place == 0 { "" } else { "." };
            let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            match !part.is_empty() && part.chars().all(bare) {
                true => write!(f, "{dot}{part}")?,
                false => write!(f, "{dot}{part:?}")?,
            }
        }
        Ok(())
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `config/default.toml`, which is part of the program.
    BuiltIn,
    /// The file of `--config`.
    File(Box<Path>),
    /// This environment variable.
    Env(Box<str>),
    /// This flag.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::BuiltIn => f.write_str("built in"),
            Source::File(path) => write!(f, "file {}", path.display()),
            Source::Env(name) => write!(f, "environment {name}"),
            Source::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A value and where it comes from.
#[derive(Clone, PartialEq)]
pub(super) struct Leaf {
    /// As it was written; texts of the environment and of flags are not yet anything else.
    pub value: Value,
    /// Where it was written.
    pub source: Source,
    /// Whether a profile has it from the profile `default`.
    pub inherited: bool,
}

/// Without the value, which may be a secret.
impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({})", self.source)
    }
}

/// All layers that were read so far, merged.
#[derive(Debug, Default)]
pub(super) struct Leaves(pub(super) BTreeMap<Key, Leaf>);

impl Leaves {
    /// Lays a TOML text over what is there.
    pub(super) fn add_toml(&mut self, text: &str, source: &Source, faults: &mut Vec<Fault>) {
        match text.parse::<toml::Table>() {
            Ok(table) => self.add_table(&mut Vec::new(), table, source),
            Err(error) => faults.push(Fault {
                key: None,
                source: source.clone(),
                value: None,
                problem: not_toml(text, &error),
            }),
        }
    }

    fn add_table(&mut self, path: &mut Vec<Box<str>>, table: toml::Table, source: &Source) {
        for (name, value) in table {
            path.push(name.into());
            if let Value::Table(table) = value {
                self.add_table(path, table, source);
            } else {
                self.add(Key(path.clone()), value, source.clone());
            }
            path.pop();
        }
    }

    /// Lays the environment over what is there. A name without `__` is no key.
    pub(super) fn add_env(&mut self, env: impl IntoIterator<Item = (String, String)>) {
        for (name, text) in env {
            let Some(path) = name.strip_prefix(ENV_PREFIX).filter(|path| path.contains("__"))
            else {
                continue;
            };
            let mut parts: Vec<String> = Vec::new();
            for part in path.split("__") {
                // Names of a sandbox's own variables keep their case.
                let is_variable = parts.last().is_some_and(|last| last == "env");
                parts.push(if is_variable { part.to_owned() } else { part.to_lowercase() });
            }
            let key = Key::of(parts.iter().map(String::as_str));
            self.add(key, Value::String(text), Source::Env(name.into()));
        }
    }

    /// Lays one value over what is there.
    pub(super) fn add(&mut self, key: Key, value: Value, source: Source) {
        self.0.insert(key, Leaf { value, source, inherited: false });
    }

    /// Gives each profile what it does not say itself.
    pub(super) fn inherit(&mut self) {
        let base = Key::of(["profiles", BASE_PROFILE]);
        let profiles = Key::dotted("profiles");
        let names: std::collections::BTreeSet<Box<str>> = self
            .0
            .keys()
            .filter(|key| key.starts_with(&profiles) && key.0.len() > 2)
            .map(|key| key.0[1].clone())
            .filter(|name| &**name != BASE_PROFILE)
            .collect();
        let inherited: Vec<(Key, Leaf)> = self
            .0
            .iter()
            .filter(|(key, _)| key.starts_with(&base))
            .map(|(k, l)| (k.clone(), l.clone()))
            .collect();
        for name in names {
            for (key, leaf) in &inherited {
                let mut key = key.clone();
                key.0[1] = name.clone();
                let leaf = Leaf { inherited: true, ..leaf.clone() };
                self.0.entry(key).or_insert(leaf);
            }
        }
    }

    /// The names of all profiles.
    pub(super) fn profiles(&self) -> Vec<Box<str>> {
        let profiles = Key::dotted("profiles");
        let keys = self.0.keys().filter(|key| key.starts_with(&profiles) && key.0.len() > 2);
        let mut names: Vec<Box<str>> = keys.map(|key| key.0[1].clone()).collect();
        names.dedup();
        names
    }
}

/// Where a text stops being TOML, without the line itself, which may hold a secret.
fn not_toml(text: &str, error: &toml::de::Error) -> String {
    let start = error.span().map_or(0, |span| span.start);
    let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
    format!("is not TOML: line {line}: {}", error.message())
}
