//! The tree.
pub mod ports;
