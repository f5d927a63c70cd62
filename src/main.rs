//! The program `sandtree`; see [`sandtree::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    sandtree::cli::run()
}
