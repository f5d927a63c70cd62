//! Searches of real directories.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::Duration;

use super::*;
use crate::tests::{Fixture, SECRET};
use crate::workspace::Owner;

const LIMITS: SearchLimits = SearchLimits {
    matches_max: 1000,
    entries_max: 100_000,
    file_bytes_max: 1 << 20,
    line_bytes_max: 100,
    time_max: Duration::from_secs(60),
    threads: 2,
};

fn by_name() -> SearchRequest {
    SearchRequest {
        path: WorkspacePath::root(),
        pattern: None,
        globs_case: Case::Sensitive,
        include: Vec::new(),
        exclude: Vec::new(),
        prune: Vec::new(),
        hidden: true,
        kind: None,
        as_owner: false,
        limits: LIMITS,
    }
}

fn by_content(text: &str) -> SearchRequest {
    let (syntax, case) = (PatternSyntax::Regex, Case::Sensitive);
    let pattern = Pattern { text: text.to_owned(), syntax, case, words: false };
    SearchRequest { pattern: Some(pattern), ..by_name() }
}

fn search(fixture: &Fixture, request: &SearchRequest) -> SearchOutcome {
    fixture.workspace.search(request, &Cancel::default()).unwrap()
}

fn paths(outcome: &SearchOutcome) -> Vec<&str> {
    outcome.matches.iter().map(|found| found.path.as_str()).collect()
}

