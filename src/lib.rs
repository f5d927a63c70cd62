//! The server: everything that touches the outside world. The program in `main.rs`
//! does nothing but call [`cli`].

pub mod config;
pub mod edge;
pub mod engine;
pub mod store;
