//! Finds where output can be cut without cutting a sequence in two.
//!
//! The emulator gets whole sequences only, so that all there is to know of it is on
//! its screen; and whoever begins with a snapshot gets the rest, which waits here,
//! from the ring.

/// Longest sequence that is kept whole. The body of a longer one (an image, say) is
/// dropped: no emulator of ours does anything with it.
const HELD_BYTES_MAX: usize = 4 * 1024;

const ESCAPE: u8 = 0x1b;

/// Where the parser is, as far as it matters for where a sequence ends. The states
/// are those of vte, the parser below the emulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ground,
    Escape,
    EscapeIntermediate,
    Csi,
    Osc,
    Dcs,
    /// After a device control string's head, where a bare 9C ends it as well.
    DcsBody,
    /// SOS, PM and APC strings.
    Text,
}

impl State {
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (_, ESCAPE) => State::Escape,
            (State::Ground, _) | (_, 0x18 | 0x1a) => State::Ground,
            (State::Escape, _) => State::after_escape(byte),
            (State::EscapeIntermediate, 0x30..=0x7e)
            | (State::Csi, 0x40..=0x7e)
            | (State::Osc, 0x07)
            | (State::DcsBody, 0x9c) => State::Ground,
            (State::Dcs, 0x40..=0x7e) => State::DcsBody,
            (same, _) => same,
        }
    }

    fn after_escape(byte: u8) -> Self {
        match byte {
            0x20..=0x2f => State::EscapeIntermediate,
            b'P' => State::Dcs,
            b'X' | b'^' | b'_' => State::Text,
            b'[' => State::Csi,
            b']' => State::Osc,
            0x30..=0x7e => State::Ground,
            _ => State::Escape,
        }
    }

    /// Brings a terminal into a state that ends where this one ends, and in which what
    /// follows does nothing.
    const fn opening(self) -> &'static [u8] {
        match self {
            State::Ground => b"",
            State::Escape => b"\x1b",
            State::EscapeIntermediate => b"\x1b   ",
            State::Csi => b"\x1b[0?",
            State::Osc => b"\x1b]99999;",
            State::Dcs | State::DcsBody | State::Text => b"\x1bX",
        }
    }
}

/// Cuts output into what is whole and what has to wait.
#[derive(Debug, Clone)]
pub(super) struct Splitter {
    state: State,
    /// The last character, and what has come of a sequence after it.
    held: Vec<u8>,
    /// The body of the present sequence is dropped.
    dropping: bool,
}

impl Splitter {
    pub(super) const fn new() -> Self {
        Self { state: State::Ground, held: Vec::new(), dropping: false }
    }

    /// Bytes that wait.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// What a terminal needs before it gets what comes next: nothing, unless a part of
    /// a sequence has been dropped.
    pub(super) const fn opening(&self) -> &'static [u8] {
        if self.dropping { self.state.opening() } else { b"" }
    }

    /// Drops what waits: it came from a snapshot's [`Splitter::opening`], not from the
    /// output.
    pub(super) fn drop_held(&mut self) {
        self.dropping |= !self.held.is_empty() && self.state != State::Ground;
        self.held = Vec::new();
    }

    /// Takes output, and calls `whole` with what is whole now, in order.
    pub(super) fn feed(&mut self, bytes: &[u8], mut whole: impl FnMut(&[u8])) {
        let mut data = std::mem::take(&mut self.held);
        let mut next = data.len();
        data.extend_from_slice(bytes);
        // What is dropped, if anything, comes first; then what is whole, up to the cut.
        let (mut from, mut cut) = (0, 0);
        while next < data.len() {
            if self.state == State::Ground {
                let text = data[next..].iter().position(|byte| *byte == ESCAPE);
                next = text.map_or(data.len(), |text| next + text);
                // A sequence that repeats the last character needs it: they stay together.
                cut += last_character(&data[cut..next]);
            }
            let Some(byte) = data.get(next) else { break };
            if self.dropping && *byte == ESCAPE {
                (self.dropping, from, cut) = (false, next, next);
            }
            self.state = self.state.after(*byte);
            next += 1;
            if self.state == State::Ground {
                cut = next;
                if std::mem::take(&mut self.dropping) {
                    from = next;
                }
            }
        }
        if !self.dropping {
            whole(&data[from..cut]);
            self.hold(&data[cut..], whole);
        }
    }

    fn hold(&mut self, rest: &[u8], mut whole: impl FnMut(&[u8])) {
        let sequence = rest.iter().position(|byte| *byte == ESCAPE).unwrap_or(rest.len());
        if rest.len() > HELD_BYTES_MAX {
            self.dropping = true;
            whole(&rest[..sequence]);
        } else {
            self.held.extend_from_slice(rest);
        }
    }
}

/// Where the last character starts, whole or not; the end when it is a control.
fn last_character(text: &[u8]) -> usize {
    let lead = text.iter().rev().take(4).position(|byte| byte & 0xc0 != 0x80);
    match lead {
        Some(back) if text[text.len() - 1 - back] >= 0x20 => text.len() - 1 - back,
        _ => text.len(),
    }
}
