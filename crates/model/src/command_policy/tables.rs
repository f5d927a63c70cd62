//! What the [validator](super::validator) knows, as tables.

/// Texts that no command may hold, in any case, and the names they are told by. A text
/// that holds another comes before it, so that the closest name is told.
pub const BLOCKED: [&str; 23] = [
    "rm -rf /*",
    "rm -rf /",
    "rm -rf ~",
    "mkfs",
    "dd if=",
    FORK_BOMB,
    "sudo",
    "su ",
    "chmod 777",
    "chown root",
    "cat /etc/passwd",
    "cat /etc/shadow",
    "/proc/",
    "/sys/",
    "docker",
    "kubectl",
    "umount",
    "mount",
    "chroot",
    "nc -l",
    "nmap",
    "tcpdump",
    "wireshark",
];

/// A function that calls itself twice, for ever; also found with spaces in it.
pub const FORK_BOMB: &str = ":(){:|:&};:";

/// Shapes that no command may have, in any case: a name, and a regular expression in which
/// a dot is any character.
pub const DANGEROUS: [(&str, &str); 15] = [
    ("rm of / or ~", r#"\brm\s+(?:-\S+\s+)*["']?[/~]"#),
    ("a redirection to a disk", r">\s*/dev/sd[a-z]"),
    ("a redirection into /etc", r">\s*/etc/"),
    ("curl into a shell", r"curl.*\|\s*(?:ba)?sh"),
    ("wget into a shell", r"wget.*\|\s*(?:ba)?sh"),
    ("eval(", r"eval\s*\("),
    ("decoded base64 into a pipe", r"base64\s+(?:-d|--decode).*\|"),
    ("command substitution by $(...)", r"\$\(.*\)"),
    ("command substitution by backticks", r"`.*`"),
    ("rm after ;", r";\s*rm\s"),
    ("rm after &&", r"&&\s*rm\s"),
    ("rm after ||", r"\|\|\s*rm\s"),
    ("exec in python -c", r"python.*-c.*exec"),
    ("require in node -e", r"node.*-e.*require\s*\("),
    ("env that sets variables for a command", r"(?:^|[\s;&|(])env\s.*=.*\s"),
];

/// Texts of paths that lead out of the workspace, in lower case.
pub const OUTSIDE: [&str; 10] =
    ["../", "..%2f", "..\\", "/etc/", "/var/", "/usr/", "/root/", "/proc/", "/sys/", "/dev/"];

/// The one home directory that a path may lead into.
pub const HOME: &str = "/home/workspace";

/// What makes a command more than safe: words of it.
pub const MODERATE: [&str; 8] = ["curl", "wget", "nc", "ssh", "scp", "rsync", "rm", "install"];

/// What may follow an allowed command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arguments {
    /// Whatever there is.
    Any,
    /// Nothing.
    None,
    /// One of these first, then whatever there is; or nothing.
    First(&'static [&'static str]),
}

/// The commands that strict mode allows.
#[rustfmt::skip]
pub const ALLOWED: &[(&[&str], Arguments)] = {
    use Arguments::{Any, First, None};
    &[
        (&["npx", "node", "tsc", "vite"],                  Any),
        (&["npm"],             First(&["install", "run", "start", "build", "test", "init", "ci"])),
        (&["yarn", "pnpm"],    First(&["install", "add", "remove", "build", "start", "test"])),
        (&["next"],            First(&["dev", "build", "start"])),

        (&["python", "python3", "pytest"],                 Any),
        (&["uvicorn", "gunicorn", "django-admin"],         Any),
        (&["pip", "pip3"],     First(&["install", "uninstall", "list", "freeze"])),
        (&["flask"],           First(&["run"])),

        (&["java", "javac"],                               Any),
        (&["mvn"],             First(&["clean", "install", "package", "test", "compile", "spring-boot:run"])),
        (&["gradle"],          First(&["build", "run", "test", "clean", "bootRun"])),
        (&["go"],              First(&["run", "build", "test", "mod", "get"])),
        (&["rustc"],                                       Any),
        (&["cargo"],           First(&["run", "build", "test", "new", "init"])),

        (&["cat", "ls", "echo", "mkdir", "cp", "mv"],      Any),
        (&["touch", "head", "tail", "grep", "find"],       Any),
        (&["curl", "wget"],                                Any),
        (&["pwd", "clear", "exit"],                        None),
        (&["git"],             First(&["clone", "init", "add", "commit", "status", "diff", "log", "pull", "push"])),
    ]
};
