//! What a terminal shows now, for who begins to look at it.
//!
//! ```text
//! ring of output --next--> emulator --snapshot--> bytes that repaint the screen
//!                              |                  and the position where they end
//!                            save, load
//! ```
//!
//! An emulator follows the output as one more reader of the [`Fanout`], so it slows
//! nobody. A new viewer gets the bytes of a snapshot and then the output from exactly
//! the snapshot's position on. The emulator has to see a shell's output from the
//! start, so it starts with the shell; it costs about 50 KB at 24 by 80.
//!
//! The screen is saved to a file now and then: after a restart of the server the
//! screen is what was saved and the output after its position, which init still has.
//!
//! [`Fanout`]: crate::fanout::Fanout

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use sandtree_wire::Size;
use tokio::time::{Interval, MissedTickBehavior};

use crate::disk::blocking;
use crate::fanout::{FanoutItem, FanoutReader};
use crate::view::Cursor;

mod emulator;
mod file;
mod paint;
mod plain;
mod splitter;

use emulator::Emulator;

/// Output that is worked through before other tasks get their turn: about 0.4 ms.
const SLICE_BYTES: usize = 16 * 1024;

/// Output that is gathered before it is worked through, if it is there already. In a flood of
/// plain lines it is one slice: all of it but a screen at each end can be left out, so the more
/// the better.
const GATHERED_BYTES_MAX: usize = 256 * 1024;

/// So much at once is a flood; then there is a pause in which the next comes together, since
/// many small pieces cost more, and the flood needs the processor itself. The ring outlasts
/// the pause.
const FLOOD_BYTES: usize = 4 * 1024;
const FLOOD_PAUSE: Duration = Duration::from_millis(4);

/// A handle on what a terminal shows; cheap to clone. Its calls take the emulator's
/// lock for a millisecond at most, at usual sizes.
#[derive(Debug, Clone)]
pub struct Screen(Arc<Mutex<Emulator>>);

/// A screen to begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Position of the output that continues it.
    pub at: Cursor,
    /// Resets a terminal of this size and paints the whole screen: text, colours,
    /// cursor, modes, title, and both the normal and the alternate screen.
    pub bytes: Vec<u8>,
    /// Size that it was painted for.
    pub size: Size,
    /// Output before it was lost, so parts of it may be wrong until they are painted
    /// anew. Making the program repaint, by a change of size, heals it.
    pub torn: bool,
}

/// Where and how often a screen is saved while it is followed.
#[derive(Debug, Clone)]
pub struct Saving {
    /// The file, which is replaced in one step.
    pub path: PathBuf,
    /// Least time between two saves.
    pub every: Duration,
}

impl Screen {
    /// An empty screen of a shell whose output starts at `at`.
    #[must_use]
    pub fn new(at: Cursor, size: Size) -> Self {
        Self(Arc::new(Mutex::new(Emulator::new(at, size))))
    }

    /// The screen that was saved in a file; `None` if there is none, or not a whole
    /// one. It continues with the output from [`Screen::cursor`] on.
    ///
    /// # Errors
    ///
    /// What the disk says. Blocks for as long as it takes.
    pub fn load(path: &Path) -> io::Result<Option<Self>> {
        let saved = file::load(path)?;
        Ok(saved.map(|snapshot| Self(Arc::new(Mutex::new(Emulator::restored(&snapshot))))))
    }

