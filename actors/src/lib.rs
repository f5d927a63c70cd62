//! The tree.
pub mod fanout;
pub mod log;
pub mod ports;
pub mod screen;
pub mod settings;
pub mod tree;
pub mod view;
