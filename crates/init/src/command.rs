//! A program to start, made ready before the fork: afterwards nothing allocates.

use std::ffi::{CString, c_char};
use std::io;

use sandtree_wire::{Env, StartError, WORKSPACE};

/// Where programs are looked up when the environment does not say.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a program is started from.
pub(crate) struct Request<'a> {
    /// Commands to try in order: the first whose program exists is run.
    pub(crate) choices: &'a [Vec<String>],
    /// Working directory; absent: the workspace, or `/` where there is none.
    pub(crate) cwd: Option<&'a str>,
    /// The sandbox's environment.
    pub(crate) base: &'a Env,
    /// Variables on top of it.
    pub(crate) env: &'a Env,
    /// Whether standard output is to become the controlling terminal.
    pub(crate) terminal: bool,
}

/// A null-terminated array of C strings.
struct Strings {
    /// Owns what `pointers` points to; the heap does not move.
    _owned: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Strings {
    fn new(owned: Vec<CString>) -> Self {
        let last = std::iter::once(std::ptr::null());
        let pointers = owned.iter().map(|text| text.as_ptr()).chain(last).collect();
        Self { _owned: owned, pointers }
    }
}

/// One file to try.
struct Candidate {
    path: CString,
    choice: usize,
}

/// See the module.
pub(crate) struct Command {
    candidates: Vec<Candidate>,
    argvs: Vec<Strings>,
    env: Strings,
    cwd: Option<CString>,
    workspace: CString,
    terminal: bool,
    names: String,
}

impl Command {
    /// Checks a request and lays it out.
    ///
    /// # Errors
    ///
    /// What cannot be passed to a program: nothing to run, a NUL byte, a name of a
    /// variable that is empty or holds `=`.
    pub(crate) fn prepare(request: &Request<'_>) -> Result<Self, StartError> {
        let path = request.env.get("PATH").or_else(|| request.base.get("PATH"));
        let path = path.map_or(PATH_DEFAULT, String::as_str);
        let mut candidates = Vec::new();
        let mut argvs = Vec::new();
        let mut names = Vec::new();
        for (choice, argv) in request.choices.iter().enumerate() {
            let program = argv.first().filter(|program| !program.is_empty());
            let program = program.ok_or_else(|| invalid("a command without a program"))?;
            for path in lookup(program, path) {
                let path = c_string(&path, "the program's path")?;
                candidates.push(Candidate { path, choice });
            }
            let argv = argv.iter().map(|text| c_string(text, "an argument"));
            argvs.push(Strings::new(argv.collect::<Result<_, _>>()?));
            names.push(format!("`{program}`"));
        }
        if candidates.is_empty() {
            return Err(invalid("a command without a program"));
        }
        Ok(Self {
            candidates,
            argvs,
            env: Strings::new(environment(request.base, request.env, path)?),
            cwd: request.cwd.map(|cwd| c_string(cwd, "the working directory")).transpose()?,
            workspace: c_string(WORKSPACE, "the workspace")?,
            terminal: request.terminal,
            names: names.join(" or "),
        })
    }

    /// The error that a failed step is to the server.
    pub(crate) fn error(&self, step: Step, errno: i32) -> StartError {
        let what = match step {
            Step::Fork => "start a process".to_owned(),
            Step::Terminal => "take the terminal".to_owned(),
            Step::Directory => {
                let cwd = self.cwd.as_ref().map(|cwd| cwd.to_string_lossy());
                format!("enter the working directory `{}`", cwd.unwrap_or_default())
            }
            Step::Program => format!("run {}", self.names),
        };
        StartError { errno, what }
    }

    /// Becomes the program, or says which step failed and why. Called in a child
    /// that shares its parent's memory: only system calls, no allocation.
    pub(crate) fn become_it(&self) -> (Step, i32) {
        // SAFETY: the child leads no group yet; touches no memory.
        unsafe { libc::setsid() };
        // SAFETY: TIOCSCTTY takes a number; descriptor 1 is the terminal.
        if self.terminal && unsafe { libc::ioctl(1, libc::TIOCSCTTY, 0) } < 0 {
            return (Step::Terminal, crate::sys::errno());
        }
        if !self.enter_directory() {
            return (Step::Directory, crate::sys::errno());
        }
        crate::signals::reset_for_program();
        (Step::Program, self.execute())
    }

