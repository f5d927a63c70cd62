//! The command line.
//!
//! Two kinds of commands: those that are the server or look at its configuration, and
//! those that ask a server, over the API alone. `docs/CLI.md` is for who uses them; the
//! exit codes are in `EXIT_CODES`.

mod bench;
mod completions;
mod cp;
mod exec;
mod failed;
mod logs;
mod paint;
mod progress;
mod project;
mod remote;
mod retry;
mod serve;
mod shell;
mod table;
mod top;
mod tty;
mod units;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

pub use failed::Failed;

use crate::config::{Config, Faults, Overrides};
use crate::edge::openapi;

/// The end of the program's help.
const EXIT_CODES: &str = "\
Exit codes:
  0    it did what it was told
  1    the server refused, or something went wrong
  2    the command line or the configuration is wrong
  3    the data directory cannot be used, or another server uses it
  4    the address cannot be listened on
  5    the store cannot be opened, or another server uses it
  6    the server cannot be reached, or the connection broke
  7    the server wants a key, or another one
  124  exec: the command ran into its timeout
  125  exec, shell: Sandtree failed, and not the command
  130  it was interrupted (128 and the signal's number)
  exec and shell end with the exit code of the remote command or shell.

Colour is for terminals only, and NO_COLOR=1 turns it off.";

/// Hosts the sandboxes of many projects.
#[derive(Debug, Parser)]
#[command(name = "sandtree", version, about, max_term_width = 100, after_help = EXIT_CODES)]
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
    /// List, create, start, stop, pause and remove projects.
    #[command(subcommand)]
    Project(project::ProjectCommand),
    /// Run a command in a project.
    Exec(exec::Exec),
    /// Open the terminal of a project.
    Shell(shell::Shell),
    /// Print the log of a project's process.
    Logs(logs::Logs),
    /// Copy files and folders into a project or out of it.
    Cp(cp::Cp),
    /// Show what running projects use.
    Top(top::Top),
    /// Measure a running server from here.
    Bench(bench::Bench),
    /// Print the completions of a shell.
    Completions(completions::Completions),
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

/// Runs the program with the arguments that it was started with.
#[must_use]
pub fn run() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(code) => ExitCode::from(code),
        Err(failed) => {
            failed.tell();
            ExitCode::from(failed.exit_code())
        }
    }
}

/// Runs a command; its exit code.
fn dispatch(command: Command) -> Result<u8, Failed> {
    match command {
        Command::Serve(settings) => serve::serve(settings.load().map_err(Failed::Config)?)?,
        Command::Config(ConfigCommand::Check(settings)) => {
            remote::say_now(settings.load().map_err(Failed::Config)?.effective())?;
        }
        Command::Openapi => remote::say_now(openapi::TEXT)?,
        Command::Project(command) => project::run(command)?,
        Command::Exec(exec) => return exec::run(exec),
        Command::Shell(shell) => return shell::run(shell),
        Command::Logs(logs) => logs::run(logs)?,
        Command::Cp(cp) => cp::run(cp)?,
        Command::Top(top) => top::run(top)?,
        Command::Bench(bench) => bench::run(bench)?,
        Command::Completions(shell) => {
            remote::say_now(completions::text(&shell, Cli::command()))?;
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }
}
