//! How a line of output may be shown: a hint for clients, by what the line says.

use sandtree_model::escapes::without_escapes;
use serde::Serialize;

/// A hint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Display {
    level: &'static str,
    category: &'static str,
    icon: &'static str,
    label: &'static str,
    color: &'static str,
    /// The file that the line is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// The line in that file.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
}

/// A row: words, one of which a line has, and how it is shown then.
struct Row(&'static [&'static str], Hint);

/// Level, category, icon, label and color.
type Hint = (&'static str, &'static str, &'static str, &'static str, &'static str);

/// What lines say, in lower case; the first row that fits is taken.
#[rustfmt::skip]
const ROWS: [Row; 8] = [
    Row(&["error: cannot find module", "modulenotfounderror", "importerror"],
        ("error",   "dependency", "📦", "Missing module", "red")),
    Row(&["syntaxerror", "failed to compile", "build failed"],
        ("error",   "build",      "🔨", "Build error",    "red")),
    Row(&["error", "exception", "traceback", "fatal:", "failed"],
        ("error",   "runtime",    "❌", "Error",          "red")),
    Row(&["warn", "deprecated"],
        ("warning", "general",    "⚠️", "Warning",        "yellow")),
    Row(&["localhost:", "127.0.0.1:", "0.0.0.0:", "listening on", "running on"],
        ("success", "server",     "🚀", "Server",         "green")),
    Row(&["added ", "installed", "installing", "collecting ", "packages in"],
        ("info",    "dependency", "📦", "Packages",       "blue")),
    Row(&["compiled", "built in", "build succe", "✓"],
        ("success", "build",      "✅", "Build",          "green")),
    Row(&["get /", "post /", "put /", "delete /"],
        ("info",    "request",    "🌐", "Request",        "blue")),
];

/// Any other line.
const PLAIN: Hint = ("info", "output", "", "Output", "white");
/// Any other line of standard error.
const ERROR_STREAM: Hint = ("warning", "output", "", "Output", "yellow");
/// Most bytes of a line that are looked at.
const LINE_BYTES_MAX: usize = 4096;
/// What may end the name of a file in front of a line's number.
const EXTENSIONS: [&str; 12] =
    [".js", ".jsx", ".ts", ".tsx", ".py", ".java", ".go", ".rs", ".rb", ".php", ".vue", ".css"];

/// The hint for a line.
#[must_use]
pub(super) fn of_line(line: &str, is_error_stream: bool) -> Display {
    let plain = without_escapes(line.get(..LINE_BYTES_MAX).unwrap_or(line));
    let lower = plain.to_lowercase();
    let row = ROWS.iter().find(|Row(words, _)| words.iter().any(|word| lower.contains(word)));
    let other = if is_error_stream { ERROR_STREAM } else { PLAIN };
    let (level, category, icon, label, color) = row.map_or(other, |Row(_, hint)| *hint);
    let place = place(&plain);
    let (file, line) = (place.as_ref().map(|(file, _)| file.clone()), place.map(|(_, line)| line));
    Display { level, category, icon, label, color, file, line }
}

/// A file and a line in it, as in `src/App.tsx:12:3` and `File "main.py", line 7`.
fn place(line: &str) -> Option<(String, u32)> {
    let python = || {
        let (file, rest) = line.split_once("File \"")?.1.split_once("\", line ")?;
        Some((file.to_owned(), number(rest)?))
    };
    let words = line.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"' | '\''));
    let others = || {
        words.filter_map(|word| word.split_once(':')).find_map(|(file, rest)| {
            let is_file = EXTENSIONS.iter().any(|extension| file.ends_with(extension));
            is_file.then_some(()).and_then(|()| Some((file.to_owned(), number(rest)?)))
        })
    };
    python().or_else(others)
}

fn number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shown_by_what_it_says() {
        for (line, level, category) in [
            ("Error: Cannot find module 'express'", "error", "dependency"),
            ("SyntaxError: Unexpected token", "error", "build"),
            ("Traceback (most recent call last):", "error", "runtime"),
            ("npm WARN deprecated x", "warning", "general"),
            ("  Local: http://localhost:\x1b[1m3000", "success", "server"),
            ("added 847 packages in 30s", "info", "dependency"),
            ("vite built in 300ms", "success", "build"),
            ("GET /index.html 200", "info", "request"),
            ("hello", "info", "output"),
        ] {
            let display = of_line(line, false);
            assert_eq!((display.level, display.category), (level, category), "{line}");
        }
        assert_eq!(of_line("hello", true).color, "yellow");
    }

    #[test]
    fn the_place_that_a_line_is_about_is_told() {
        for (line, file, number) in [
            ("src/App.tsx:12:3: error TS1005", "src/App.tsx", 12),
            ("    at run (/workspace/server.js:7:9)", "/workspace/server.js", 7),
            ("  File \"main.py\", line 9, in <module>", "main.py", 9),
        ] {
            let display = of_line(line, false);
            assert_eq!(
                (display.file.as_deref(), display.line),
                (Some(file), Some(number)),
                "{line}"
            );
        }
        for line in ["at 12:30", "localhost:3000", "a.js:x", "a.js:99999999999"] {
            assert_eq!(of_line(line, false).file, None, "{line}");
        }
    }
}
