//! A terminal as a person sees it: keystrokes in, a screen out.

use std::num::NonZero;
use std::time::Duration;

use bytes::Bytes;
use sandtree_client::{ClientError, TerminalItem};
use serde_json::Value;

use crate::wait::within;

/// Longest time until a screen shows what it has to.
const SCREEN_MAX: Duration = Duration::from_secs(60);

fn size(number: u16) -> NonZero<u16> {
    NonZero::new(number).expect("a size that is not zero")
}

/// A viewer of a terminal.
pub struct Terminal {
    inner: sandtree_client::Terminal,
    parser: vt100::Parser,
    output: Vec<u8>,
    gap_bytes: u64,
    exit_code: Option<i64>,
    is_over: bool,
}

impl Terminal {
    pub(super) fn new(inner: sandtree_client::Terminal, (cols, rows): (u16, u16)) -> Self {
        Self {
            inner,
            parser: vt100::Parser::new(size(rows), size(cols), 0),
            output: Vec::new(),
            gap_bytes: 0,
            exit_code: None,
            is_over: false,
        }
    }

    /// Types; a line ends with `\r`.
    pub async fn type_text(&mut self, text: &str) {
        let keys = Bytes::copy_from_slice(text.as_bytes());
        self.inner.writer.keys(keys).await.expect("a terminal that takes keys");
    }

    /// Sends a text message, such as a control message.
    pub async fn control(&mut self, value: &Value) {
        self.inner.writer.control(value).await.expect("a terminal that takes messages");
    }

    /// Changes the size, here and there.
    pub async fn resize(&mut self, cols: u16, rows: u16) {
        self.parser.screen_mut().set_size(size(rows), size(cols));
        self.inner.writer.resize(cols, rows).await.expect("a terminal that takes a size");
    }

    /// Waits until the screen shows it; the screen's text.
    ///
    /// # Panics
    ///
    /// When it does not in time, with the screen as it is then.
    pub async fn wait_for_screen(&mut self, what: &str, shows: impl Fn(&str) -> bool) -> String {
        let deadline = tokio::time::Instant::now() + SCREEN_MAX;
        loop {
            let screen = self.screen();
            if shows(&screen) {
                return screen;
            }
            let came = tokio::time::timeout_at(deadline, self.take()).await;
            let why = match came {
                Ok(true) => continue,
                Ok(false) => "the terminal ended",
                Err(_) => "time is up",
            };
            panic!("no {what} on the screen, and {why}:\n{}", self.screen());
        }
    }

    /// Waits until so much output has come since this viewer came.
    pub async fn wait_for_output(&mut self, what: &str, has: impl Fn(&[u8]) -> bool) {
        within(SCREEN_MAX, what, async {
            while !has(&self.output) {
                assert!(self.take().await, "the terminal ended before {what}");
            }
        })
        .await;
    }

    /// Waits until the shell has ended; its exit code.
    pub async fn wait_for_exit(&mut self) -> i64 {
        within(SCREEN_MAX, "the shell's end", async {
            while self.exit_code.is_none() {
                assert!(self.take().await, "the terminal ended without an exit code");
            }
        })
        .await;
        self.exit_code.expect("just seen")
    }

    /// Waits until the server has closed the connection.
    pub async fn wait_for_close(&mut self) {
        within(SCREEN_MAX, "the terminal to be closed", async { while self.take().await {} }).await;
    }

    /// The screen's text; lines have no blanks at their ends.
    #[must_use]
    pub fn screen(&self) -> String {
        let contents = self.parser.screen().contents();
        contents.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    /// Everything that came, byte for byte.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// Bytes that the server said were lost.
    #[must_use]
    pub fn gap_bytes(&self) -> u64 {
        self.gap_bytes
    }

    /// Where a later viewer goes on, for `?after=`.
    #[must_use]
    pub fn cursor(&self) -> String {
        self.inner.reader.position().expect("a terminal that was ready").to_string()
    }

    /// Takes one message; false when there are no more.
    async fn take(&mut self) -> bool {
        if self.is_over {
            return false;
        }
        match self.inner.reader.next().await {
            Ok(TerminalItem::Bytes(bytes)) => {
                self.parser.process(&bytes);
                self.output.extend_from_slice(&bytes);
            }
            Ok(TerminalItem::Ready { fresh: true, .. }) => self.parser.process(b"\x1bc"),
            Ok(TerminalItem::Ready { fresh: false, .. } | TerminalItem::Pong) => {}
            Ok(TerminalItem::Gap(bytes)) => self.gap_bytes += bytes,
            Ok(TerminalItem::Exit(code)) => self.exit_code = Some(code.into()),
            Err(ClientError::Answer(what)) => panic!("{what}"),
            Ok(TerminalItem::Closed { .. }) | Err(_) => self.is_over = true,
        }
        !self.is_over
    }
}
