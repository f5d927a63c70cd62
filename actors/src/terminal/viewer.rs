//! One viewer of a terminal.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use sandtree_model::{Answer, ExitStatus, Fault};
use sandtree_wire::Size;

use super::{Input, Shared, TerminalMsg};
use crate::fanout::{FanoutItem, FanoutReader};
use crate::live::Hold;
use crate::view::Cursor;

/// Sizes of a terminal, in characters each way.
const SIDE_MIN: u16 = 2;
const SIDE_MAX: u16 = 500;
/// The size of a terminal for which nobody has asked for one.
pub(super) const FIRST_SIZE: Size = Size { cols: 80, rows: 24 };

/// How a viewer wants to look at the terminal.
#[derive(Debug, Clone, Copy)]
pub struct ViewRequest {
    /// Characters in a line, 2 to 500; applied to the shell. Absent: as it is, and 80
    /// for a new one.
    pub cols: Option<u16>,
    /// Lines, 2 to 500. Absent: as it is, and 24 for a new one.
    pub rows: Option<u16>,
    /// Continue after this byte; absent: the current screen first.
    pub after: Option<Cursor>,
    /// The shell ends when so long after the last viewer left nobody has come; absent:
    /// it stays. The last request decides. The end of the server is no leaving.
    pub leave_grace: Option<Duration>,
}

impl ViewRequest {
    /// With both sides brought into their range.
    pub(crate) fn clamped(self) -> Self {
        Self { cols: self.cols.map(side), rows: self.rows.map(side), ..self }
    }

    /// The size of a shell that is started for this viewer.
    pub(crate) fn first_size(&self) -> Size {
        self.resizes(FIRST_SIZE).unwrap_or(FIRST_SIZE)
    }

    /// The size that it wants of a terminal of this size. `None`: it has no wish, and
    /// those who look already keep what they see.
    fn resizes(&self, now: Size) -> Option<Size> {
        (self.cols, self.rows).ne(&(None, None)).then(|| Size {
            cols: self.cols.unwrap_or(now.cols),
            rows: self.rows.unwrap_or(now.rows),
        })
    }
}

fn clamp(cols: u16, rows: u16) -> Size {
    Size { cols: side(cols), rows: side(rows) }
}

fn side(characters: u16) -> u16 {
    characters.clamp(SIDE_MIN, SIDE_MAX)
}

/// What a viewer gets.
#[derive(Debug, Clone)]
pub enum TerminalItem {
    /// Comes first, after what repaints the screen, and when the shell is a new one:
    /// where the bytes after it start.
    Ready {
        /// Position of the next byte of output.
        at: Cursor,
        /// Whether the screen starts anew: the bytes that follow may repaint it. Those
        /// are not output and do not move the position, so another `Ready` ends them.
        fresh: bool,
    },
    /// Output, or what repaints the screen.
    Bytes(Bytes),
    /// This viewer was too slow, or came too late: so many bytes are lost.
    Gap {
        /// How many.
        bytes: u64,
    },
    /// The shell ended; the last item.
    Exited(ExitStatus),
}

/// One viewer of a terminal.
pub struct Viewer {
    shared: Arc<Shared>,
    reader: FanoutReader,
    pending: VecDeque<TerminalItem>,
    input: TerminalInput,
    hold: Hold,
}

impl Viewer {
    pub(super) fn new(shared: Arc<Shared>, request: ViewRequest) -> Self {
        shared.viewers.fetch_add(1, Ordering::Relaxed);
        let input = TerminalInput { shared: Arc::clone(&shared) };
        if let Some(size) = request.resizes(shared.screen.size()) {
            // A full queue means that somebody types faster than the shell reads; the
            // size comes with the next change.
            let _ = shared.input().try_send(Input::Resize(size));
        }
        let hold = Hold::new(&shared.live);
        hold.live().touch();
        let resumed = request.after.filter(|after| after.epoch == shared.epoch);
        let mut pending = VecDeque::new();
        let at = match resumed {
            Some(at) => {
                pending.push_back(TerminalItem::Ready { at, fresh: false });
                at
            }
            None => repaint(&shared, &mut pending),
        };
        let reader = shared.fanout.join_paced(at);
        Self { shared, reader, pending, input, hold }
    }

