//! The server: everything that touches the outside world. The program in `main.rs`
//! does nothing but call [`cli`].

pub mod cli;
pub mod config;
pub mod data_dir;
pub mod edge;
pub mod engine;
pub mod init;
pub mod open_files;
pub mod server;
pub mod store;
pub mod telemetry;
