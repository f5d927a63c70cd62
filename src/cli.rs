//! The command line.
//!
//! | exit code | meaning |
//! | --- | --- |
//! | 0 | it did what it was told |
//! | 1 | something went wrong while it ran |
//! | 2 | the command line or the configuration is wrong; standard error lists all faults |
//! | 3 | the data directory cannot be used, or another server uses it |
//! | 4 | the address cannot be listened on |
//! | 5 | the store cannot be opened, or another server uses it |

mod serve;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Faults, Overrides};
use crate::edge::openapi;

/// Hosts the sandboxes of many projects.
#[derive(Debug, Parser)]
#[command(name = "sandtree", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server; the first line on standard output is its address.
    Serve(Settings),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the description of the API.
    Openapi,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print every key with its value and where it comes from, or everything that is wrong.
    Check(Settings),
}

/// What is laid over the built-in configuration.
#[derive(Debug, Args)]
struct Settings {
    /// File that is laid over the built-in configuration.
    #[arg(long, value_name = "FILE", env = "SANDTREE_CONFIG")]
    config: Option<PathBuf>,
    /// Address to listen on; port 0 picks a free one.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Directory of everything that the server keeps.
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<String>,
    /// Where state is kept: `sqlite:`, `sqlite:` and a path, or a `postgres:` URL.
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
}

impl Settings {
    fn load(self) -> Result<Config, Faults> {
        let overrides = Overrides {
            file: self.config,
            listen: self.listen,
            data_dir: self.data_dir,
            database_url: self.database_url,
        };
        // A name or value that is no text cannot be one of our keys'.
        let text = |(name, value): (OsString, OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Config::load(&overrides, std::env::vars_os().filter_map(text))
    }
}

/// Why the program ends with a code other than 0.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// Anything that has no code of its own.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
    /// The configuration is wrong.
    #[error("the configuration is wrong:\n{0}")]
    Config(Faults),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] crate::data_dir::DataDirError),
    /// The address cannot be listened on.
    #[error("{address} cannot be listened on")]
    Listen {
        /// Which.
        address: std::net::SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The store cannot be opened.
    #[error("the store cannot be opened")]
    Store(#[from] sandtree_actors::ports::StoreError),
}

impl Failed {
    fn exit_code(&self) -> u8 {
        match self {
            Failed::Other(_) => 1,
            Failed::Config(_) => 2,
            Failed::DataDir(_) => 3,
            Failed::Listen { .. } => 4,
            Failed::Store(_) => 5,
        }
    }
}

/// Runs the program with the arguments that it was started with.
#[must_use]
pub fn run() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            let mut text = format!("sandtree: {}", failed.to_string().trim_end());
            let mut source = std::error::Error::source(&failed);
            while let Some(cause) = source {
                text.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            // There is nowhere else to say it.
            let _ = writeln!(std::io::stderr(), "{text}");
            ExitCode::from(failed.exit_code())
        }
    }
}

fn dispatch(command: Command) -> Result<(), Failed> {
    match command {
        Command::Serve(settings) => serve::serve(settings.load().map_err(Failed::Config)?),
        Command::Config(ConfigCommand::Check(settings)) => {
            print(&settings.load().map_err(Failed::Config)?.effective());
            Ok(())
        }
        Command::Openapi => {
            print(openapi::TEXT);
            Ok(())
        }
    }
}

/// Writes to standard output; a reader that is gone already is no failure of ours.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }
}
