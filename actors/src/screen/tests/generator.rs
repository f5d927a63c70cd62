//! Output as full-screen programs write it, the same for the same seed.

const SIDES: [u16; 8] = [2, 3, 5, 7, 20, 24, 80, 132];

/// Sequences in which `#` becomes a small number.
const SEQUENCES: [&str; 56] = [
    "\x1b[#;#H",
    "\x1b[#A",
    "\x1b[#B",
    "\x1b[#C",
    "\x1b[#D",
    "\x1b[#G",
    "\x1b[#d",
    "\x1b[#E",
    "\x1b[J",
    "\x1b[1J",
    "\x1b[2J",
    "\x1b[K",
    "\x1b[1K",
    "\x1b[2K",
    "\x1b[#X",
    "\x1b[#P",
    "\x1b[#@",
    "\x1b[#L",
    "\x1b[#M",
    "\x1b[#S",
    "\x1b[#T",
    "\x1b[#;#r",
    "\x1b[r",
    "\x1b[?6h",
    "\x1b[?6l",
    "\x1b7",
    "\x1b8",
    "\x1bM",
    "\x1b[m",
    "\x1b[1m",
    "\x1b[2;3m",
    "\x1b[4;7m",
    "\x1b[3#m",
    "\x1b[4#m",
    "\x1b[38;5;#m",
    "\x1b[48;2;#;#;9m",
    "\x1b[0;9#m",
    "\x1b[?25l",
    "\x1b[?25h",
    "\x1b[?1049h",
    "\x1b[?1049l",
    "\x1b[?1h",
    "\x1b[?1l",
    "\x1b=",
    "\x1b>",
    "\x1b[?2004h",
    "\x1b[?1002h",
    "\x1b[?1006h",
    "\x1b[# q",
    "\x1b]0;title #\x07",
    "\x1b]2;other\x1b\\",
    "\x1b[?1004h",
    "\x1bPq#\x1b\\",
    "\x1b(B",
    "x\x1b[#b",
    "\x1b[1\n;3m",
];

const TEXTS: [&str; 16] = [
    "a",
    "word",
    "some longer text",
    " ",
    "  ",
    "日本",
    "é",
    "e\u{301}",
    "🙂",
    "│└",
    "\r\n",
    "\r",
    "\n",
    "\t",
    "\x08",
    "0123456789012345678901234567890",
];

pub(super) struct Generator(u64);

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }

    pub(super) fn side(&mut self) -> u16 {
        SIDES[self.below(SIDES.len())]
    }

    /// So many texts and sequences.
    pub(super) fn output(&mut self, pieces: usize) -> Vec<u8> {
        let mut output = Vec::new();
        for _ in 0..pieces {
            let piece = match self.below(10) {
                0..5 => TEXTS[self.below(TEXTS.len())],
                _ => SEQUENCES[self.below(SEQUENCES.len())],
            };
            for part in piece.split_inclusive('#') {
                match part.strip_suffix('#') {
                    Some(before) => output.extend(format!("{before}{}", self.below(9)).bytes()),
                    None => output.extend(part.bytes()),
                }
            }
        }
        output
    }

    /// Bytes that no program would write, with sequences among them.
    pub(super) fn noise(&mut self, bytes: usize) -> Vec<u8> {
        let mut noise = Vec::new();
        while noise.len() < bytes {
            match self.below(4) {
                0 => noise.extend(self.output(1)),
                1 => noise.extend([0x1b, b'[', 0x30 + self.below(16) as u8]),
                2 => noise
                    .extend(format!("\x1b[{};{}H", self.below(70_000), self.below(600)).bytes()),
                _ => noise.push(self.below(256) as u8),
            }
        }
        noise
    }
}
