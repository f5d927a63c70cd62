//! What is named on the command line: a path here, a path in a project, or `-`.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// Longest id of a project.
const ID_BYTES_MAX: usize = 63;
/// Where the workspace is in a sandbox; such paths are understood, too.
const WORKSPACE: &str = "/workspace";

/// One side of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A path on this machine.
    Local(PathBuf),
    /// A path in the workspace of a project.
    Remote(Remote),
    /// Standard input or output.
    Stdio,
}

/// A path in the workspace of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remote {
    /// Its id.
    pub(super) project: String,
    /// Relative to the workspace; empty for the workspace itself.
    pub(super) path: String,
    /// It ended with a slash: it is meant to be a directory.
    pub(super) is_directory: bool,
    /// It ended with `/.`: what is in the directory is meant, not the directory.
    pub(super) is_content: bool,
}

impl Remote {
    /// The last name of the path; the project's id for the workspace.
    pub(super) fn name(&self) -> &str {
        match self.path.rsplit('/').next() {
            None | Some("") => &self.project,
            Some(name) => name,
        }
    }

    /// A path below this one.
    pub(super) fn join(&self, name: &str) -> Self {
        let slash = if self.path.is_empty() { "" } else { "/" };
        let path = format!("{}{slash}{name}", self.path);
        Self { path, is_directory: false, is_content: false, ..self.clone() }
    }

    fn parse(project: &str, text: &str) -> Result<Self, String> {
        let inside = match text.strip_prefix(WORKSPACE) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest.trim_start_matches('/'),
            Some(_) | None if text.starts_with('/') && text != "/" && text != "/." => {
                return Err(format!("{text} is outside {WORKSPACE}, which is all that is copied"));
            }
            Some(_) | None => text,
        };
        let is_content = inside == "." || inside.ends_with("/.");
        let names = inside.split('/').filter(|name| !matches!(*name, "" | "."));
        let path = names.collect::<Vec<_>>().join("/");
        let is_directory = is_content || inside.ends_with('/');
        Ok(Self { project: project.to_owned(), path, is_directory, is_content })
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.project, self.path)
    }
}

impl Place {
    /// What an argument names. A path here may be any bytes, one in a project is text.
    pub(super) fn parse(argument: OsString) -> Result<Self, String> {
        let bytes = argument.as_encoded_bytes();
        let colon = bytes.iter().position(|byte| *byte == b':');
        let project = colon.and_then(|colon| std::str::from_utf8(&bytes[..colon]).ok());
        match (project.filter(|project| is_id(project)), argument.to_str()) {
            (_, Some("-")) => Ok(Place::Stdio),
            (_, Some("")) => Err("is empty".to_owned()),
            (Some(project), Some(text)) => {
                Remote::parse(project, &text[project.len() + 1..]).map(Place::Remote)
            }
            (Some(_), None) => Err("a path in a project has to be UTF-8".to_owned()),
            (None, _) => Ok(Place::Local(PathBuf::from(argument))),
        }
    }
}

/// Whether a path here ends with `/.`, so that its content is meant. `Path` itself does
/// not tell.
pub(super) fn is_content(path: &Path) -> bool {
    let text = path.as_os_str().as_encoded_bytes();
    text == b"." || text == b".." || text.ends_with(b"/.") || text.ends_with(b"/..")
}

/// Whether a path here ends with a slash.
pub(super) fn ends_with_slash(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b"/")
}

fn is_id(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut bytes = text.bytes();
    text.len() <= ID_BYTES_MAX
        && bytes.next().is_some_and(is_plain)
        && bytes.all(|byte| is_plain(byte) || byte == b'-')
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn parse(text: &str) -> Result<Place, String> {
        Place::parse(text.into())
    }

    fn remote(text: &str) -> (String, String, bool, bool) {
        match parse(text) {
            Ok(Place::Remote(it)) => (it.project, it.path, it.is_directory, it.is_content),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_project_and_a_colon_make_a_path_remote() {
        for (text, path, is_directory, is_content) in [
            ("p:a/b", "a/b", false, false),
            ("p:", "", false, false),
            ("p:/", "", true, false),
            ("p:.", "", true, true),
            ("p:./a/", "a", true, false),
            ("p:a/.", "a", true, true),
            ("p:/workspace/a", "a", false, false),
            ("p:/workspace", "", false, false),
            ("p:a/../b", "a/../b", false, false),
        ] {
            let expected = ("p".to_owned(), path.to_owned(), is_directory, is_content);
            assert_eq!(remote(text), expected, "{text}");
        }
        for text in ["a", "./p:a", "/p:a", "P:a", "a/b:c", "../p:x"] {
            assert_eq!(parse(text), Ok(Place::Local(text.into())), "{text}");
        }
        assert_eq!(parse("-"), Ok(Place::Stdio));
        assert!(parse("p:/tmp/x").is_err() && parse("p:/workspaces").is_err());
    }

    #[test]
    fn a_path_here_may_be_any_bytes_and_one_in_a_project_not() {
        for bytes in [&b"caf\xe9"[..], b"./p:\xe9", b"P\xe9:a"] {
            let argument = OsString::from_vec(bytes.to_vec());
            assert_eq!(Place::parse(argument.clone()), Ok(Place::Local(argument.into())));
        }
        assert!(Place::parse(OsString::from_vec(b"p:\xe9".to_vec())).is_err());
    }

    #[test]
    fn a_name_for_the_target_is_the_last_of_the_path_or_the_project() {
        let remote = |path| Remote::parse("p", path).unwrap();
        assert_eq!((remote("a/b/").name(), remote("").name()), ("b", "p"));
        assert_eq!(
            (remote("").join("x").path, remote("a").join("x").path),
            ("x".into(), "a/x".into())
        );
        assert!(is_content(Path::new("a/.")) && is_content(Path::new(".")));
        assert!(!is_content(Path::new("a.")) && ends_with_slash(Path::new("a/")));
    }
}
