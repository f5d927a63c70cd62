//! The program that is PID 1 of every sandbox, inside this one.

/// The static binary of `crates/init`, as the build script made it. Empty in builds that
/// skip it, such as those of clippy and the documentation.
#[cfg(sandtree_init)]
pub const PROGRAM: &[u8] = include_bytes!(env!("SANDTREE_INIT_PATH"));

/// Stands for the program where the build script did not make it.
#[cfg(not(sandtree_init))]
pub const PROGRAM: &[u8] = b"";
