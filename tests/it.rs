//! The whole server from outside: over its sockets, with real containers.
//!
//! Needs a Docker engine and the images of `images/`; `make test` sees to both.

#[path = "it/engine_faults.rs"]
mod engine_faults;
#[path = "it/floor.rs"]
mod floor;
#[path = "it/support.rs"]
mod support;
#[path = "it/survival.rs"]
mod survival;