    fn enter_directory(&self) -> bool {
        // SAFETY: null-terminated paths that outlive the calls.
        let entered = unsafe { libc::chdir(self.workspace.as_ptr()) } == 0
            // SAFETY: as above.
            || unsafe { libc::chdir(c"/".as_ptr()) } == 0;
        match &self.cwd {
            // SAFETY: as above. A relative path begins at the workspace.
            Some(cwd) => unsafe { libc::chdir(cwd.as_ptr()) == 0 },
            None => entered,
        }
    }

    /// Tries each candidate. What exists but may not be run is worth more to the
    /// reader than what is not there.
    fn execute(&self) -> i32 {
        let mut worst = libc::ENOENT;
        for candidate in &self.candidates {
            let argv = &self.argvs[candidate.choice].pointers;
            let env = &self.env.pointers;
            // SAFETY: a null-terminated path and two null-terminated arrays of such
            // strings, all owned by `self`.
            unsafe { libc::execve(candidate.path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
            match crate::sys::errno() {
                libc::ENOENT | libc::ENOTDIR => {}
                libc::EACCES => worst = libc::EACCES,
                other => return other,
            }
        }
        worst
    }
}

/// What is done on the way to a running program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Step {
    /// Making the process.
    Fork = 0,
    /// Taking the controlling terminal.
    Terminal = 1,
    /// Entering the working directory.
    Directory = 2,
    /// Executing the program.
    Program = 3,
}

impl From<i32> for Step {
    fn from(number: i32) -> Self {
        match number {
            1 => Step::Terminal,
            2 => Step::Directory,
            3 => Step::Program,
            _ => Step::Fork,
        }
    }
}

/// The files that a program's name may mean.
fn lookup(program: &str, path: &str) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    let folders = path.split(':').map(|folder| if folder.is_empty() { "." } else { folder });
    folders.map(|folder| format!("{folder}/{program}")).collect()
}

/// `NAME=value` of everything that the program gets, and nothing else.
fn environment(base: &Env, env: &Env, path: &str) -> Result<Vec<CString>, StartError> {
    let kept = base.iter().filter(|(name, _)| !env.contains_key(*name));
    let mut variables = Vec::new();
    for (name, value) in kept.chain(env) {
        if name.is_empty() || name.contains('=') {
            return Err(invalid(&format!("`{name}`, which is no name of a variable")));
        }
        variables.push(c_string(&format!("{name}={value}"), "the environment")?);
    }
    if !base.contains_key("PATH") && !env.contains_key("PATH") {
        variables.push(c_string(&format!("PATH={path}"), "the environment")?);
    }
    Ok(variables)
}

fn c_string(text: &str, place: &str) -> Result<CString, StartError> {
    CString::new(text).map_err(|_| invalid(&format!("a NUL byte in {place}")))
}

fn invalid(what: &str) -> StartError {
    StartError { errno: libc::EINVAL, what: format!("run {what}") }
}

/// An error of the operating system as the server is told it.
pub(crate) fn start_error(what: &str, error: &io::Error) -> StartError {
    StartError { errno: error.raw_os_error().unwrap_or(0), what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Env {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn request<'a>(choices: &'a [Vec<String>], base: &'a Env, over: &'a Env) -> Request<'a> {
        Request { choices, cwd: None, base, env: over, terminal: false }
    }

    #[test]
    fn a_name_without_a_slash_is_looked_up_in_every_folder() {
        assert_eq!(lookup("sh", "/a::/b"), ["/a/sh", "./sh", "/b/sh"]);
        assert_eq!(lookup("./sh", "/a"), ["./sh"]);
    }

    #[test]
    fn variables_of_a_command_replace_those_of_the_sandbox() {
        let variables =
            environment(&env(&[("A", "1"), ("PATH", "/x")]), &env(&[("A", "2")]), "/x").unwrap();
        assert_eq!(variables, [c"PATH=/x".to_owned(), c"A=2".to_owned()]);
    }

    #[test]
    fn what_no_program_could_be_given_is_refused() {
        let none = Env::new();
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let cases = [
            (vec![], env(&[])),
            (vec![texts(&[])], env(&[])),
            (vec![texts(&[""])], env(&[])),
            (vec![texts(&["a\0b"])], env(&[])),
            (vec![texts(&["a", "\0"])], env(&[])),
            (vec![texts(&["a"])], env(&[("", "x")])),
            (vec![texts(&["a"])], env(&[("a=b", "x")])),
            (vec![texts(&["a"])], env(&[("a", "\0")])),
        ];
        for (choices, over) in cases {
            let prepared = Command::prepare(&request(&choices, &none, &over));
            assert_eq!(prepared.err().unwrap().errno, libc::EINVAL, "{choices:?} {over:?}");
        }
    }
}
