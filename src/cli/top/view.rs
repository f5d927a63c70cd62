//! A screen that is drawn again and again, and left as it was found.

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::cli::failed::Failed;
use crate::cli::remote::say_now;
use crate::cli::tty::{self, Raw};

/// The terminal's other screen, without a cursor.
pub(super) struct View {
    _raw: Raw,
    typed: mpsc::Receiver<Bytes>,
}

impl View {
    /// Takes the screen.
    pub(super) fn enter() -> Result<Self, Failed> {
        let raw =
            Raw::enter().map_err(|error| Failed::here("the terminal cannot be used", &error))?;
        let view = Self { _raw: raw, typed: tty::keys() };
        say_now("\x1b[?1049h\x1b[?25l\x1b[?7l")?;
        Ok(view)
    }

    /// Draws a title and as many lines as there is room for.
    pub(super) fn show(&mut self, title: &str, lines: &[String]) -> Result<(), Failed> {
        let (_, rows) = tty::size();
        let room = usize::from(rows).saturating_sub(2).max(1);
        let mut text = format!("\x1b[H{title}\x1b[K");
        let shown = if lines.len() > room { room - 1 } else { lines.len() };
        for line in &lines[..shown] {
            text.push_str(&format!("\r\n{line}\x1b[K"));
        }
        if shown < lines.len() {
            text.push_str(&format!("\r\n... and {} more\x1b[K", lines.len() - shown));
        }
        text.push_str("\x1b[J");
        say_now(text)
    }

    /// Does something; nothing comes of it when the user has seen enough meanwhile.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                outcome = &mut work => return Some(outcome),
                typed = self.typed.recv() => match typed {
                    // In raw mode Ctrl-C is a key.
                    Some(keys) if !keys.iter().any(|key| matches!(key, b'q' | b'Q' | 3)) => {}
                    Some(_) | None => return None,
                },
            }
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // If the terminal is gone, there is nothing to restore.
        let _ = say_now("\x1b[?7h\x1b[?25h\x1b[?1049l");
    }
}
