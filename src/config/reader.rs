//! Reads leaves as what they have to be, and collects every fault on the way. Reading
//! a key is also what makes it known: what nobody read is an unknown key.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::Fault;
use super::layers::{Key, Leaf, Leaves, Source};
use sandtree_model::durations::{LONGEST, Span, Timeout};

/// Least likeness (0 to 1) of two keys at which one is suggested for the other.
const LIKENESS_MIN: f64 = 0.8;

/// What was read so far.
pub(super) struct Reader {
    leaves: Leaves,
    /// Every key that was read, with what it may be.
    known: BTreeMap<Key, String>,
    faults: Vec<Fault>,
}

/// What is wrong with a value, in words that follow its key.
type Wrong = String;

impl Reader {
    pub(super) fn new(leaves: Leaves, faults: Vec<Fault>) -> Self {
        Self { leaves, known: BTreeMap::new(), faults }
    }

    pub(super) fn profiles(&self) -> Vec<Box<str>> {
        self.leaves.profiles()
    }

    /// Reads one key with `read`; a fault gives `fallback`.
    pub(super) fn read<T>(
        &mut self,
        key: &Key,
        allowed: &str,
        fallback: T,
        read: impl FnOnce(&Leaf) -> Result<T, Wrong>,
    ) -> T {
        self.known.insert(key.clone(), allowed.to_owned());
        let Some(leaf) = self.leaves.0.get(key) else {
            self.fault(key, format!("is missing; allowed: {allowed}"));
            return fallback;
        };
        read(leaf).unwrap_or_else(|wrong| {
            self.fault(key, format!("{wrong}; allowed: {allowed}"));
            fallback
        })
    }

    /// A number.
    pub(super) fn number(&mut self, key: &Key, range: RangeInclusive<u64>) -> u64 {
        let (min, max) = (*range.start(), *range.end());
        self.read(key, &format!("{min} to {max}"), min, |leaf| {
            let number = match text_layer(leaf) {
                Some(text) => Some(text.parse().ok()),
                None => leaf.value.as_integer().map(|number| u64::try_from(number).ok()),
            };
            let number = number.ok_or_else(|| is_not("a whole number", leaf))?;
            number
                .filter(|number| range.contains(number))
                .ok_or_else(|| "is out of range".to_owned())
        })
    }

