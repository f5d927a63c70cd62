//! Names of things in a workspace, as clients write them.
//!
//! This is syntax and nothing else: a [`WorkspacePath`] says what is meant, never that it is safe.
//! What confines an operation to the workspace is the kernel, in [`crate::confine`].

use std::fmt;
use std::str::FromStr;

/// Longest path in bytes. The kernel takes 4096 with the terminating zero.
pub const PATH_BYTES_MAX: usize = 4095;
/// Longest component in bytes: `NAME_MAX` of every file system we run on.
pub const COMPONENT_BYTES_MAX: usize = 255;
/// Most components of a path. Trees deeper than this can be deleted, not addressed.
pub const COMPONENTS_MAX: usize = 64;

/// A relative path of UTF-8 components, none of which is `.` or `..`.
///
/// Repeated and trailing slashes are dropped, so equal paths compare equal. The workspace itself is
/// [`WorkspacePath::root`], which no text parses to.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkspacePath(String);

/// Why a text is no path in a workspace, or no path for this operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// Nothing is named.
    #[error("path is empty")]
    Empty,
    /// It starts with a slash.
    #[error("path is absolute; paths are relative to the workspace")]
    Absolute,
    /// It has a `.` component.
    #[error("path has a `.` component")]
    Dot,
    /// It has a `..` component.
    #[error("path has a `..` component")]
    DotDot,
    /// It has a NUL byte.
    #[error("path has a NUL byte")]
    Nul,
    /// It is not UTF-8.
    #[error("path is not UTF-8")]
    NotUtf8,
    /// One component is longer than [`COMPONENT_BYTES_MAX`], or than the file system takes.
    #[error("path has a component longer than {COMPONENT_BYTES_MAX} bytes")]
    ComponentTooLong,
    /// The whole is longer than [`PATH_BYTES_MAX`].
    #[error("path is longer than {PATH_BYTES_MAX} bytes")]
    TooLong,
    /// It has more than [`COMPONENTS_MAX`] components.
    #[error("path has more than {COMPONENTS_MAX} components")]
    TooDeep,
    /// The workspace itself cannot be written, moved or removed.
    #[error("path names the workspace itself")]
    Root,
    /// A directory would become its own descendant.
    #[error("a directory cannot be moved into itself")]
    IntoItself,
}

impl WorkspacePath {
    /// The workspace itself.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// Reads a path as clients send it.
    ///
    /// # Errors
    ///
    /// [`BadPath`], naming the first rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        Self::collect(text, Dots::Refuse)
    }

    /// Like [`WorkspacePath::parse`], but `.` components are dropped, as many write `./a`; what
    /// has no others is the root.
    ///
    /// # Errors
    ///
    /// [`BadPath`], naming the first rule that the text breaks.
    pub fn parse_dotted(text: &str) -> Result<Self, BadPath> {
        Self::collect(text, Dots::Drop)
    }

    /// Like [`WorkspacePath::parse`], for bytes of unknown encoding.
    ///
    /// # Errors
    ///
    /// [`BadPath`], naming the first rule that the bytes break.
    pub fn parse_bytes(bytes: &[u8]) -> Result<Self, BadPath> {
        Self::parse(std::str::from_utf8(bytes).map_err(|_| BadPath::NotUtf8)?)
    }

    /// Reads a member's name in an archive, where `./` is customary.
    pub(crate) fn parse_member(bytes: &[u8]) -> Result<Self, BadPath> {
        Self::parse_dotted(std::str::from_utf8(bytes).map_err(|_| BadPath::NotUtf8)?)
    }

    fn collect(text: &str, dots: Dots) -> Result<Self, BadPath> {
        // Length first, so that everything after it is cheap.
        if text.len() > PATH_BYTES_MAX {
            return Err(BadPath::TooLong);
        }
        if text.is_empty() {
            return Err(BadPath::Empty);
        }
        if text.starts_with('/') {
            return Err(BadPath::Absolute);
        }
        let mut path = String::with_capacity(text.len());
        for component in text.split('/').filter(|component| !component.is_empty()) {
            if component == "." && dots == Dots::Drop {
                continue;
            }
            check_component(component)?;
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(component);
        }
        Self(path).check_whole()
    }

    /// This path followed by another.
    ///
    /// # Errors
    ///
    /// [`BadPath::TooLong`] or [`BadPath::TooDeep`], since both parts were fine alone.
    pub fn join(&self, rest: &WorkspacePath) -> Result<Self, BadPath> {
        match (self.is_root(), rest.is_root()) {
            (true, _) => Ok(rest.clone()),
            (_, true) => Ok(self.clone()),
            _ => Self(format!("{}/{}", self.0, rest.0)).check_whole(),
        }
    }

    fn check_whole(self) -> Result<Self, BadPath> {
        if self.0.len() > PATH_BYTES_MAX {
            return Err(BadPath::TooLong);
        }
        if self.components().count() > COMPONENTS_MAX {
            return Err(BadPath::TooDeep);
        }
        Ok(self)
    }

    /// True for the workspace itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The text, with single slashes between components; empty for the root.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components from the outermost on; none for the root.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|component| !component.is_empty())
    }

    /// The last component, or `None` for the root.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.rsplit('/').next().filter(|name| !name.is_empty())
    }

    /// What this path is in, or `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<WorkspacePath> {
        let name = self.name()?;
        let parent = &self.0[..self.0.len() - name.len()];
        Some(Self(parent.trim_end_matches('/').to_owned()))
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Dots {
    Refuse,
    Drop,
}

