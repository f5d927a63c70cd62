//! What the server and the init of a sandbox say to each other.
//!
//! Init dials the server's unix socket. Every connection begins with one
//! [`Hello`] from init, which carries the token and says what the connection is
//! for; from then on it is one of these:
//!
//! ```text
//! control   server: Welcome, then Request*        init: Reply*, Notice*
//! exec      server: Data (stdin), End, ExecInput  init: ExecEvent, Data, Stderr
//! attach    server: Data (input)                  init: AttachEvent, Record
//! dial      init: DialEvent; after Connected both sides send bytes without frames,
//!           Handed brings the socket that they go through instead
//! watch     server: nothing                       init: WatchEvent*
//! ```
//!
//! There is one control connection. For each stream that the server wants it
//! sends [`Request::Open`], and init dials one more connection and names the
//! stream in its hello: the kernel multiplexes and controls the flow.
//!
//! A frame is a kind (one byte), a length (four bytes, little endian) and so many
//! bytes. Messages are JSON: a reader skips fields that it does not know, so
//! fields can be added without a new version; anything else raises [`VERSION`].
//! The server speaks the lower of both versions and knows every older one.
//!
//! The server reads these frames from hostile hands: every length, count and text
//! is bounded here, in the reader.

pub mod frame;
pub mod message;

pub use frame::{
    Frame, FrameError, Kind, RecordHead, read_frame, read_frame_within, read_message, write_frame,
    write_message,
};
pub use message::*;

/// The newest version of the wire that this code speaks.
///
/// - 1: the first.
/// - 2: [`Stream::Watch`].
/// - 3: commands with a terminal, and with another program where theirs is not there.
pub const VERSION: u16 = 3;
/// The first version with [`Stream::Watch`].
pub const WATCH_VERSION: u16 = 2;
/// The first version in which a command can have a terminal, or another program to run
/// where its own is not there.
pub const EXEC_VERSION: u16 = 3;
/// The oldest version that the server still speaks.
pub const OLDEST_VERSION: u16 = 1;

/// Where the server's directory is mounted in a sandbox.
pub const HOME: &str = "/.sandtree/home";
/// Where init itself is mounted in a sandbox.
pub const INIT: &str = "/.sandtree/init";
/// Name of the socket in [`HOME`].
pub const SOCKET_NAME: &str = "sock";
/// Name of the one-time token file in [`HOME`].
pub const TOKEN_NAME: &str = "token";
/// Where the workspace is mounted in a sandbox.
pub const WORKSPACE: &str = "/workspace";

/// Most bytes in the payload of a message.
pub const MESSAGE_BYTES_MAX: usize = 512 * 1024;
/// Most bytes in the payload of every other frame.
pub const DATA_BYTES_MAX: usize = 64 * 1024;
/// Length of a token, in characters of hex.
pub const TOKEN_CHARS: usize = 64;
/// Longest time between two attempts of init to reach the server.
pub const REDIAL_MS_MAX: u64 = 250;
