//! What is typed to this program and not to the shell: `~` at the start of a line and
//! one more key, as in other programs of this kind.

use bytes::{Bytes, BytesMut};

/// What the second key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// `~.`: leave; the shell goes on.
    Leave,
    /// `~?`: which keys there are.
    Help,
}

/// Finds wishes in what is typed.
#[derive(Debug)]
pub(super) struct Keys {
    is_line_start: bool,
    /// A `~` waits for the key after it.
    has_tilde: bool,
}

impl Default for Keys {
    fn default() -> Self {
        Self { is_line_start: true, has_tilde: false }
    }
}

impl Keys {
    /// What is for the shell, and the first wish. What is typed after a wish, in the
    /// same piece, is dropped: nobody types that fast.
    pub(super) fn take(&mut self, typed: &[u8]) -> (Bytes, Option<Wish>) {
        let mut out = BytesMut::with_capacity(typed.len() + 1);
        for key in typed {
            if std::mem::take(&mut self.has_tilde) {
                match key {
                    b'.' => return (out.freeze(), Some(Wish::Leave)),
                    b'?' => {
                        self.is_line_start = true;
                        return (out.freeze(), Some(Wish::Help));
                    }
                    b'~' => {}
                    _ => out.extend_from_slice(b"~"),
                }
            } else if self.is_line_start && *key == b'~' {
                self.has_tilde = true;
                continue;
            }
            self.is_line_start = matches!(key, b'\r' | b'\n');
            out.extend_from_slice(&[*key]);
        }
        (out.freeze(), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(pieces: &[&str]) -> (String, Option<Wish>) {
        let (mut keys, mut all) = (Keys::default(), String::new());
        for piece in pieces {
            let (out, wish) = keys.take(piece.as_bytes());
            all.push_str(std::str::from_utf8(&out).unwrap());
            if wish.is_some() {
                return (all, wish);
            }
        }
        (all, None)
    }

    #[test]
    fn only_a_tilde_at_the_start_of_a_line_means_something() {
        for (pieces, out, wish) in [
            (&["~."][..], "", Some(Wish::Leave)),
            (&["ls\r~."], "ls\r", Some(Wish::Leave)),
            (&["ls\r", "~", "."], "ls\r", Some(Wish::Leave)),
            (&["~?"], "", Some(Wish::Help)),
            (&["ls ~.\r"], "ls ~.\r", None),
            (&["~/bin\r"], "~/bin\r", None),
            (&["~", "/bin\r"], "~/bin\r", None),
            (&["~~."], "~.", None),
            (&["~"], "", None),
            (&["a~"], "a~", None),
        ] {
            assert_eq!(typed(pieces), (out.to_owned(), wish), "{pieces:?}");
        }
    }
}
