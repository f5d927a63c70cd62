//! Absolute paths in pages and scripts, made to lead to the preview.
//!
//! A page that is served below a prefix asks for `/main.js` at the root, where it is not.
//! So a path in quotes gets the prefix in front of it where it is known to be one: as an
//! attribute of a page that holds an address, after `import` and `from`, and below the roots
//! that development servers use. It works on pieces as they come and keeps only as much as
//! it needs to see around a quote.

use std::fmt::Write as _;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use warp::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use warp::http::{HeaderMap, StatusCode};

/// Attributes of a page that hold an address.
const ATTRIBUTES: [&str; 6] = ["src", "href", "action", "formaction", "poster", "data-src"];
/// Words of a script that a path follows.
const IMPORTS: [&str; 3] = ["from", "import", "import("];
/// Beginnings of paths that development servers use.
const ROOTS: [&str; 9] = [
    "/@vite/",
    "/@react-refresh",
    "/@id/",
    "/@fs/",
    "/node_modules/",
    "/src/",
    "/_next/",
    "/static/",
    "/assets/",
];
/// Bytes in front of a quote that are looked at.
const BEHIND: usize = 24;
/// Bytes after a quote that are looked at, besides the prefix.
const AHEAD: usize = 24;

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rewriting {
    Page,
    Script,
}

impl Rewriting {
    /// What a response is, if it has to be rewritten: as a whole, and not compressed.
    pub(super) fn of(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        if status == StatusCode::PARTIAL_CONTENT || headers.contains_key(CONTENT_ENCODING) {
            return None;
        }
        let media_type = headers.get(CONTENT_TYPE)?.to_str().ok()?.to_ascii_lowercase();
        let media_type = media_type.split(';').next().unwrap_or("").trim();
        match media_type {
            "text/html" | "application/xhtml+xml" => Some(Rewriting::Page),
            other if other.ends_with("javascript") => Some(Rewriting::Script),
            _ => None,
        }
    }
}

/// Rewrites one body.
pub(super) struct Rewriter {
    rewriting: Rewriting,
    prefix: Vec<u8>,
    /// What was told a moment ago, and what is not told yet.
    buffer: Vec<u8>,
    /// The first byte that is not told.
    next: usize,
}

impl Rewriter {
    /// For a preview below `prefix`, which has no slash at its end.
    pub(super) fn new(rewriting: Rewriting, prefix: &str) -> Self {
        Self { rewriting, prefix: quoted(prefix).into(), buffer: Vec::new(), next: 0 }
    }

    /// The body, rewritten piece by piece.
    pub(super) fn stream<E: Send + 'static>(
        self,
        body: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    ) -> impl Stream<Item = Result<Bytes, E>> + Send + 'static {
        let state = (Box::pin(body), Some(self));
        let pieces = stream::unfold(state, |(mut body, mut rewriter)| async move {
            let this = rewriter.as_mut()?;
            let piece = match body.next().await {
                Some(Ok(piece)) => Ok(this.push(&piece)),
                Some(Err(error)) => {
                    rewriter = None;
                    Err(error)
                }
                None => {
                    let rest = this.finish();
                    rewriter = None;
                    Ok(rest)
                }
            };
            Some((piece, (body, rewriter)))
        });
        pieces.filter(|piece| {
            let is_something = piece.as_ref().map_or(true, |piece| !piece.is_empty());
            std::future::ready(is_something)
        })
    }

    fn push(&mut self, piece: &[u8]) -> Bytes {
        self.buffer.extend_from_slice(piece);
        let end = self.buffer.len().saturating_sub(self.prefix.len() + AHEAD);
        self.tell(end)
    }

    fn finish(&mut self) -> Bytes {
        self.tell(self.buffer.len())
    }

    /// Tells everything before `end`, and forgets what is not looked at any more.
    fn tell(&mut self, end: usize) -> Bytes {
        let mut told = Vec::with_capacity(end.saturating_sub(self.next));
        while self.next < end {
            let rest = &self.buffer[self.next..end];
            let quote = rest.iter().position(|byte| matches!(byte, b'"' | b'\'' | b'`'));
            let until = quote.map_or(end, |at| self.next + at + 1);
            told.extend_from_slice(&self.buffer[self.next..until]);
            if quote.is_some() && self.is_path(until) {
                told.extend_from_slice(&self.prefix);
            }
            self.next = until;
        }
        let old = self.next.saturating_sub(BEHIND);
        self.buffer.drain(..old);
        self.next -= old;
        told.into()
    }

    /// Whether a path of the server's root begins here, just after a quote.
    fn is_path(&self, at: usize) -> bool {
        let (behind, ahead) = (&self.buffer[..at - 1], &self.buffer[at..]);
        if !ahead.starts_with(b"/") || ahead.starts_with(b"//") || self.is_below(ahead) {
            return false;
        }
        ROOTS.iter().any(|root| ahead.starts_with(root.as_bytes()))
            || follows_import(behind)
            || self.rewriting == Rewriting::Page && follows_attribute(behind)
    }

    /// Whether a path has the prefix already, because the server heeds what it is told.
    fn is_below(&self, path: &[u8]) -> bool {
        let rest = path.strip_prefix(&*self.prefix);
        rest.is_some_and(|rest| {
            rest.first().is_none_or(|byte| matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'' | b'`'))
        })
    }
}

