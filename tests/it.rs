//! The whole server from outside: over its sockets, with real containers.
//!
//! Needs a Docker engine and the images of `images/`; `make test` sees to both.

#[path = "it/arrows.rs"]
mod arrows;
#[path = "it/cli.rs"]
mod cli;
#[path = "it/dialects.rs"]
mod dialects;
#[path = "it/docker.rs"]
mod docker;
#[path = "it/support.rs"]
mod support;
