//! Black-box tests: the real init as an ordinary process, and a server of ours.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

#[path = "it/attach.rs"]
mod attach;
#[path = "it/control.rs"]
mod control;
#[path = "it/dial.rs"]
mod dial;
#[path = "it/exec.rs"]
mod exec;
#[path = "it/job.rs"]
mod job;
#[path = "it/server.rs"]
mod server;
#[path = "it/terminal.rs"]
mod terminal;
#[path = "it/watch.rs"]
mod watch;