/// A prefix that ends no attribute and no text: a client may write a project's name as it
/// likes.
fn quoted(prefix: &str) -> String {
    let mut quoted = String::with_capacity(prefix.len());
    for c in prefix.chars() {
        match c {
            '"' | '\'' | '`' | '<' | '>' | '\\' | '$' => {
                let _ = write!(quoted, "%{:02X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted
}

fn follows_import(behind: &[u8]) -> bool {
    let behind = behind.trim_ascii_end();
    IMPORTS.iter().any(|word| {
        let before = behind.strip_suffix(word.as_bytes());
        before.is_some_and(|before| !before.last().is_some_and(|byte| is_of_name(*byte)))
    })
}

fn follows_attribute(behind: &[u8]) -> bool {
    let Some(behind) = behind.trim_ascii_end().strip_suffix(b"=") else { return false };
    let behind = behind.trim_ascii_end();
    let length = behind.iter().rev().take_while(|byte| is_of_name(**byte)).count();
    let name = &behind[behind.len() - length..];
    ATTRIBUTES.iter().any(|attribute| name.eq_ignore_ascii_case(attribute.as_bytes()))
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'$' | b'.')
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;
    use proptest::prelude::*;
    use warp::http::HeaderValue;

    use super::*;

    const PREFIX: &str = "/api/v1/preview/p";

    fn whole(rewriting: Rewriting, text: &str) -> String {
        let mut rewriter = Rewriter::new(rewriting, PREFIX);
        let mut all = rewriter.push(text.as_bytes()).to_vec();
        all.extend(rewriter.finish());
        String::from_utf8(all).unwrap()
    }

    /// What it becomes, with `^` for the prefix.
    fn short(rewriting: Rewriting, text: &str) -> String {
        whole(rewriting, &text.replace('^', PREFIX)).replace(PREFIX, "^")
    }

    #[test]
    fn paths_of_a_page_lead_to_the_preview() {
        for (page, expected) in [
            (r#"<script src="/main.js">"#, r#"<script src="^/main.js">"#),
            (r#"<a HREF = '/a'>"#, r#"<a HREF = '^/a'>"#),
            (r#"<a href="/">"#, r#"<a href="^/">"#),
            (r#"<form action="/go">"#, r#"<form action="^/go">"#),
            (r#"<a href="//example.com/a">"#, r#"<a href="//example.com/a">"#),
            (r#"<a href="a/b">"#, r#"<a href="a/b">"#),
            (r#"<a href="https://example.com/">"#, r#"<a href="https://example.com/">"#),
            (r#"<a href="^/a">"#, r#"<a href="^/a">"#),
            (r#"<a href="^">"#, r#"<a href="^">"#),
            (r#"<a href="^2/a">"#, r#"<a href="^^2/a">"#),
            (r#"<a title="/a" xhref="/b">"#, r#"<a title="/a" xhref="/b">"#),
            (r#"import "/@vite/client""#, r#"import "^/@vite/client""#),
            ("<p>\"/a\" '/b'</p>", "<p>\"/a\" '/b'</p>"),
        ] {
            assert_eq!(short(Rewriting::Page, page), expected, "{page}");
        }
    }

    #[test]
    fn paths_of_a_script_lead_to_the_preview() {
        for (script, expected) in [
            (r#"import a from "/x.js""#, r#"import a from "^/x.js""#),
            (r#"import{a}from"/x.js""#, r#"import{a}from"^/x.js""#),
            ("import('/x.js')", "import('^/x.js')"),
            ("import \"/x.css\"", "import \"^/x.css\""),
            ("load(`/@id/x`)", "load(`^/@id/x`)"),
            (
                r#"f("/node_modules/.vite/deps/react.js")"#,
                r#"f("^/node_modules/.vite/deps/react.js")"#,
            ),
            (r#"f("/src/App.tsx")"#, r#"f("^/src/App.tsx")"#),
            (r#"fetch("/api/users")"#, r#"fetch("/api/users")"#),
            (r#"x.src = "/a.png""#, r#"x.src = "/a.png""#),
            (r#"xfrom "/a""#, r#"xfrom "/a""#),
            (r#"from "//cdn/x.js""#, r#"from "//cdn/x.js""#),
        ] {
            assert_eq!(short(Rewriting::Script, script), expected, "{script}");
        }
    }

    #[test]
    fn a_name_breaks_out_of_no_attribute() {
        let name = "/api/v1/preview/a'\"><script>`${x}";
        let mut rewriter = Rewriter::new(Rewriting::Page, name);
        let mut page = rewriter.push(b"<a href='/b'>").to_vec();
        page.extend(rewriter.finish());
        let expected = "<a href='/api/v1/preview/a%27%22%3E%3Cscript%3E%60%24{x}/b'>";
        assert_eq!(String::from_utf8(page).unwrap(), expected);
    }

    #[test]
    fn pages_and_scripts_are_rewritten_and_nothing_else() {
        let of = |media_type: &'static str| {
            let headers =
                HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media_type))]);
            Rewriting::of(StatusCode::OK, &headers)
        };
        assert_eq!(of("text/html; charset=utf-8"), Some(Rewriting::Page));
        assert_eq!(of("Text/JavaScript"), Some(Rewriting::Script));
        assert_eq!(of("application/javascript"), Some(Rewriting::Script));
        for other in ["application/json", "text/css", "image/png", "text/event-stream"] {
            assert_eq!(of(other), None, "{other}");
        }
        let mut headers =
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("text/html"))]);
        assert_eq!(Rewriting::of(StatusCode::PARTIAL_CONTENT, &headers), None);
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert_eq!(Rewriting::of(StatusCode::OK, &headers), None);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_not_made_whole() {
        let pieces = [Ok(Bytes::from_static(b"<a href=\"/a\">")), Err("broken")];
        let body = Rewriter::new(Rewriting::Page, PREFIX).stream(stream::iter(pieces));
        assert_eq!(body.try_collect::<Vec<_>>().await.unwrap_err(), "broken");
    }

    proptest! {
        #[test]
        fn how_a_body_is_cut_changes_nothing_and_little_is_kept(
            text in "(<a href=\"/|import '/|'/src/x'|\"/api/v1/preview/p/|=|\"|/|from| |ab|é){0,60}",
            cuts in prop::collection::vec(1_usize..40, 1..60),
        ) {
            for rewriting in [Rewriting::Page, Rewriting::Script] {
                let mut rewriter = Rewriter::new(rewriting, PREFIX);
                let (mut rest, mut told) = (text.as_bytes(), Vec::new());
                for cut in cuts.iter().cycle() {
                    let (piece, after) = rest.split_at((*cut).min(rest.len()));
                    told.extend(rewriter.push(piece));
                    prop_assert!(rewriter.buffer.len() <= BEHIND + AHEAD + PREFIX.len());
                    rest = after;
                    if rest.is_empty() {
                        break;
                    }
                }
                told.extend(rewriter.finish());
                prop_assert_eq!(String::from_utf8(told).unwrap(), whole(rewriting, &text));
            }
        }
    }
}
