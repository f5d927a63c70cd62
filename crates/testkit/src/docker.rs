//! What a test does behind the server's back, with the engine's own command.

use std::process::{Command, Stdio};

/// Most attempts to find no container of an instance any more.
const ROUNDS_MAX: usize = 5;

/// A container, as the engine lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The engine's id.
    pub id: String,
    /// Whose it is, from its label.
    pub sandbox: String,
    /// Such as `running`, `paused` or `exited`.
    pub state: String,
}

/// Runs `docker` and answers its standard output.
///
/// # Errors
///
/// What it said on standard error.
pub fn docker(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("timeout")
        .args(["--kill-after=5", "60", "docker"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("docker cannot be run: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The containers of an instance, in any state.
#[must_use]
pub fn containers_of(instance: &str) -> Vec<Container> {
    let filter = format!("label=sandtree.instance={instance}");
    let format = r#"{{.ID}} {{.Label "sandtree.sandbox"}} {{.State}}"#;
    let listed = docker(&["ps", "-a", "--no-trunc", "--filter", &filter, "--format", format]);
    let listed = listed.expect("a list of containers");
    listed.lines().filter_map(container_in).collect()
}

fn container_in(line: &str) -> Option<Container> {
    let mut words = line.split(' ').map(str::to_owned);
    Some(Container { id: words.next()?, sandbox: words.next()?, state: words.next()? })
}

/// Removes the containers of an instance, running or not. Does what it can: the
/// engine may be making one at this very moment, so it looks until there is none.
pub(crate) fn remove_all_of(instance: &str) {
    for round in 0..ROUNDS_MAX {
        let ids: Vec<String> = containers_of(instance).into_iter().map(|it| it.id).collect();
        if ids.is_empty() && round > 0 {
            return;
        }
        if ids.is_empty() {
            continue;
        }
        let mut arguments = vec!["rm", "--force", "--volumes"];
        arguments.extend(ids.iter().map(String::as_str));
        if let Err(error) = docker(&arguments) {
            eprintln!("containers of {instance} are being removed: {error}");
        }
    }
}
