//! Repainting a screen on a terminal that knows nothing.
//!
//! The emulator formats a screen's text, colours, cursor and input modes. What output
//! can depend on besides is not in its interface: the screen behind the alternate one,
//! the scroll region, origin mode, and the cursor that DECSC saved. All of it can be
//! found by asking copies of the screen to act on it, which is what happens here.

use std::collections::BTreeMap;

/// A hard reset (RIS): whatever a terminal was doing, it starts from nothing.
pub(super) const RESET: &[u8] = b"\x1bc";

const SAVE_CURSOR: &str = "\x1b7";
const RESTORE_CURSOR: &[u8] = b"\x1b8";
const NORMAL_SCREEN: &[u8] = b"\x1b[?47l";
/// To the alternate screen without saving or clearing, and with nothing carried over.
const ALTERNATE_SCREEN: &str = "\x1b[?47h\x1b[?6l\x1b[r\x1b[m";

/// What a terminal has besides its screen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Extras {
    pub(super) title: Vec<u8>,
    /// Private modes that were set or reset.
    pub(super) modes: BTreeMap<u16, bool>,
}

/// Bytes that make any terminal of the screen's size look and act like it.
pub(super) fn paint(screen: &vt100::Screen, extras: &Extras) -> Vec<u8> {
    let mut out = String::new();
    if screen.alternate_screen() {
        let mut normal = parser_with(screen);
        normal.process(NORMAL_SCREEN);
        paint_grid(&mut out, normal.screen());
        out.push_str(ALTERNATE_SCREEN);
    }
    paint_grid(&mut out, screen);
    out.push_str(&screen.input_mode_formatted());
    for (mode, is_set) in &extras.modes {
        out.push_str(&format!("\x1b[?{mode}{}", if *is_set { 'h' } else { 'l' }));
    }
    let mut bytes = [RESET, out.as_bytes()].concat();
    if !extras.title.is_empty() {
        bytes.extend([b"\x1b]2;", &extras.title[..], b"\x07"].concat());
    }
    bytes
}

/// The normal or the alternate screen, whichever is shown.
fn paint_grid(out: &mut String, screen: &vt100::Screen) {
    let grid = Grid::of(screen);
    // Leaves the cursor and its colours where they are, on a screen without a region.
    let contents = screen.contents_formatted();
    out.push_str(&contents);
    if let Some((top, bottom)) = grid.region {
        out.push_str(&format!("\x1b[{};{}r", top + 1, bottom + 1));
    }
    // To get the cursor past a blank, the painting itself saves one.
    let saves = grid.saved != Spot::default() || contents.contains(SAVE_CURSOR);
    if saves {
        grid.go_to(out, screen, &grid.saved);
        out.push_str(SAVE_CURSOR);
    }
    if saves || grid.region.is_some() || grid.here.origin {
        grid.go_to(out, screen, &grid.here);
    }
}

/// A blank that looks like one that was never written.
fn paint_blank(out: &mut String, cell: &vt100::Cell) {
    let colour = |layer: u8, colour| match colour {
        vt100::Color::Default => String::new(),
        vt100::Color::Idx(index) => format!("\x1b[{layer};5;{index}m"),
        vt100::Color::Rgb(red, green, blue) => {
            format!("\x1b[{layer};2;{red};{green};{blue}m")
        }
    };
    out.push_str(&colour(38, cell.fgcolor()));
    out.push_str(&colour(48, cell.bgcolor()));
    out.push_str(if cell.inverse() { "\x1b[7m " } else { " " });
}

/// What a screen does not tell.
struct Grid {
    /// First and last line that scroll; `None`: all of them.
    region: Option<(u16, u16)>,
    here: Spot,
    saved: Spot,
}

/// A cursor: where it is and how it writes.
#[derive(Debug, PartialEq, Eq)]
struct Spot {
    row: u16,
    /// One more than the last column when the next character goes to the next line.
    col: u16,
    /// Whether lines are counted from the region's first.
    origin: bool,
    /// Sequence that sets its colours.
    attributes: String,
}

impl Default for Spot {
    /// As a reset leaves it.
    fn default() -> Self {
        Self { row: 0, col: 0, origin: false, attributes: "\x1b[m".to_owned() }
    }
}

impl Grid {
    fn of(screen: &vt100::Screen) -> Self {
        let here = Spot::of(parser_with(screen));
        let mut probe = parser_with(screen);
        probe.process(b"\x1b[?6h\x1b[1;1H");
        let (top, _) = probe.screen().cursor_position();
        probe.process(b"\x1b[65535;1H");
        let (bottom, _) = probe.screen().cursor_position();
        let is_whole = top == 0 && bottom + 1 == screen.size().0.get();
        probe.process(RESTORE_CURSOR);
        Self { region: (!is_whole).then_some((top, bottom)), here, saved: Spot::of(probe) }
    }

    fn go_to(&self, out: &mut String, screen: &vt100::Screen, spot: &Spot) {
        let cols = screen.size().1.get();
        out.push_str(if spot.origin { "\x1b[?6h" } else { "\x1b[?6l" });
        if spot.col < cols {
            self.move_to(out, spot, spot.col);
        } else {
            // Only writing the last character again gets the cursor past it.
            let last = screen.cell(spot.row, cols - 1);
            let width = if last.is_some_and(vt100::Cell::is_wide_continuation) { 2 } else { 1 };
            self.move_to(out, spot, cols - width);
            out.push_str("\x1b[m");
            match last.filter(|last| width == 1 && !last.has_contents()) {
                Some(blank) => paint_blank(out, blank),
                None => {
                    let mut rows = screen.rows_formatted(cols - width, width);
                    out.push_str(&rows.nth(spot.row.into()).unwrap_or_default());
                }
            }
        }
        out.push_str(&spot.attributes);
    }

    fn move_to(&self, out: &mut String, spot: &Spot, col: u16) {
        let (top, bottom) = self.region.filter(|_| spot.origin).unwrap_or((0, u16::MAX));
        let (row, col) = (spot.row + 1, col + 1);
        if (top..=bottom).contains(&spot.row) {
            out.push_str(&format!("\x1b[{};{col}H", row - top));
        } else {
            // The emulator lets the cursor leave the region this way.
            out.push_str(&format!("\x1b[1;{col}H\x1b[{row}d"));
        }
    }
}

impl Spot {
    /// The cursor of a screen, which is used up.
    fn of(mut probe: vt100::Parser) -> Self {
        let (row, col) = probe.screen().cursor_position();
        let attributes = probe.screen().attributes_formatted();
        // Home is the first line of a region only in origin mode. A screen of two lines
        // has no region but the whole, where it makes no difference.
        let rows = probe.screen().size().0;
        probe.process(format!("\x1b[2;{rows}r\x1b[1;1H").as_bytes());
        let origin = probe.screen().cursor_position().0 == 1;
        Self { row, col, origin, attributes }
    }
}

/// A parser that goes on from a copy of a screen.
fn parser_with(screen: &vt100::Screen) -> vt100::Parser {
    let (rows, cols) = screen.size();
    let mut parser = vt100::Parser::new(rows, cols, 0);
    *parser.screen_mut() = screen.clone();
    parser
}
