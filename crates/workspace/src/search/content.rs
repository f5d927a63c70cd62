//! The content of one file.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use grep_matcher::{LineTerminator, Matcher};
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkFinish, SinkMatch};

use super::run::Search;
use super::{Case, MatchedLine, Pattern, PatternSyntax, SearchError, SearchLimits, posix};

/// Largest a pattern may be when it is compiled, in bytes.
const COMPILED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Compiles a pattern.
pub(super) fn compile(pattern: &Pattern) -> Result<RegexMatcher, SearchError> {
    let text = match pattern.syntax {
        PatternSyntax::Regex | PatternSyntax::Literal => pattern.text.clone(),
        PatternSyntax::Posix => posix::translate(&pattern.text).map_err(SearchError::Pattern)?,
    };
    RegexMatcherBuilder::new()
        .case_insensitive(pattern.case == Case::Insensitive)
        .case_smart(pattern.case == Case::Smart)
        .word(pattern.words)
        .fixed_strings(pattern.syntax == PatternSyntax::Literal)
        .multi_line(true)
        .crlf(true)
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(COMPILED_BYTES_MAX)
        .build(&text)
        .map_err(|error| SearchError::Pattern(error.to_string()))
}

/// Reads files one after another; one for each thread.
pub(super) struct Reader<'a> {
    search: &'a Search<'a>,
    matcher: &'a RegexMatcher,
    searcher: Searcher,
}

impl<'a> Reader<'a> {
    pub(super) fn new(search: &'a Search<'a>, matcher: &'a RegexMatcher) -> Self {
        // A line may be as long as its file.
        let heap_bytes = usize::try_from(search.limits().file_bytes_max).unwrap_or(usize::MAX);
        let searcher = SearcherBuilder::new()
            .line_terminator(LineTerminator::crlf())
            .binary_detection(BinaryDetection::quit(0))
            .heap_limit(Some(heap_bytes.saturating_add(1)))
            .build();
        Self { search, matcher, searcher }
    }

    /// Adds what matches in one file to what was found.
    pub(super) fn read(&mut self, file: OwnedFd, below: &[u8]) {
        let limits = *self.search.limits();
        let content = Bounded {
            file: File::from(file),
            bytes_left: limits.file_bytes_max,
            search: self.search,
        };
        let mut lines = Lines {
            search: self.search,
            matcher: self.matcher,
            limits: &limits,
            lines: Vec::new(),
            is_binary: false,
        };
        let outcome = self.searcher.search_reader(self.matcher, content, &mut lines);
        let Lines { lines, is_binary, .. } = lines;
        match outcome {
            Ok(()) if is_binary => self.search.found().skip(|skipped| skipped.binary += 1),
            Ok(()) if lines.is_empty() => {}
            Ok(()) => self.search.add_lines(below, lines),
            Err(_) => self.search.skip_unreadable_file(below),
        }
    }
}

/// A file up to its bound, and only as long as the search goes on: the file may grow for ever.
struct Bounded<'a> {
    file: File,
    bytes_left: u64,
    search: &'a Search<'a>,
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.search.is_over() {
            return Ok(0);
        }
        let room = usize::try_from(self.bytes_left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read(&mut buffer[..room])?;
        self.bytes_left -= count as u64;
        Ok(count)
    }
}

/// The lines of one file that match.
struct Lines<'a> {
    search: &'a Search<'a>,
    matcher: &'a RegexMatcher,
    limits: &'a SearchLimits,
    lines: Vec<MatchedLine>,
    is_binary: bool,
}

impl Sink for Lines<'_> {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> Result<bool, io::Error> {
        let number = found.line_number().unwrap_or(0);
        self.lines.push(line(self.matcher, number, found.bytes(), self.limits.line_bytes_max));
        // One more than is told, so that it is known that there are more.
        Ok(self.lines.len() <= self.limits.matches_max && !self.search.is_over())
    }

    fn finish(&mut self, _: &Searcher, finish: &SinkFinish) -> Result<(), io::Error> {
        self.is_binary = finish.binary_byte_offset().is_some();
        Ok(())
    }
}

fn line(matcher: &RegexMatcher, number: u64, bytes: &[u8], bytes_max: usize) -> MatchedLine {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    // It matched a moment ago; what is not found now is told as the line's beginning.
    let (start, end) = match matcher.find(bytes) {
        Ok(Some(found)) => (found.start(), found.end()),
        Ok(None) | Err(_) => (0, 0),
    };
    let characters = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().count() as u64;
    let is_cut = bytes.len() > bytes_max;
    MatchedLine {
        number,
        column: characters(&bytes[..start]) + 1,
        length: characters(&bytes[start..end]),
        text: beginning(bytes, bytes_max),
        is_cut,
    }
}

/// The first bytes as text, without a character that is cut in half.
fn beginning(bytes: &[u8], bytes_max: usize) -> String {
    if bytes.len() <= bytes_max {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let is_inside = |byte: u8| byte & 0b1100_0000 == 0b1000_0000;
    let mut end = bytes_max;
    while end > 0 && bytes_max - end < 3 && is_inside(bytes[end]) {
        end -= 1;
    }
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
