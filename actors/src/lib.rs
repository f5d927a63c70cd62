//! The tree.
//!
//! ```text
//! root                      supervises all; routes nothing
//! ├─ repository             the only writer of runtime state
//! ├─ reconciler             takes stock at start, and when the engine comes back
//! ├─ janitor                idle timeout, maximum lifetime, orphans, passivation
//! ├─ pool                   started sandboxes that wait to be claimed
//! ├─ engine watch           engine events become facts for the project concerned
//! └─ project × N            the address of every request about one project
//!    ├─ container           the single authority of its life cycle
//!    ├─ process             its one long-running command
//!    ├─ terminal            its one shell, for any number of viewers
//!    └─ file-writer         every write to its workspace, in order
//! ```
//!
//! [`Tree`] is the front door. The doors out are the [`ports`]: engine, store,
//! clock. Beside them the tree talks to the init of every sandbox, over a unix
//! socket in that sandbox's directory (`home`, `link`).
//!
//! Three rules hold everywhere. A handler never awaits the engine, the store or
//! another actor: it starts a task that it owns and gets the outcome as a fact.
//! Bytes never pass through a mailbox. What the tree knows about a project is
//! published in one place (`live`) that everybody reads without a message.

mod ask;
mod clear_up;
mod container;
mod context;
pub mod crash;
mod dialled;
mod directory;
mod disk;
mod engine_places;
mod engine_watch;
mod events;
pub mod fanout;
mod file_writer;
mod files;
mod fullness;
mod home;
mod janitor;
mod layout;
mod link;
mod live;
pub mod log;
mod memory;
mod once;
mod pool;
pub mod ports;
mod process;
mod project;
mod reconciler;
mod repository;
mod request;
mod root;
mod sandbox;
pub mod screen;
mod settings;
mod shape;
mod stages;
mod supervise;
mod tasks;
mod terminal;
mod tree;
mod turn;
mod view;
mod watch;

pub use dialled::Dialled;
pub use disk::Aside;
pub use events::EventReader;
pub use files::{FileNote, Files, WriteError};
pub use fullness::Fullness;
pub use log::{LogItem, LogReader, LogRecord, LogSettings, LogWriter};
pub use once::Once;
pub use request::{CreateRequest, PatchRequest};
pub use sandbox::{Exec, ExecOutput, ExecStdin, Sandbox, Traffic};
pub use settings::TreeSettings;
pub use terminal::{TerminalInput, TerminalItem, ViewRequest, Viewer};
pub use tree::{Operation, Tree};
pub use turn::Turn;
pub use view::{Cursor, ProcessState, ProcessView, TerminalView, View};
pub use watch::{Watch, WatchItem};
