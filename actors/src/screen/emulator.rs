//! The emulator, kept safe from what it is fed.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::panic::{AssertUnwindSafe, catch_unwind};

use sandtree_wire::Size;

use super::Snapshot;
use super::paint::{self, Extras};
use super::plain;
use super::splitter::Splitter;
use crate::view::Cursor;

/// Smallest and largest side of a screen: below, programs and emulators misbehave;
/// above, a screen costs too much memory.
const SIDE_MIN: u16 = 2;
const SIDE_MAX: u16 = 500;

/// Longest title that is kept, in bytes.
const TITLE_BYTES_MAX: usize = 1024;

/// Private modes that the emulator does not keep and that a client's terminal has to
/// have: wrapping, blinking cursor, focus reports, alternate scroll, mouse encodings,
/// colour scheme reports, size reports.
const MODES: [u16; 8] = [7, 12, 1004, 1007, 1015, 1016, 2031, 2048];

/// A terminal's screen and its position in the output.
#[derive(Debug)]
pub(super) struct Emulator {
    parser: Parser,
    splitter: Splitter,
    /// Position after everything fed, what the splitter holds included.
    fed: Cursor,
    /// Lines that had scrolled off when output was last lost.
    torn_at: Option<u64>,
    /// Of what was fed last, lines that nobody could see were left out.
    is_flooded: bool,
}

/// A [`vt100::Parser`] that can be shown.
struct Parser(vt100::Parser<Watcher>);

impl std::fmt::Debug for Parser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Parser").field(&self.0.screen().size()).finish()
    }
}

impl Parser {
    fn new(size: Size) -> Self {
        let (rows, cols) = sides(size);
        Self(vt100::Parser::new_with_callbacks(rows, cols, 0, Watcher::default()))
    }
}

/// Keeps what the screen itself does not.
#[derive(Debug, Default)]
struct Watcher {
    extras: Extras,
    /// Lines that have scrolled off the normal screen.
    scrolled: u64,
}

impl vt100::Callbacks for Watcher {
    fn set_window_title(&mut self, _: &mut vt100::Screen, title: &[u8]) {
        self.extras.title = title[..title.len().min(TITLE_BYTES_MAX)].to_vec();
    }

    fn unhandled_csi(
        &mut self,
        _: &mut vt100::Screen,
        first: Option<u8>,
        second: Option<u8>,
        params: &[&[u16]],
        last: char,
    ) {
        match (first, second, last) {
            (Some(b'?'), None, 'h' | 'l') => {
                let known = params.iter().filter_map(|param| param.first());
                for mode in known.filter(|mode| MODES.contains(mode)) {
                    self.extras.modes.insert(*mode, last == 'h');
                }
            }
            // A soft reset.
            (Some(b'!'), None, 'p') => self.extras.modes = BTreeMap::new(),
            _ => {}
        }
    }

    fn on_scroll(&mut self, _: vt100::capture::RowContents<'_>, alternate_screen: bool) {
        self.scrolled += u64::from(!alternate_screen);
    }
}

impl Emulator {
    pub(super) fn new(at: Cursor, size: Size) -> Self {
        let (parser, splitter) = (Parser::new(size), Splitter::new());
        Self { parser, splitter, fed: at, torn_at: None, is_flooded: false }
    }

    /// The emulator that a snapshot was taken of.
    pub(super) fn restored(snapshot: &Snapshot) -> Self {
        let mut emulator = Self::new(snapshot.at, snapshot.size);
        emulator.feed(&snapshot.bytes);
        emulator.splitter.drop_held();
        emulator.fed = snapshot.at;
        if snapshot.torn {
            emulator.tear();
        }
        emulator
    }