fn check_component(component: &str) -> Result<(), BadPath> {
    match component {
        "." => Err(BadPath::Dot),
        ".." => Err(BadPath::DotDot),
        _ if component.len() > COMPONENT_BYTES_MAX => Err(BadPath::ComponentTooLong),
        _ if component.contains('\0') => Err(BadPath::Nul),
        _ => Ok(()),
    }
}

impl FromStr for WorkspacePath {
    type Err = BadPath;

    fn from_str(text: &str) -> Result<Self, BadPath> {
        Self::parse(text)
    }
}

impl AsRef<str> for WorkspacePath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkspacePath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slashes_are_normalised() {
        for text in ["a/b", "a//b", "a/b/", "a///b//"] {
            assert_eq!(WorkspacePath::parse(text).unwrap().as_str(), "a/b", "{text}");
        }
    }

    #[test]
    fn each_rule_has_its_refusal() {
        let long = "x".repeat(COMPONENT_BYTES_MAX + 1);
        let huge = "x/".repeat(PATH_BYTES_MAX);
        let deep = vec!["d"; COMPONENTS_MAX + 1].join("/");
        let rows = [
            ("", BadPath::Empty),
            ("/", BadPath::Absolute),
            ("/etc/passwd", BadPath::Absolute),
            ("//a", BadPath::Absolute),
            (".", BadPath::Dot),
            ("a/./b", BadPath::Dot),
            ("..", BadPath::DotDot),
            ("a/../b", BadPath::DotDot),
            ("a/..", BadPath::DotDot),
            ("a\0b", BadPath::Nul),
            (long.as_str(), BadPath::ComponentTooLong),
            (huge.as_str(), BadPath::TooLong),
            (deep.as_str(), BadPath::TooDeep),
        ];
        for (text, why) in rows {
            assert_eq!(WorkspacePath::parse(text), Err(why), "{text:.40}");
        }
        assert_eq!(WorkspacePath::parse_bytes(b"a/\xff"), Err(BadPath::NotUtf8));
    }

    #[test]
    fn the_limits_themselves_are_allowed() {
        let name = "x".repeat(COMPONENT_BYTES_MAX);
        assert!(WorkspacePath::parse(&name).is_ok());
        assert!(WorkspacePath::parse(&vec!["d"; COMPONENTS_MAX].join("/")).is_ok());
        let longest = vec![name.as_str(); 16].join("/");
        assert_eq!(longest.len(), PATH_BYTES_MAX);
        assert!(WorkspacePath::parse(&longest).is_ok());
    }

    #[test]
    fn names_that_only_look_special_are_names() {
        for text in ["...", "..a", ".git", "a\nb", "a b", "-", "a:b", "\\", "%2e%2e"] {
            assert_eq!(WorkspacePath::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_path_comes_apart_and_together() {
        let path = WorkspacePath::parse("a/b/c").unwrap();
        assert_eq!(path.name(), Some("c"));
        assert_eq!(path.parent(), Some(WorkspacePath::parse("a/b").unwrap()));
        let single = WorkspacePath::parse("a").unwrap();
        assert_eq!(single.parent(), Some(WorkspacePath::root()));
        assert_eq!(WorkspacePath::root().parent(), None);
        assert_eq!(WorkspacePath::root().name(), None);
        assert_eq!(WorkspacePath::root().join(&path).unwrap(), path);
        assert_eq!(path.join(&WorkspacePath::root()).unwrap(), path);
        assert_eq!(single.join(&path).unwrap().as_str(), "a/a/b/c");
    }

    #[test]
    fn a_joined_path_keeps_the_limits() {
        let half = WorkspacePath::parse(&vec!["d"; COMPONENTS_MAX / 2 + 1].join("/")).unwrap();
        assert_eq!(half.join(&half), Err(BadPath::TooDeep));
    }

    #[test]
    fn members_of_archives_may_start_with_a_dot() {
        assert_eq!(WorkspacePath::parse_member(b"./a/./b").unwrap().as_str(), "a/b");
        assert!(WorkspacePath::parse_member(b"./").unwrap().is_root());
        assert_eq!(WorkspacePath::parse_member(b"./../a"), Err(BadPath::DotDot));
        assert_eq!(WorkspacePath::parse_member(b"/a"), Err(BadPath::Absolute));
    }

    proptest! {
        #[test]
        fn what_parses_is_made_of_plain_components(text in "[./a\u{0}é]{0,24}") {
            if let Ok(path) = WorkspacePath::parse(&text) {
                prop_assert!(!path.is_root());
                prop_assert!(!path.as_str().starts_with('/') && !path.as_str().ends_with('/'));
                for component in path.as_str().split('/') {
                    prop_assert!(!matches!(component, "" | "." | ".."));
                    prop_assert!(!component.contains('\0'));
                }
                prop_assert_eq!(WorkspacePath::parse(path.as_str()), Ok(path.clone()));
            }
        }
    }
}