fn tree(files: &[(&str, &[u8])]) -> Fixture {
    let fixture = Fixture::new();
    for (path, content) in files {
        let path = fixture.host(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    fixture
}

#[test]
fn names_are_told_in_order_with_what_they_are() {
    let fixture = tree(&[("b/x.rs", b""), ("a.rs", b""), ("a/y.py", b""), (".hid/z.rs", b"")]);
    symlink("a.rs", fixture.host("link.rs")).unwrap();
    let outcome = search(&fixture, &by_name());
    let all = [".hid", ".hid/z.rs", "a", "a.rs", "a/y.py", "b", "b/x.rs", "link.rs"];
    assert_eq!(paths(&outcome), all);
    assert_eq!(outcome.matches[2].kind, Kind::Directory);
    assert_eq!(outcome.matches[7].kind, Kind::Symlink);
    assert!(!outcome.truncated && outcome.matches.iter().all(|found| found.line.is_none()));

    let rust = vec![Glob::new("*.rs")];
    let request = SearchRequest { include: rust, hidden: false, ..by_name() };
    assert_eq!(paths(&search(&fixture, &request)), ["a.rs", "b/x.rs", "link.rs"]);
    let request = SearchRequest { kind: Some(Kind::File), ..request };
    assert_eq!(paths(&search(&fixture, &request)), ["a.rs", "b/x.rs"]);
    let path = WorkspacePath::parse("b").unwrap();
    let request = SearchRequest { path, include: vec![Glob::of_path("*.rs")], ..by_name() };
    assert_eq!(paths(&search(&fixture, &request)), ["b/x.rs"]);
}

#[test]
fn lines_are_told_with_their_place() {
    let fixture = tree(&[
        ("src/a.txt", "one\nzwei é drei\r\nlast drei".as_bytes()),
        ("src/b.txt", b"nothing"),
        ("z.txt", b"drei"),
    ]);
    let outcome = search(&fixture, &by_content("drei$"));
    let lines: Vec<_> = outcome
        .matches
        .iter()
        .map(|found| (found.path.as_str(), found.line.as_ref().unwrap()))
        .map(|(path, line)| (path, line.number, line.column, line.length, line.text.as_str()))
        .collect();
    assert_eq!(
        lines,
        [
            ("src/a.txt", 2, 8, 4, "zwei é drei"),
            ("src/a.txt", 3, 6, 4, "last drei"),
            ("z.txt", 1, 1, 4, "drei"),
        ]
    );
    assert_eq!(outcome.skipped, SkippedFiles::default());
}

#[test]
fn a_pattern_is_read_in_its_syntax_and_case() {
    let fixture = tree(&[("a", b"a.b\nA.B\naxb\nword\nwordy\n")]);
    let count = |change: &dyn Fn(&mut Pattern)| {
        let mut request = by_content("a.b");
        change(request.pattern.as_mut().unwrap());
        search(&fixture, &request).matches.len()
    };
    assert_eq!(count(&|_| {}), 2);
    assert_eq!(count(&|pattern| pattern.syntax = PatternSyntax::Literal), 1);
    assert_eq!(count(&|pattern| pattern.case = Case::Insensitive), 3);
    assert_eq!(count(&|pattern| pattern.case = Case::Smart), 3);
    let capital = |pattern: &mut Pattern| {
        pattern.text = "A.b".into();
        pattern.case = Case::Smart;
    };
    assert_eq!(count(&capital), 0);
    let word = |pattern: &mut Pattern| {
        pattern.text = "word".into();
        pattern.words = true;
    };
    assert_eq!(count(&word), 1);
    let posix = |pattern: &mut Pattern| {
        pattern.text = "[[:alpha:]]xb+".into();
        pattern.syntax = PatternSyntax::Posix;
    };
    assert_eq!(count(&posix), 1);
}

#[test]
fn what_is_excluded_is_neither_told_nor_entered() {
    let fixture = tree(&[
        ("a.txt", b"x"),
        ("target/a.txt", b"x"),
        ("deep/target/a.txt", b"x"),
        ("deep/file/target", b"x"),
        ("deep/b.log", b"x"),
    ]);
    let prune = vec![Glob::of_name("target")];
    let pruned = SearchRequest { prune, ..by_content("x") };
    let told = search(&fixture, &pruned);
    assert_eq!(paths(&told), ["a.txt", "deep/b.log", "deep/file/target"]);
    let exclude = vec![Glob::new("target"), Glob::new("*.log")];
    assert_eq!(paths(&search(&fixture, &SearchRequest { exclude, ..by_content("x") })), ["a.txt"]);
    let exclude = vec![Glob::new("/target"), Glob::new("deep/file")];
    let told = search(&fixture, &SearchRequest { exclude, ..by_content("x") });
    assert_eq!(paths(&told), ["a.txt", "deep/b.log", "deep/target/a.txt"]);
}

#[test]
fn more_than_the_bound_is_cut_and_told() {
    let fixture = tree(&[("a", "x\n".repeat(30).as_bytes()), ("b", b"x\n"), ("c", b"x\n")]);
    let with = |matches_max, entries_max| SearchRequest {
        limits: SearchLimits { matches_max, entries_max, ..LIMITS },
        ..by_content("x")
    };
    let cut = search(&fixture, &with(7, 100));
    assert_eq!((cut.matches.len(), cut.truncated, cut.timed_out), (7, true, false));
    let whole = search(&fixture, &with(32, 100));
    assert_eq!((whole.matches.len(), whole.truncated), (32, false));
    assert!(search(&fixture, &with(100, 2)).truncated);
    let names = SearchRequest { pattern: None, ..with(2, 100) };
    let names = search(&fixture, &names);
    assert_eq!((names.matches.len(), names.truncated), (2, true));
}

#[test]
fn long_lines_are_cut_between_characters() {
    let line = format!("{}é and more", "x".repeat(99));
    let fixture = tree(&[("a", line.as_bytes())]);
    let outcome = search(&fixture, &by_content("more"));
    let found = outcome.matches[0].line.as_ref().unwrap();
    assert_eq!((found.text.as_str(), found.is_cut), ("x".repeat(99).as_str(), true));
    assert_eq!((found.column, found.length), (106, 4));
}

#[test]
fn what_cannot_be_searched_is_counted() {
    let late_nul = [b"x\n".repeat(100_000).as_slice(), b"\0"].concat();
    let fixture = tree(&[
        ("nul", b"x\0x"),
        ("late", &late_nul),
        ("large", &[b'x'; (1 << 20) + 1]),
        ("fine", &[b'x'; 1 << 20]),
    ]);
    let outcome = search(&fixture, &by_content("x"));
    assert_eq!(paths(&outcome), ["fine"]);
    assert_eq!((outcome.skipped.binary, outcome.skipped.too_large), (2, 1));
    let deep = fixture.host(&vec!["d"; 80].join("/"));
    fs::create_dir_all(deep).unwrap();
    assert_eq!(search(&fixture, &by_content("x")).skipped.too_deep, 1);
}

#[test]
fn one_file_can_be_searched_and_has_no_names_below_it() {
    let fixture = tree(&[("d/a.txt", b"x\ny\nx\n"), ("d/b.txt", b"x\n")]);
    let path = WorkspacePath::parse("d/a.txt").unwrap();
    let request = SearchRequest { path: path.clone(), ..by_content("x") };
    assert_eq!(paths(&search(&fixture, &request)), ["d/a.txt", "d/a.txt"]);
    let other = SearchRequest { include: vec![Glob::of_name("*.py")], ..request };
    assert!(search(&fixture, &other).matches.is_empty());
    let names = SearchRequest { path, ..by_name() };
    let refused = fixture.workspace.search(&names, &Cancel::default());
    assert!(matches!(refused, Err(SearchError::Workspace(WorkspaceError::NotADirectory))));
}

#[test]
fn no_link_leads_out_and_none_is_followed_on_the_way() {
    let fixture = tree(&[("in/a", b"SECRET: but inside\n")]);
    symlink(fixture.outside(), fixture.host("out")).unwrap();
    symlink(fixture.outside().join("secret"), fixture.host("out.txt")).unwrap();
    symlink("in", fixture.host("again")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, fixture.host("fifo"), 0o666.into()).unwrap();
    let outcome = search(&fixture, &by_content("SECRET"));
    assert_eq!(paths(&outcome), ["in/a"]);
    let start =
        |path| SearchRequest { path: WorkspacePath::parse(path).unwrap(), ..by_content("SECRET") };
    assert_eq!(paths(&search(&fixture, &start("again"))), ["again/a"]);
    for path in ["out", "out.txt"] {
        let refused = fixture.workspace.search(&start(path), &Cancel::default());
        assert!(matches!(refused, Err(SearchError::Workspace(WorkspaceError::Escapes))), "{path}");
    }
    let fifo = fixture.workspace.search(&start("fifo"), &Cancel::default());
    assert!(matches!(fifo, Err(SearchError::Workspace(WorkspaceError::NotAFile { .. }))));
    assert!(SECRET.starts_with(b"SECRET"), "what is outside would have matched");
}

#[test]
fn a_name_that_is_not_utf8_is_told_as_far_as_it_can_be() {
    let fixture = tree(&[]);
    let name = std::ffi::OsStr::from_bytes(b"a\xff");
    fs::write(fixture.host("").join(name), "x").unwrap();
    let outcome = search(&fixture, &by_content("x"));
    assert_eq!((paths(&outcome), outcome.matches[0].path_is_lossy), (vec!["a\u{fffd}"], true));
}

#[test]
fn a_search_that_is_given_up_or_late_ends_early() {
    let fixture = tree(&[("a", b"x\n"), ("b/c", b"x\n")]);
    let cancel = Cancel::default();
    cancel.clone().cancel();
    let outcome = fixture.workspace.search(&by_content("x"), &cancel).unwrap();
    assert!(outcome.matches.is_empty() && outcome.truncated && !outcome.timed_out);
    let limits = SearchLimits { time_max: Duration::ZERO, ..LIMITS };
    let outcome = search(&fixture, &SearchRequest { limits, ..by_content("x") });
    assert!(outcome.truncated && outcome.timed_out);
}

#[test]
fn many_threads_find_what_one_finds() {
    let files: Vec<_> = (0..400).map(|n| format!("d{}/e{}/f{n}", n % 7, n % 11)).collect();
    let content: Vec<_> = (0..400).map(|n| "x\n".repeat(n % 5)).collect();
    let rows: Vec<_> =
        files.iter().zip(&content).map(|(path, text)| (path.as_str(), text.as_bytes())).collect();
    let fixture = tree(&rows);
    let with =
        |threads| SearchRequest { limits: SearchLimits { threads, ..LIMITS }, ..by_content("x") };
    let one = search(&fixture, &with(1));
    assert_eq!(one.matches.len(), 800);
    assert_eq!(search(&fixture, &with(4)), one);
}

#[test]
fn a_pattern_that_is_none_is_refused() {
    let fixture = tree(&[]);
    for bad in ["(", "a\\nb", "x{1000}{1000}{1000}"] {
        let refused = fixture.workspace.search(&by_content(bad), &Cancel::default());
        assert!(matches!(refused, Err(SearchError::Pattern(_))), "{bad}: {refused:?}");
    }
}

#[test]
fn what_its_owner_has_closed_is_unreadable_to_who_reads_as_the_owner() {
    let fixture = tree(&[("a", b"x"), ("closed", b"x"), ("d/f", b"x"), ("e/f", b"x")]);
    let close = |path: &str, mode| {
        let Owner { uid, gid } = fixture.owner;
        std::os::unix::fs::chown(fixture.host(path), Some(uid), Some(gid)).unwrap();
        fs::set_permissions(fixture.host(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    close("closed", 0o200);
    close("d", 0o400);
    let as_owner = SearchRequest { as_owner: true, ..by_content("x") };
    let found = search(&fixture, &as_owner);
    assert_eq!(paths(&found), ["a", "e/f"]);
    assert_eq!(found.skipped.unreadable, 2);
    assert_eq!(found.skipped.unreadable_file.as_deref(), Some("closed"));
    let path = WorkspacePath::parse("closed").unwrap();
    let one = search(&fixture, &SearchRequest { path, ..as_owner });
    assert_eq!((one.matches.len(), one.skipped.unreadable), (0, 1));
    close("d", 0o700);
}
