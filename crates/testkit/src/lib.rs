//! What the tests share.
//!
//! For tests of the tree, in one process: [`FakeEngine`] with its [`FakeInit`]s,
//! [`MemoryStore`] and [`TestClock`]. They are handles on state that outlives a
//! tree, so a second tree can be spawned on what a crashed one left behind.
//! Faults are data: a [`FaultPlan`] for the engine, a [`StorePlan`] for the store.
//!
//! For tests of the whole server, over its sockets: [`TestServer`] and [`Client`]; for
//! those of its databases, [`TestPostgres`]; for programs that want a terminal, [`Pty`].
//!
//! A test that cannot go on panics, so functions here do as well; every wait has
//! an end and says what it waited for.
#![expect(clippy::missing_panics_doc, reason = "a test that cannot go on panics")]

mod block_disk;
mod client;
mod clock;
pub mod docker;
mod engine;
mod init;
mod postgres;
mod private_engine;
mod proxy;
mod pty;
mod server;
mod small_disk;
mod store;
mod wait;

pub use block_disk::BlockDisk;
pub use client::{Call as HttpCall, Client, Lines, Response, ServerEvent, Sse, Terminal};
pub use clock::TestClock;
pub use engine::plan::{FaultPlan, Mischief, Op, Trouble, When};
pub use engine::{Call, FakeEngine};
pub use init::{FakeInit, InitTrouble};
pub use postgres::TestPostgres;
pub use private_engine::PrivateEngine;
pub use proxy::{EngineProxy, TcpProxy};
pub use pty::Pty;
pub use server::{ServerSetup, TestServer};
pub use small_disk::SmallDisk;
pub use store::{MemoryStore, StoreFault, StorePlan};
pub use wait::{LONG, until, within};
