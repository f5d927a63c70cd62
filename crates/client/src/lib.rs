//! A client of the API: requests, streams, terminals.
//!
//! The command line and the tests use it. It knows HTTP and what holds for the whole
//! API (keys, problem documents, events), not what single routes mean.
//!
//! Every wait has an end, and everything that is read has a limit; [`Limits`] has
//! both.

mod address;
mod body;
mod client;
mod encode;
mod error;
mod events;
mod patient;
mod response;
mod terminal;

pub use address::{BadAddress, ServerAddress};
pub use body::Pieces;
pub use client::{Client, Limits, Request, WebSocket};
pub use encode::{path, query, segment};
pub use error::{ClientError, Problem};
pub use events::{Events, Lines, ServerEvent, bytes_of};
pub use response::{Response, Streaming};
pub use terminal::{Position, Terminal, TerminalItem, TerminalReader, TerminalWriter};
