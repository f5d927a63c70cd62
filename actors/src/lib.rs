//! The tree.
pub mod log;
pub mod ports;
pub mod settings;
pub mod tree;
pub mod view;