    /// The next item; `None` after the last one.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is lost.
    pub async fn next(&mut self) -> Option<TerminalItem> {
        if let Some(item) = self.pending.pop_front() {
            return Some(item);
        }
        let item = tokio::select! {
            biased;
            item = self.reader.next() => item?,
            () = self.shared.gone.cancelled() => return None,
        };
        match item {
            FanoutItem::Bytes(bytes) => {
                self.hold.live().touch();
                Some(TerminalItem::Bytes(bytes))
            }
            FanoutItem::Gap { bytes } => {
                let at = repaint(&self.shared, &mut self.pending);
                self.reader = self.shared.fanout.join_paced(at);
                Some(TerminalItem::Gap { bytes })
            }
            FanoutItem::Fresh { at } => {
                self.pending.push_back(TerminalItem::Ready { at, fresh: true });
                self.pending.pop_front()
            }
            FanoutItem::Ended(status) => Some(TerminalItem::Exited(status)),
        }
    }

    /// A handle for input, which can be used beside [`Viewer::next`].
    #[must_use]
    pub fn input(&self) -> TerminalInput {
        self.input.clone()
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let is_last = self.shared.viewers.fetch_sub(1, Ordering::Relaxed) == 1;
        if is_last {
            // An actor that has ended has nobody left to wait for.
            let _ = self.shared.actor.cast(TerminalMsg::Left(self.shared.epoch));
        }
        self.shared.live.terminal.send_if_modified(|view| {
            let view = view.as_mut().filter(|view| view.epoch == self.shared.epoch);
            view.map(|view| view.viewers = self.shared.viewers.load(Ordering::Relaxed)).is_some()
        });
    }
}

/// Queues what paints the current screen, and tells where the output goes on.
fn repaint(shared: &Shared, pending: &mut VecDeque<TerminalItem>) -> Cursor {
    let snapshot = shared.screen.snapshot();
    pending.push_back(TerminalItem::Ready { at: snapshot.at, fresh: true });
    if !snapshot.bytes.is_empty() {
        pending.push_back(TerminalItem::Bytes(snapshot.bytes.into()));
        // Who counts bytes would count these as well, and resume too far.
        pending.push_back(TerminalItem::Ready { at: snapshot.at, fresh: false });
    }
    if snapshot.torn {
        // A change of size there and back makes a full-screen program paint anew.
        let Size { cols, rows } = snapshot.size;
        for rows in [rows - 1, rows] {
            // A full queue means that the program is being typed at anyway.
            let _ = shared.input().try_send(Input::Resize(clamp(cols, rows)));
        }
    }
    snapshot.at
}

/// Input of a terminal.
#[derive(Clone)]
pub struct TerminalInput {
    shared: Arc<Shared>,
}

impl TerminalInput {
    /// Keystrokes; waits while the shell does not read.
    ///
    /// # Errors
    ///
    /// [`Fault::Sandbox`] when the shell has ended.
    pub async fn write(&self, bytes: Bytes) -> Answer<()> {
        self.shared.live.touch();
        self.send(Input::Bytes(bytes)).await
    }

    /// A new size, 2 to 500 each; others are brought into that range.
    ///
    /// # Errors
    ///
    /// [`Fault::Sandbox`] when the shell has ended.
    pub async fn resize(&self, cols: u16, rows: u16) -> Answer<()> {
        self.send(Input::Resize(clamp(cols, rows))).await
    }

    async fn send(&self, input: Input) -> Answer<()> {
        let sent = self.shared.input().send(input).await;
        Ok(sent.map_err(|_| Fault::Sandbox("the shell takes no input now".into()))?)
    }
}