    /// Saves the screen, replacing the file in one step. It survives the death of the
    /// server; after a power cut, which no shell survives, it may be gone.
    ///
    /// # Errors
    ///
    /// What the disk says. Blocks for as long as it takes.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        file::save(path, &self.snapshot())
    }

    /// What the terminal shows now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let copy = self.lock().copy();
        copy.snapshot()
    }

    /// Position after what the screen shows.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.lock().cursor()
    }

    /// Whether output was lost that the screen would need, see [`Snapshot::torn`].
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.lock().is_torn()
    }

    /// Size of the screen.
    #[must_use]
    pub fn size(&self) -> Size {
        self.lock().size()
    }

    /// A new size, each side brought into 2 to 500; answers what it has become.
    pub fn resize(&self, size: Size) -> Size {
        let mut emulator = self.lock();
        emulator.resize(size);
        emulator.size()
    }

    /// Keeps the screen up with the output until the fan-out is gone, and saves it
    /// when it changed, at the end of a shell, and at last. `reader` has to start at
    /// [`Screen::cursor`]. A save that fails is logged, and tried again in time.
    ///
    /// # Cancel safety
    ///
    /// A cancelled call leaves the screen where it was; another reader from
    /// [`Screen::cursor`] can continue.
    pub async fn follow(self, mut reader: FanoutReader, saving: Option<Saving>) {
        let mut saver = saving.map(|saving| Saver::new(self.clone(), saving));
        loop {
            let item = tokio::select! {
                biased;
                () = Saver::due(&mut saver) => {
                    Saver::save(&mut saver).await;
                    continue;
                }
                item = reader.next() => item,
            };
            let Some(item) = item else { break };
            let next = match item {
                FanoutItem::Bytes(first) => self.work_through(first, &mut reader).await,
                FanoutItem::Gap { .. } | FanoutItem::Fresh { .. } | FanoutItem::Ended(_) => {
                    Some(item)
                }
            };
            if next.is_some_and(|item| self.take(&item)) {
                Saver::save(&mut saver).await;
            }
        }
        Saver::save(&mut saver).await;
    }

    /// Works through output and whatever more of it is there; answers what comes after.
    async fn work_through(&self, first: Bytes, reader: &mut FanoutReader) -> Option<FanoutItem> {
        let mut gathered = BytesMut::from(first);
        let mut next = None;
        while next.is_none() && gathered.len() < GATHERED_BYTES_MAX {
            match reader.try_next() {
                Some(FanoutItem::Bytes(bytes)) => gathered.extend_from_slice(&bytes),
                Some(other) => next = Some(other),
                None => break,
            }
        }
        let is_lines = self.lock().is_flooded() && plain::is_plain(&gathered);
        let slice_bytes = if is_lines { gathered.len() } else { SLICE_BYTES };
        for slice in gathered.chunks(slice_bytes.max(1)) {
            self.lock().feed(slice);
            tokio::task::yield_now().await;
        }
        if (FLOOD_BYTES..GATHERED_BYTES_MAX).contains(&gathered.len()) {
            tokio::time::sleep(FLOOD_PAUSE).await;
        }
        next
    }

    /// Takes what is no output; whether it is the end of a shell.
    fn take(&self, item: &FanoutItem) -> bool {
        match item {
            FanoutItem::Bytes(bytes) => self.lock().feed(bytes),
            FanoutItem::Gap { bytes } => self.lock().lose(*bytes),
            FanoutItem::Fresh { at } => self.lock().restart(*at),
            FanoutItem::Ended(_) => return true,
        }
        false
    }

    fn lock(&self) -> MutexGuard<'_, Emulator> {
        // The emulator catches the panics of what it is built on.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Saves a screen now and then.
struct Saver {
    screen: Screen,
    path: PathBuf,
    interval: Interval,
    /// What was saved last.
    saved: Option<(Cursor, Size)>,
}

impl Saver {
    fn new(screen: Screen, saving: Saving) -> Self {
        let every = saving.every.max(Duration::from_millis(1));
        let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { screen, path: saving.path, interval, saved: None }
    }

    /// Waits until it is time; for ever when nothing is saved. Cancel safe.
    async fn due(saver: &mut Option<Self>) {
        match saver {
            Some(saver) => {
                saver.interval.tick().await;
            }
            None => std::future::pending().await,
        }
    }

    async fn save(saver: &mut Option<Self>) {
        let Some(saver) = saver else { return };
        let now = Some((saver.screen.cursor(), saver.screen.size()));
        if saver.saved == now {
            return;
        }
        let (screen, path) = (saver.screen.clone(), saver.path.clone());
        match blocking(move || screen.save(&path)).await {
            Ok(Ok(())) => saver.saved = now,
            Ok(Err(error)) => {
                tracing::warn!(%error, path = %saver.path.display(), "failed to save a screen")
            }
            Err(error) => tracing::warn!(%error, "failed to save a screen"),
        }
    }
}

#[cfg(test)]
mod tests;
