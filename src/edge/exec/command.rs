//! What to run, as clients write it: for commands and for the process.

use std::collections::BTreeMap;

use sandtree_model::project::{ENV_BYTES_MAX, ENV_ENTRIES_MAX};
use sandtree_wire::{MESSAGE_BYTES_MAX, WORKSPACE};

use crate::edge::errors::Problem;

/// Most bytes of program, arguments, directory and variables, written as JSON: they
/// go to the sandbox in one message, which has some more in it.
const COMMAND_BYTES_MAX: usize = MESSAGE_BYTES_MAX - 4096;
/// Most bytes of one argument: what Linux takes, with its terminating zero.
const ARGUMENT_BYTES_MAX: usize = 128 * 1024 - 1;
/// Most arguments, program included.
const ARGUMENTS_MAX: usize = 4096;
/// Most bytes of a working directory.
const CWD_BYTES_MAX: usize = 4095;

/// What to run: exactly one of `command`, which a shell reads, and `argv`.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// Run as `/bin/sh -c`.
    pub command: Option<String>,
    /// Program and arguments.
    pub argv: Option<Vec<String>>,
    /// Working directory; one that is relative is in the workspace.
    pub cwd: Option<String>,
    /// Variables on top of the project's.
    pub env: BTreeMap<String, String>,
}

/// A command that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// An absolute working directory; absent: the workspace.
    pub cwd: Option<String>,
    /// Variables on top of the project's.
    pub env: BTreeMap<String, String>,
}

impl Command {
    /// Checks all of it.
    ///
    /// # Errors
    ///
    /// 400 naming the field, 413 when it is too large for one message.
    pub fn check(self) -> Result<Checked, Problem> {
        let argv = argv(self.command, self.argv)?;
        let cwd = self.cwd.map(cwd).transpose()?;
        check_env(&self.env)?;
        let checked = Checked { argv, cwd, env: self.env };
        let text = serde_json::to_vec(&(&checked.argv, &checked.cwd, &checked.env));
        if text.map_or(usize::MAX, |text| text.len()) > COMMAND_BYTES_MAX {
            let what = "the command with its environment";
            return Err(Problem::too_large(what, COMMAND_BYTES_MAX as u64));
        }
        Ok(checked)
    }
}

fn argv(command: Option<String>, argv: Option<Vec<String>>) -> Result<Vec<String>, Problem> {
    let (argv, field) = match (command, argv) {
        (Some(command), None) => (vec!["/bin/sh".to_owned(), "-c".to_owned(), command], "command"),
        (None, Some(argv)) => (argv, "argv"),
        (Some(_), Some(_)) => {
            return Err(Problem::field("argv", "cannot be together with command"));
        }
        (None, None) => return Err(Problem::field("command", "is missing, and so is argv")),
    };
    let wrong = |what: String| Err(Problem::field(field, what));
    if argv.len() > ARGUMENTS_MAX {
        return wrong(format!("has more than {ARGUMENTS_MAX} arguments"));
    }
    if argv.first().is_none_or(String::is_empty) {
        return wrong("names no program".to_owned());
    }
    if argv.iter().any(|argument| argument.len() > ARGUMENT_BYTES_MAX) {
        return wrong(format!("has an argument of more than {ARGUMENT_BYTES_MAX} bytes"));
    }
    if argv.iter().any(|argument| argument.contains('\0')) {
        return wrong("must not hold a NUL".to_owned());
    }
    Ok(argv)
}

fn cwd(cwd: String) -> Result<String, Problem> {
    if cwd.is_empty() || cwd.len() > CWD_BYTES_MAX || cwd.contains('\0') {
        let problem = format!("must have from 1 to {CWD_BYTES_MAX} bytes, none of them NUL");
        return Err(Problem::field("cwd", problem));
    }
    if cwd.starts_with('/') { Ok(cwd) } else { Ok(format!("{WORKSPACE}/{cwd}")) }
}

fn check_env(env: &BTreeMap<String, String>) -> Result<(), Problem> {
    let wrong = |problem: String| Err(Problem::field("env", problem));
    if env.len() > ENV_ENTRIES_MAX {
        return wrong(format!("has more than {ENV_ENTRIES_MAX} variables"));
    }
    if env.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > ENV_BYTES_MAX {
        return wrong(format!("has more than {ENV_BYTES_MAX} bytes of names and values"));
    }
    let is_bad = |name: &str| name.is_empty() || name.contains(['=', '\0']);
    if let Some(name) = env.keys().find(|name| is_bad(name)) {
        return wrong(format!("has the name {name:?}; names have no `=` and no NUL"));
    }
    if let Some((name, _)) = env.iter().find(|(_, value)| value.contains('\0')) {
        return wrong(format!("has a NUL in the value of {name}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(command: &str) -> Command {
        Command { command: Some(command.to_owned()), ..Command::default() }
    }

    fn field(command: Command) -> serde_json::Value {
        command.check().unwrap_err().document()["field"].clone()
    }

    #[test]
    fn a_command_is_for_a_shell_and_a_relative_directory_in_the_workspace() {
        let command = Command { cwd: Some("src".into()), ..shell("a | b") };
        let checked = command.check().unwrap();
        assert_eq!(checked.argv, ["/bin/sh", "-c", "a | b"]);
        assert_eq!(checked.cwd.as_deref(), Some("/workspace/src"));
    }

    #[test]
    fn what_cannot_be_run_is_named() {
        let argv = |argv: &[&str]| Command {
            argv: Some(argv.iter().map(ToString::to_string).collect()),
            ..Command::default()
        };
        assert_eq!(field(Command::default()), "command");
        assert_eq!(field(Command { argv: Some(vec![]), ..shell("x") }), "argv");
        assert_eq!(field(argv(&[])), "argv");
        assert_eq!(field(argv(&["", "x"])), "argv");
        assert_eq!(field(argv(&["a\0"])), "argv");
        assert_eq!(field(shell(&"x".repeat(ARGUMENT_BYTES_MAX + 1))), "command");
        assert_eq!(field(Command { cwd: Some(String::new()), ..shell("x") }), "cwd");
        for name in ["", "a=b", "a\0"] {
            let env = BTreeMap::from([(name.to_owned(), "1".to_owned())]);
            assert_eq!(field(Command { env, ..shell("x") }), "env", "{name:?}");
        }
    }

    #[test]
    fn a_command_fits_into_one_message() {
        let many = vec!["\u{1}".repeat(1024); 100];
        let command = Command { argv: Some(many), ..Command::default() };
        assert_eq!(command.check().unwrap_err().document()["status"], 413);
    }
}
