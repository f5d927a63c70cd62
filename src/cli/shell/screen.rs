//! What the user's terminal shows: followed by an emulator, so that a notice can be
//! laid over it and taken away again, and so that modes which a program in the sandbox
//! has set do not outlive the session.

use std::num::NonZero;

/// The screen as it should be.
pub(super) struct Screen {
    parser: vt100::Parser,
    has_notice: bool,
}

impl Screen {
    /// An empty screen.
    pub(super) fn new((cols, rows): (u16, u16)) -> Self {
        Self {
            parser: vt100::Parser::new(at_least_one(rows), at_least_one(cols), 0),
            has_notice: false,
        }
    }

    /// The terminal has another size now.
    pub(super) fn resize(&mut self, (cols, rows): (u16, u16)) {
        self.parser.screen_mut().set_size(at_least_one(rows), at_least_one(cols));
    }

    /// Output that is shown.
    pub(super) fn process(&mut self, bytes: &[u8]) {
        self.parser.process(bytes);
    }

    /// What makes the terminal empty. What it has shown before is moved up, where
    /// scrolling back finds it.
    pub(super) fn clear(&mut self) -> Vec<u8> {
        let mut out = self.without_modes();
        if !self.is_empty() {
            let (rows, _) = self.parser.screen().size();
            out.extend(std::iter::repeat_n(b'\n', rows.get().into()));
        }
        out.extend_from_slice(b"\x1b[r\x1b[m\x1b[H\x1b[2J");
        self.parser.process(b"\x1bc");
        self.has_notice = false;
        out
    }

    /// What shows a notice in the last row, over whatever is there. The emulator does
    /// not know of it.
    pub(super) fn notice(&mut self, text: &str) -> Vec<u8> {
        self.has_notice = true;
        let screen = self.parser.screen();
        let (rows, cols) = screen.size();
        let text: String = text.chars().take(usize::from(cols.get()).saturating_sub(1)).collect();
        let mut out = format!("\x1b[{rows};1H\x1b[0;7m{text}\x1b[0m\x1b[K").into_bytes();
        out.extend_from_slice(screen.cursor_state_formatted().as_bytes());
        out.extend_from_slice(screen.attributes_formatted().as_bytes());
        out
    }

    /// What takes the notice away, if there is one.
    pub(super) fn without_notice(&mut self) -> Vec<u8> {
        if std::mem::take(&mut self.has_notice) {
            self.parser.screen().state_formatted().into_bytes()
        } else {
            Vec::new()
        }
    }

    /// What undoes the modes that are set, and puts the cursor below everything.
    pub(super) fn farewell(&mut self) -> Vec<u8> {
        let mut out = self.without_notice();
        out.extend(self.without_modes());
        out.extend_from_slice(b"\x1b[m");
        out
    }

    fn without_modes(&self) -> Vec<u8> {
        let screen = self.parser.screen();
        let has_mouse = screen.mouse_protocol_mode() != vt100::MouseProtocolMode::None;
        let modes: [(bool, &[u8]); 6] = [
            (has_mouse, b"\x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1005l\x1b[?1006l"),
            (screen.bracketed_paste(), b"\x1b[?2004l"),
            (screen.application_cursor(), b"\x1b[?1l"),
            (screen.application_keypad(), b"\x1b>"),
            (screen.hide_cursor(), b"\x1b[?25h"),
            (screen.alternate_screen(), b"\x1b[?1049l"),
        ];
        let set = modes.into_iter().filter(|(is_set, _)| *is_set);
        set.flat_map(|(_, undo)| undo.iter().copied()).collect()
    }

    fn is_empty(&self) -> bool {
        self.parser.screen().contents().is_empty()
    }
}

fn at_least_one(size: u16) -> NonZero<u16> {
    NonZero::new(size).unwrap_or(NonZero::<u16>::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(output: &[u8]) -> Screen {
        let mut screen = Screen::new((20, 4));
        screen.process(output);
        screen
    }

    #[test]
    fn a_notice_goes_without_a_trace() {
        let output = b"one\r\n\x1b[31mtwo\x1b[2;2H";
        let mut shown = screen(output);
        let mut real = vt100::Parser::new(at_least_one(4), at_least_one(20), 0);
        real.process(output);
        real.process(&shown.notice("the server is away and does not come back"));
        assert!(real.screen().contents().contains("the server is away"));
        assert_eq!(real.screen().cursor_position(), (1, 1));
        real.process(&shown.without_notice());
        assert_eq!(real.screen().contents(), "one\ntwo");
        assert_eq!(real.screen().state_formatted(), shown.parser.screen().state_formatted());
        assert!(shown.without_notice().is_empty());
    }

    #[test]
    fn modes_are_undone_and_none_that_was_not_set() {
        assert_eq!(screen(b"hello").farewell(), b"\x1b[m");
        let mut shown = screen(b"\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b[?1002h");
        let farewell = String::from_utf8(shown.farewell()).unwrap();
        for undo in ["\x1b[?1049l", "\x1b[?25h", "\x1b[?2004l", "\x1b[?1002l"] {
            assert!(farewell.contains(undo), "{farewell:?}");
        }
        let cleared = shown.clear();
        assert!(cleared.ends_with(b"\x1b[H\x1b[2J"));
        assert_eq!(shown.farewell(), b"\x1b[m");
    }
}
