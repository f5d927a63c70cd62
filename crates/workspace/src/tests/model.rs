//! Random operations against a second, much simpler bookkeeping.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Fixture, LIMITS, path, read};
use crate::{
    Existing, Kind, Parents, Recursive, TreeOptions, Workspace, WorkspaceError, WorkspacePath,
};

#[derive(Clone, Debug)]
enum Operation {
    Write(String, Vec<u8>),
    Mkdir(String, Parents),
    Remove(String, Recursive),
    Rename(String, String, Existing),
    Copy(String, String, Existing),
}

/// Paths to content; `None` is a directory. A parent is always there.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model(BTreeMap<String, Option<Vec<u8>>>);

impl Model {
    fn apply(&mut self, operation: &Operation) -> bool {
        match operation {
            Operation::Write(at, content) => {
                let fits = !matches!(self.0.get(at), Some(None)) && self.make_parents(at);
                if fits {
                    self.0.insert(at.clone(), Some(content.clone()));
                }
                fits
            }
            Operation::Mkdir(at, Parents::Create) => match self.0.get(at) {
                Some(there) => there.is_none(),
                None => self.make_parents(at) && self.0.insert(at.clone(), None).is_none(),
            },
            Operation::Mkdir(at, Parents::Require) => {
                let fits = !self.0.contains_key(at) && self.has_parent(at);
                if fits {
                    self.0.insert(at.clone(), None);
                }
                fits
            }
            Operation::Remove(at, recursive) => {
                let fits = self.0.contains_key(at)
                    && (*recursive == Recursive::Yes || self.below(at).is_empty());
                if fits {
                    self.0.retain(|there, _| there != at && !is_below(there, at));
                }
                fits
            }
            Operation::Rename(from, to, existing) => {
                let fits =
                    from == to && self.0.contains_key(from) && *existing == Existing::Replace
                        || self.fits(from, to, *existing) && !is_below(to, from);
                if fits && from != to {
                    let moved = self.subtree(from);
                    self.0.retain(|there, _| there != from && !is_below(there, from));
                    self.plant(&moved, to);
                }
                fits
            }
            Operation::Copy(from, to, existing) => {
                let fits = self.fits(from, to, *existing);
                if fits {
                    let copied = self.subtree(from);
                    self.plant(&copied, to);
                }
                fits
            }
        }
    }

    /// Makes the parents of a path like the real thing: outermost first, until a file is in the
    /// way.
    fn make_parents(&mut self, at: &str) -> bool {
        let ends: Vec<usize> = at.match_indices('/').map(|(index, _)| index).collect();
        if ends.iter().any(|end| matches!(self.0.get(&at[..*end]), Some(Some(_)))) {
            return false;
        }
        for end in ends {
            self.0.entry(at[..end].to_owned()).or_insert(None);
        }
        true
    }

    fn has_parent(&self, at: &str) -> bool {
        at.rsplit_once('/').is_none_or(|(parent, _)| matches!(self.0.get(parent), Some(None)))
    }

    /// What `rename(2)` allows for two different paths.
    fn fits(&self, from: &str, to: &str, existing: Existing) -> bool {
        let Some(source) = self.0.get(from) else {
            return false;
        };
        self.has_parent(to)
            && match (source, self.0.get(to)) {
                (_, None) => true,
                (_, Some(_)) if existing == Existing::Keep => false,
                (None, Some(None)) => self.below(to).is_empty(),
                (source, Some(target)) => source.is_some() && target.is_some(),
            }
    }

    fn below(&self, at: &str) -> Vec<String> {
        self.0.keys().filter(|there| is_below(there, at)).cloned().collect()
    }

    fn subtree(&self, from: &str) -> Vec<(String, Option<Vec<u8>>)> {
        let inside = |there: &&String| *there == from || is_below(there, from);
        let keys: Vec<_> = self.0.keys().filter(inside).cloned().collect();
        keys.into_iter().map(|key| (key[from.len()..].to_owned(), self.0[&key].clone())).collect()
    }

    fn plant(&mut self, subtree: &[(String, Option<Vec<u8>>)], to: &str) {
        for (suffix, content) in subtree {
            self.0.insert(format!("{to}{suffix}"), content.clone());
        }
    }
}

fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

fn run(workspace: &Workspace, operation: &Operation) -> Result<(), WorkspaceError> {
    match operation {
        Operation::Write(at, content) => super::write(workspace, at, content).map(|_| ()),
        Operation::Mkdir(at, parents) => workspace.mkdir(&path(at), *parents),
        Operation::Remove(at, recursive) => workspace.remove(&path(at), *recursive),
        Operation::Rename(from, to, existing) => {
            workspace.rename(&path(from), &path(to), *existing)
        }
        Operation::Copy(from, to, existing) => {
            workspace.copy(&path(from), &path(to), *existing, &LIMITS).map(|_| ())
        }
    }
}

fn on_disk(workspace: &Workspace) -> Model {
    let options = TreeOptions { depth_max: 64, entries_max: 10_000, prune: Vec::new() };
    let tree = workspace.tree(&WorkspacePath::root(), &options).unwrap();
    assert!(!tree.truncated);
    let content = |entry: &crate::TreeEntry| match entry.kind {
        Kind::File => Some(read(workspace, &entry.path).unwrap()),
        Kind::Directory => None,
        found @ (Kind::Symlink | Kind::Other) => panic!("{found}"),
    };
    Model(tree.entries.iter().map(|entry| (entry.path.clone(), content(entry))).collect())
}

fn some_path() -> impl Strategy<Value = String> {
    // Few names, so that operations meet each other.
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4)
        .prop_map(|names| names.join("/"))
}

fn some_operation() -> impl Strategy<Value = Operation> {
    let existing = || prop::sample::select(vec![Existing::Keep, Existing::Replace]);
    let parents = prop::sample::select(vec![Parents::Create, Parents::Require]);
    let recursive = prop::sample::select(vec![Recursive::Yes, Recursive::No]);
    let at_bytes = (some_path(), prop::collection::vec(any::<u8>(), 0..8));
    let from_to = || (some_path(), some_path(), existing());
    prop_oneof![
        4 => at_bytes.prop_map(|(at, bytes)| Operation::Write(at, bytes)),
        2 => (some_path(), parents).prop_map(|(at, how)| Operation::Mkdir(at, how)),
        2 => (some_path(), recursive).prop_map(|(at, how)| Operation::Remove(at, how)),
        3 => from_to().prop_map(|(from, to, how)| Operation::Rename(from, to, how)),
        2 => from_to().prop_map(|(from, to, how)| Operation::Copy(from, to, how)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_workspace_behaves_like_a_map_of_paths(
            operations in prop::collection::vec(some_operation(), 1..30),
        ) {
        let fixture = Fixture::new();
        let workspace = fixture.workspace.batched();
        let mut model = Model::default();
        for operation in &operations {
            let expected = model.apply(operation);
            let outcome = run(&workspace, operation);
            prop_assert_eq!(outcome.is_ok(), expected, "{:?}: {:?}", operation, outcome);
            prop_assert_eq!(&on_disk(&workspace), &model, "after {:?}", operation);
        }
        fixture.check();
    }
}