    /// Works through output that follows what was fed before.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.fed.offset += bytes.len() as u64;
        let (parser, is_flooded) = (&mut self.parser.0, &mut self.is_flooded);
        let fed = catch_unwind(AssertUnwindSafe(|| {
            let rows = usize::from(parser.screen().size().0.get());
            let scrolls = |parser: &vt100::Parser<Watcher>| parser.callbacks().scrolled;
            self.splitter.feed(bytes, |whole| {
                *is_flooded = plain::process(parser, whole, rows, vt100::Parser::process, scrolls);
            });
        }));
        if fed.is_err() {
            tracing::error!(at = %self.fed, "the terminal emulator panicked and starts anew");
            self.parser = Parser::new(self.size());
            self.splitter = Splitter::new();
            self.tear();
        }
    }

    /// Goes on after output that was lost.
    pub(super) fn lose(&mut self, bytes: u64) {
        self.fed.offset += bytes;
        self.splitter = Splitter::new();
        self.tear();
    }

    /// Begins with another shell, on an empty screen.
    pub(super) fn restart(&mut self, at: Cursor) {
        *self = Self::new(at, self.size());
        if at.offset > 0 {
            self.tear();
        }
    }

    /// Whether lines are coming so fast that most of them are left out.
    pub(super) fn is_flooded(&self) -> bool {
        self.is_flooded
    }

    pub(super) fn resize(&mut self, size: Size) {
        let (rows, cols) = sides(size);
        let parser = &mut self.parser.0;
        let resized = catch_unwind(AssertUnwindSafe(|| parser.set_size(rows, cols)));
        if resized.is_err() {
            tracing::error!(?size, "the terminal emulator panicked and starts anew");
            self.parser = Parser::new(size);
            self.tear();
        }
    }

    pub(super) fn size(&self) -> Size {
        let (rows, cols) = self.parser.0.screen().size();
        Size { cols: cols.get(), rows: rows.get() }
    }

    /// Position after what the screen shows: before what is not whole yet.
    pub(super) fn cursor(&self) -> Cursor {
        Cursor { offset: self.fed.offset - self.splitter.held() as u64, ..self.fed }
    }

    /// Whether lost output may show: not once everything that was on the screen when
    /// it was lost has scrolled off.
    pub(super) fn is_torn(&self) -> bool {
        let scrolled = self.parser.0.callbacks().scrolled;
        self.torn_at.is_some_and(|at| scrolled - at < u64::from(self.size().rows))
    }

    /// What a snapshot needs, so that it can be painted while the emulator goes on.
    pub(super) fn copy(&self) -> Copied {
        Copied {
            screen: self.parser.0.screen().clone(),
            extras: self.parser.0.callbacks().extras.clone(),
            opening: self.splitter.opening(),
            at: self.cursor(),
            torn: self.is_torn(),
        }
    }

    fn tear(&mut self) {
        self.torn_at = Some(self.parser.0.callbacks().scrolled);
    }
}

/// An emulator at one moment.
pub(super) struct Copied {
    screen: vt100::Screen,
    extras: Extras,
    opening: &'static [u8],
    at: Cursor,
    torn: bool,
}

impl Copied {
    pub(super) fn snapshot(&self) -> Snapshot {
        let (rows, cols) = self.screen.size();
        let size = Size { cols: cols.get(), rows: rows.get() };
        let painted = catch_unwind(AssertUnwindSafe(|| paint::paint(&self.screen, &self.extras)));
        let torn = self.torn || painted.is_err();
        let mut bytes = painted.unwrap_or_else(|_| {
            tracing::error!(at = %self.at, "the terminal emulator panicked while painting");
            paint::RESET.to_vec()
        });
        bytes.extend_from_slice(self.opening);
        Snapshot { at: self.at, bytes, size, torn }
    }
}

fn sides(size: Size) -> (NonZeroU16, NonZeroU16) {
    let side =
        |side: u16| NonZeroU16::new(side.clamp(SIDE_MIN, SIDE_MAX)).expect("clamped to at least 2");
    (side(size.rows), side(size.cols))
}
