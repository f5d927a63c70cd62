//! The AI Project Builder's policy: one program of a list, and nothing that a shell would
//! read, anywhere in its arguments or its directory. No shell is involved, so it asks more
//! than is needed; its clients count on that.

use super::{Refused, Risk, Verdict};

/// Programs that may run.
const PROGRAMS: [&str; 9] =
    ["python", "pip", "flask", "uvicorn", "streamlit", "pytest", "npm", "npx", "node"];

/// What may stand nowhere, even as a part of a longer word.
const BLOCKED: [&str; 20] = [
    ";", "&&", "||", "|", "`", "$(", "..", "~", "sudo", "ssh", "scp", "curl", "wget", "rm -rf",
    "chmod", "chown", "pkill", "kill", "umount", "mount",
];

/// What pip may be told to do.
const PIP_WORDS: [&str; 4] = ["install", "list", "freeze", "-r"];

/// A command as its clients write it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The program, by its name.
    pub command: &'a str,
    /// Its arguments.
    pub arguments: &'a [String],
    /// The working directory, in the project.
    pub cwd: &'a str,
}

/// What the policy says. With `strict_pip`, pip takes the words of a list and nothing else,
/// so that it can install nothing by its name.
pub fn judge(asked: Asked<'_>, strict_pip: bool) -> Verdict {
    match refusal(asked, strict_pip) {
        Some(refused) => refused.into(),
        None => Verdict::Allowed { risk: Risk::Safe, command: asked.command.to_owned() },
    }
}

fn refusal(asked: Asked<'_>, strict_pip: bool) -> Option<Refused> {
    let Asked { command, arguments, cwd } = asked;
    if command.trim().is_empty() {
        return Some(Refused::because("Command cannot be empty"));
    }
    if !PROGRAMS.contains(&command) {
        return Some(Refused::because(format!("Command not allowed: {command}")));
    }
    let texts = arguments.iter().map(String::as_str).chain([cwd]);
    if let Some(pattern) = texts.into_iter().find_map(blocked) {
        let message = format!("Blocked pattern detected: {pattern}");
        return Some(Refused { message, patterns: vec![pattern] });
    }
    if cwd.starts_with('/') {
        return Some(Refused::because("Absolute paths are not allowed"));
    }
    let odd = (command == "pip").then(|| odd_for_pip(arguments, strict_pip)).flatten()?;
    Some(Refused::because(format!("Argument not allowed for 'pip': {odd}")))
}

fn blocked(text: &str) -> Option<&'static str> {
    BLOCKED.into_iter().find(|pattern| text.contains(pattern))
}

/// The first argument that pip may not have.
fn odd_for_pip(arguments: &[String], strict: bool) -> Option<&str> {
    let mut installs = false;
    let mut is_file = false;
    arguments.iter().map(String::as_str).find(|argument| {
        let is_named = !strict && (is_file || (installs && is_requirement(argument)));
        is_file = *argument == "-r";
        installs |= *argument == "install";
        !is_named && !PIP_WORDS.contains(argument)
    })
}

/// Whether it is a name with extras and versions, as PEP 508 writes them without a URL.
fn is_requirement(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-[],=<>!*+".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(command: &str, arguments: &[&str], cwd: &str, strict_pip: bool) -> String {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let asked = Asked { command, arguments: &arguments, cwd };
        match judge(asked, strict_pip).into_command() {
            Ok(_) => "ok".to_owned(),
            Err(refused) => refused.to_string(),
        }
    }

    #[test]
    fn the_contract_row_by_row() {
        #[rustfmt::skip]
        let rows: &[(&str, &[&str], &str, &str)] = &[
            ("",        &[],                        ".",    "Command cannot be empty"),
            ("  ",      &[],                        ".",    "Command cannot be empty"),
            ("bash",    &["-c", "true"],            ".",    "Command not allowed: bash"),
            ("python3", &["-V"],                    ".",    "Command not allowed: python3"),
            ("python;", &[],                        ".",    "Command not allowed: python;"),
            ("python",  &["src/app.py"],            ".",    "ok"),
            ("python",  &["app.py"],                "src",  "ok"),
            ("python",  &["skill.py"],              ".",    "Blocked pattern detected: kill"),
            ("python",  &["a;b"],                   ".",    "Blocked pattern detected: ;"),
            ("python",  &["a && b"],                ".",    "Blocked pattern detected: &&"),
            ("python",  &["a || b"],                ".",    "Blocked pattern detected: ||"),
            ("python",  &["a | b"],                 ".",    "Blocked pattern detected: |"),
            ("python",  &["`id`"],                  ".",    "Blocked pattern detected: `"),
            ("python",  &["$(id)"],                 ".",    "Blocked pattern detected: $("),
            ("python",  &["../x"],                  ".",    "Blocked pattern detected: .."),
            ("python",  &["~/x"],                   ".",    "Blocked pattern detected: ~"),
            ("python",  &["sudo"],                  ".",    "Blocked pattern detected: sudo"),
            ("python",  &["ssh"],                   ".",    "Blocked pattern detected: ssh"),
            ("python",  &["scp"],                   ".",    "Blocked pattern detected: scp"),
            ("python",  &["curl"],                  ".",    "Blocked pattern detected: curl"),
            ("python",  &["wget"],                  ".",    "Blocked pattern detected: wget"),
            ("python",  &["rm -rf x"],              ".",    "Blocked pattern detected: rm -rf"),
            ("python",  &["chmod"],                 ".",    "Blocked pattern detected: chmod"),
            ("python",  &["chown"],                 ".",    "Blocked pattern detected: chown"),
            ("python",  &["pkill"],                 ".",    "Blocked pattern detected: pkill"),
            ("python",  &["umount"],                ".",    "Blocked pattern detected: umount"),
            ("python",  &["mount"],                 ".",    "Blocked pattern detected: mount"),
            ("python",  &["a.py"],                  "../x", "Blocked pattern detected: .."),
            ("python",  &["a.py"],                  "/etc", "Absolute paths are not allowed"),
            ("pip",     &["install", "flask"],      ".",    "ok"),
            ("pip",     &["install", "a[b]==1.2"],  ".",    "ok"),
            ("pip",     &["install", "-r", "r.txt"], ".",   "ok"),
            ("pip",     &["list"],                  ".",    "ok"),
            ("pip",     &["freeze"],                ".",    "ok"),
            ("pip",     &["flask"],                 ".",    "Argument not allowed for 'pip': flask"),
            ("pip",     &["install", "-t", "x"],    ".",    "Argument not allowed for 'pip': -t"),
            ("pip",     &["install", "git+https://x"], ".", "Argument not allowed for 'pip': git+https://x"),
            ("pip",     &["uninstall", "flask"],    ".",    "Argument not allowed for 'pip': uninstall"),
            ("npm",     &["run", "dev"],            ".",    "ok"),
        ];
        for (command, arguments, cwd, wanted) in rows {
            assert_eq!(said(command, arguments, cwd, false), *wanted, "{command} {arguments:?}");
        }
    }

    #[test]
    fn a_strict_pip_takes_the_words_of_its_list_alone() {
        for (arguments, wanted) in [
            (&["install", "flask"][..], "Argument not allowed for 'pip': flask"),
            (
                &["install", "-r", "requirements.txt"],
                "Argument not allowed for 'pip': requirements.txt",
            ),
            (&["list"], "ok"),
            (&["install", "-r"], "ok"),
        ] {
            assert_eq!(said("pip", arguments, ".", true), wanted, "{arguments:?}");
        }
    }
}
