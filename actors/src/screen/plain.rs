//! Lines of plain text that scroll off before anybody sees them.
//!
//! A flood of text leaves on the screen what its last lines leave, if the cursor stands where
//! lines scroll: then no line before them has an effect. So only those are worked through, which
//! is exact and spares the emulator, whose processor time the flood itself needs.

/// Less is not worth a look.
const BYTES_MIN: usize = 4 * 1024;

/// Bytes that print or move within lines, and do nothing else.
pub(super) fn is_plain(text: &[u8]) -> bool {
    let plain = |byte: u8| matches!(byte, b' '..=b'~' | b'\r' | b'\n' | b'\t');
    // In pieces without an early end, which the compiler makes fast.
    text.chunks(256).all(|piece| piece.iter().fold(true, |all, byte| all & plain(*byte)))
}

/// Works through output, and leaves out what cannot be seen afterwards. `scrolls` counts
/// the lines that have scrolled off. Answers whether anything was left out.
pub(super) fn process<T>(
    emulator: &mut T,
    whole: &[u8],
    rows: usize,
    feed: impl Fn(&mut T, &[u8]),
    scrolls: impl Fn(&T) -> u64,
) -> bool {
    let is_worth_it = whole.len() >= BYTES_MIN && is_plain(whole);
    let Some(head) = is_worth_it.then(|| after_lines(whole, rows + 1)).flatten() else {
        feed(emulator, whole);
        return false;
    };
    let (head, rest) = whole.split_at(head);
    let before = scrolls(emulator);
    feed(emulator, head);
    // Nothing in the head goes up, so from the first scroll on every line scrolls.
    let is_scrolling = scrolls(emulator) > before;
    let seen = if is_scrolling { last_lines(rest, rows + 1) } else { rest };
    feed(emulator, seen);
    seen.len() < rest.len()
}

/// Where the line after so many begins.
fn after_lines(text: &[u8], lines: usize) -> Option<usize> {
    let mut ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    ends.nth(lines.checked_sub(1)?).map(|(at, _)| at + 1)
}

/// The last lines and the line break before them; all of it where that is no whole one,
/// because the column would be another.
fn last_lines(text: &[u8], lines: usize) -> &[u8] {
    let mut ends = text.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    let Some((end, _)) = ends.nth(lines) else { return text };
    match end.checked_sub(1) {
        Some(start) if text[start] == b'\r' => &text[start..],
        Some(_) | None => text,
    }
}