    /// One of a few words; the first is the fallback.
    pub(super) fn one_of(&mut self, key: &Key, words: &[&'static str]) -> Box<str> {
        let (last, others) = words.split_last().unwrap_or((&"", &[]));
        let allowed = format!("{} or {last}", others.join(", "));
        self.text(key, &allowed, |text| {
            let known = words.contains(&text);
            known.then_some(()).ok_or_else(|| format!("{text:?} is not one of them"))
        })
    }

    /// A number that fits into a `usize`.
    pub(super) fn count(&mut self, key: &Key, range: RangeInclusive<u64>) -> usize {
        usize::try_from(self.number(key, range)).unwrap_or(usize::MAX)
    }

    /// A number that fits into a `u32`.
    pub(super) fn small(&mut self, key: &Key, range: RangeInclusive<u32>) -> u32 {
        let (min, max) = (u64::from(*range.start()), u64::from(*range.end()));
        u32::try_from(self.number(key, min..=max)).unwrap_or(*range.end())
    }

    /// A duration in seconds.
    pub(super) fn span(&mut self, key: &Key, seconds: RangeInclusive<u64>) -> Duration {
        let (min, max) = (Span::from_secs(*seconds.start()), Span::from_secs(*seconds.end()));
        let span = self.read(key, &format!("{min} to {max}"), min, |leaf| {
            let span = text_of(leaf)?.parse::<Span>()?;
            (min..=max).contains(&span).then_some(span).ok_or_else(|| "is out of range".to_owned())
        });
        span.0
    }

    /// A time-out that can be switched off.
    pub(super) fn timeout(&mut self, key: &Key) -> Timeout {
        self.read(key, "1s to ten years, or never", Timeout::Never, |leaf| {
            let timeout = text_of(leaf)?.parse::<Timeout>()?;
            let allowed = Duration::from_secs(1)..=LONGEST;
            match timeout.limit().is_none_or(|limit| allowed.contains(&limit)) {
                true => Ok(timeout),
                false => Err("is out of range".to_owned()),
            }
        })
    }

    /// True or false.
    pub(super) fn flag(&mut self, key: &Key) -> bool {
        self.read(key, "true or false", false, |leaf| {
            let flag = match text_layer(leaf) {
                Some(text) => text.parse().ok(),
                None => leaf.value.as_bool(),
            };
            flag.ok_or_else(|| is_not("true or false", leaf))
        })
    }

    /// A text that `check` accepts.
    pub(super) fn text(
        &mut self,
        key: &Key,
        allowed: &str,
        check: impl FnOnce(&str) -> Result<(), Wrong>,
    ) -> Box<str> {
        self.read(key, allowed, Box::default(), |leaf| {
            let text = text_of(leaf)?;
            check(text).map(|()| text.into())
        })
    }

    /// A list of texts, each of which becomes something else.
    pub(super) fn list<T>(
        &mut self,
        key: &Key,
        allowed: &str,
        item: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Vec<T> {
        self.read(key, allowed, Vec::new(), |leaf| {
            let wrong = || is_not("a list of texts", leaf);
            if let Some(text) = text_layer(leaf) {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                return parts.map(item).collect();
            }
            let values = leaf.value.as_array().ok_or_else(wrong)?;
            values.iter().map(|value| item(value.as_str().ok_or_else(wrong)?)).collect()
        })
    }

    /// The names of the sections in a section.
    pub(super) fn below(&self, parent: &Key) -> std::collections::BTreeSet<Box<str>> {
        self.leaves.0.keys().filter_map(|key| key.section_below(parent)).map(Into::into).collect()
    }

    /// Texts under names that the user chooses.
    pub(super) fn texts(
        &mut self,
        parent: &Key,
        allowed: &str,
        check: impl Fn(&str, &str) -> Result<(), Wrong>,
    ) -> BTreeMap<Box<str>, Box<str>> {
        let keys = self.leaves.0.keys().filter(|key| key.below(parent).is_some());
        let keys: Vec<Key> = keys.cloned().collect();
        let mut texts = BTreeMap::new();
        for key in keys {
            let name: Box<str> = key.below(parent).unwrap_or_default().into();
            let text = self.text(&key, allowed, |text| check(&name, text));
            texts.insert(name, text);
        }
        texts
    }

    /// Numbers under names that the user chooses.
    pub(super) fn counts(
        &mut self,
        parent: &Key,
        range: RangeInclusive<u64>,
    ) -> BTreeMap<Box<str>, usize> {
        let keys = self.leaves.0.keys().filter(|key| key.below(parent).is_some());
        let keys: Vec<Key> = keys.cloned().collect();
        let named = |key: &Key| key.below(parent).unwrap_or_default().into();
        keys.iter().map(|key| (named(key), self.count(key, range.clone()))).collect()
    }

    /// Adds a fault of a key.
    pub(super) fn fault(&mut self, key: &Key, problem: impl Into<String>) {
        let leaf = self.leaves.0.get(key);
        if leaf.is_some_and(|leaf| leaf.inherited) {
            return;
        }
        self.faults.push(Fault {
            key: Some(key.clone()),
            source: leaf.map_or(Source::BuiltIn, |leaf| leaf.source.clone()),
            value: leaf.map(|leaf| super::show::value(key, &leaf.value)),
            problem: problem.into(),
        });
    }

    /// Every key that may be set, with what is allowed for it.
    #[cfg(test)]
    pub(super) fn known(&self) -> &BTreeMap<Key, String> {
        &self.known
    }

    /// Ends reading: what nobody read becomes a fault.
    pub(super) fn finish(mut self) -> (BTreeMap<Key, Leaf>, Vec<Fault>) {
        let unknown = self.leaves.0.keys().filter(|key| !self.known.contains_key(*key));
        for key in unknown.cloned().collect::<Vec<_>>() {
            let problem = self.unknown(&key);
            self.fault(&key, problem);
        }
        (self.leaves.0, self.faults)
    }

    fn unknown(&self, key: &Key) -> String {
        let below: Vec<String> =
            self.known.keys().filter(|known| known.starts_with(key)).map(Key::to_string).collect();
        if !below.is_empty() {
            return format!("is a section, with the keys {}", below.join(", "));
        }
        let text = key.to_string();
        let likeness = |known: &Key| strsim::jaro_winkler(&known.to_string(), &text);
        let nearest = self.known.keys().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        match nearest.filter(|known| likeness(known) >= LIKENESS_MIN) {
            Some(nearest) => format!("there is no such key; did you mean {nearest}?"),
            None => "there is no such key".to_owned(),
        }
    }
}

/// The text of a leaf whose layer can hold nothing but texts.
fn text_layer(leaf: &Leaf) -> Option<&str> {
    matches!(leaf.source, Source::Env(_) | Source::Flag(_)).then(|| leaf.value.as_str())?
}

fn text_of(leaf: &Leaf) -> Result<&str, Wrong> {
    leaf.value.as_str().ok_or_else(|| is_not("a text", leaf))
}

fn is_not(what: &str, leaf: &Leaf) -> Wrong {
    format!("has to be {what}, not {}", leaf.value.type_str())
}
