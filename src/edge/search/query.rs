//! What a client searches for.

use sandtree_workspace::{Case, Glob, Kind, Pattern, PatternSyntax, SearchLimits, SearchRequest};
use serde::Deserialize;

use super::LIMITS;
use crate::edge::context::{parse_query, take_repeated};
use crate::edge::errors::Problem;
use crate::edge::files;

/// Most matches of an answer.
const MATCHES_MAX: usize = 10_000;
/// Longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 4096;
/// Longest glob, in bytes.
const GLOB_BYTES_MAX: usize = 1024;
/// Most globs, of those that are told and of those that are left out each.
const GLOBS_MAX: usize = 64;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    /// What lines have to match; absent: names are told.
    q: Option<String>,
    /// How `q` is read.
    #[serde(default)]
    syntax: Syntax,
    /// A directory or a file; absent: the workspace.
    #[serde(default)]
    path: String,
    /// Whether `a` is `A`, in `q` and in globs.
    #[serde(default)]
    case: CaseWord,
    /// Only whole words.
    #[serde(default)]
    word: bool,
    /// Whether names that begin with a dot are met; `true`.
    hidden: Option<bool>,
    /// Only names of this kind.
    kind: Option<KindWord>,
    /// Most matches.
    max: Option<usize>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Syntax {
    #[default]
    Regex,
    Literal,
    Posix,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CaseWord {
    #[default]
    Sensitive,
    Insensitive,
    Smart,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindWord {
    File,
    Directory,
    Symlink,
    Other,
}

/// Reads the query; `glob` and `exclude` may be there many times.
pub(super) fn parse(text: &str) -> Result<SearchRequest, Problem> {
    let (include, text) = take_repeated("glob", text);
    let (exclude, text) = take_repeated("exclude", &text);
    let query: Query = parse_query(&text)?;
    let max = query.max.unwrap_or(LIMITS.matches_max);
    if !(1..=MATCHES_MAX).contains(&max) {
        return Err(Problem::field("max", format!("must be from 1 to {MATCHES_MAX}, not {max}")));
    }
    if query.q.as_ref().is_some_and(|q| q.is_empty() || q.len() > PATTERN_BYTES_MAX) {
        let why = format!("must have from 1 to {PATTERN_BYTES_MAX} bytes");
        return Err(Problem::field("q", why));
    }
    let path = files::parse("path", &query.path)?;
    let kind = query.kind.map(KindWord::kind);
    let hidden = query.hidden.unwrap_or(true);
    let pattern = query.q.map(|text| Pattern {
        text,
        syntax: query.syntax.syntax(),
        case: query.case.case(),
        words: query.word,
    });
    Ok(SearchRequest {
        path,
        pattern,
        globs_case: query.case.case(),
        include: globs("glob", &include)?,
        exclude: globs("exclude", &exclude)?,
        prune: Vec::new(),
        hidden,
        kind,
        as_owner: false,
        limits: SearchLimits { matches_max: max, ..LIMITS },
    })
}

fn globs(field: &'static str, texts: &[String]) -> Result<Vec<Glob>, Problem> {
    if texts.len() > GLOBS_MAX {
        return Err(Problem::field(field, format!("is there more than {GLOBS_MAX} times")));
    }
    if texts.iter().any(|text| text.is_empty() || text.len() > GLOB_BYTES_MAX) {
        return Err(Problem::field(field, format!("must have from 1 to {GLOB_BYTES_MAX} bytes")));
    }
    Ok(texts.iter().map(|text| Glob::new(text)).collect())
}

impl Syntax {
    const fn syntax(self) -> PatternSyntax {
        match self {
            Syntax::Regex => PatternSyntax::Regex,
            Syntax::Literal => PatternSyntax::Literal,
            Syntax::Posix => PatternSyntax::Posix,
        }
    }
}

impl CaseWord {
    const fn case(self) -> Case {
        match self {
            CaseWord::Sensitive => Case::Sensitive,
            CaseWord::Insensitive => Case::Insensitive,
            CaseWord::Smart => Case::Smart,
        }
    }
}

impl KindWord {
    const fn kind(self) -> Kind {
        match self {
            KindWord::File => Kind::File,
            KindWord::Directory => Kind::Directory,
            KindWord::Symlink => Kind::Symlink,
            KindWord::Other => Kind::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_becomes_a_request() {
        let text = "q=a%2Bb&glob=*.rs&glob=src/**&exclude=target&path=x/y&case=smart\
                    &word=true&hidden=false&kind=file&max=7&syntax=posix";
        let request = parse(text).unwrap();
        let pattern = request.pattern.unwrap();
        assert_eq!((pattern.text.as_str(), pattern.words), ("a+b", true));
        assert_eq!((pattern.syntax, pattern.case), (PatternSyntax::Posix, Case::Smart));
        assert_eq!(request.include, [Glob::new("*.rs"), Glob::new("src/**")]);
        assert_eq!(request.exclude, [Glob::new("target")]);
        assert_eq!((request.path.as_str(), request.hidden), ("x/y", false));
        assert_eq!((request.kind, request.limits.matches_max), (Some(Kind::File), 7));

        let names = parse("").unwrap();
        assert!(names.pattern.is_none() && names.path.is_root() && names.hidden);
        assert_eq!(names.limits.matches_max, 1000);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let long = format!("q={}", "x".repeat(PATTERN_BYTES_MAX + 1));
        let many = "glob=x&".repeat(GLOBS_MAX + 1);
        for (text, field) in [
            ("max=0", "max"),
            ("max=10001", "max"),
            ("q=", "q"),
            (long.as_str(), "q"),
            (many.as_str(), "glob"),
            ("exclude=", "exclude"),
            ("path=../x", "path"),
            ("case=odd", "case"),
            ("kind=fifo", "kind"),
            ("globs=x", "globs"),
        ] {
            let problem = parse(text).unwrap_err();
            assert_eq!(problem.document()["field"], field, "{text:.40}: {problem:?}");
        }
    }
}
