//! The sections `dialects.*`: what each dialect adds to the core, and how its clients differ.
//! Their defaults are in `config/dialects/`, one file for each.

use std::collections::BTreeMap;
use std::time::Duration;

use sandtree_model::durations::Timeout;

use super::layers::Key;
use super::reader::Reader;
use super::sections::{HOUR, MINUTE, image, origin};

/// `[dialects]`.
#[derive(Debug, Clone, Default)]
pub struct Dialects {
    /// `[dialects.builder]`.
    pub builder: Builder,
    /// `[dialects.bharatbuild]`.
    pub bharatbuild: BharatBuild,
    /// `[dialects.terminal_server]`.
    pub terminal_server: TerminalServer,
    /// `[dialects.daiv]`.
    pub daiv: Daiv,
}

/// What every dialect has.
#[derive(Debug, Clone, Copy, Default)]
pub struct Served {
    /// Whether it is served.
    pub enabled: bool,
    /// Whether a request without a key is let in although the server has one.
    pub anonymous: bool,
}

/// The AI Project Builder.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    /// What every dialect has.
    pub served: Served,
    /// Whether commands are run by REST.
    pub rest_exec: bool,
    /// Whether pip takes no requirement by its name.
    pub strict_pip: bool,
    /// Whether `/ready` answers 200 whatever it says.
    pub ready_is_always_200: bool,
    /// The shell ends so long after the last WebSocket has gone.
    pub leave_grace: Duration,
    /// Most generations in a minute; 0 is no limit.
    pub generations_per_minute: u32,
    /// Most operations on files in a minute; 0 is no limit.
    pub file_operations_per_minute: u32,
    /// Most operations on runtimes in a minute; 0 is no limit.
    pub runtime_operations_per_minute: u32,
    /// A command line or a URL; empty: there is none.
    pub generator: Box<str>,
    /// Longest time of one generation.
    pub generator_timeout: Duration,
    /// Most generations at once; more are answered 429.
    pub generations_max: usize,
}

/// BharatBuild.
#[derive(Debug, Clone, Default)]
pub struct BharatBuild {
    /// What every dialect has.
    pub served: Served,
    /// How commands are checked: `off`, `normal` or `strict`.
    pub validator: Box<str>,
    /// Longest time of a command whose request names none.
    pub command_timeout: Duration,
    /// The shape of a list of files: `object` or `array`.
    pub files_format: Box<str>,
    /// Where clients reach this server; empty: as the request came.
    pub public_url: Box<str>,
    /// The image of each type of project.
    pub images: BTreeMap<Box<str>, Box<str>>,
}

/// The Terminal Server.
#[derive(Debug, Clone, Default)]
pub struct TerminalServer {
    /// What every dialect has.
    pub served: Served,
    /// Most sessions of one user at once.
    pub sessions_per_user_max: u32,
    /// Most sessions that one user makes within an hour; 0 is no limit.
    pub sessions_per_hour_max: u32,
    /// The shell ends so long after the last WebSocket has gone.
    pub leave_grace: Duration,
}

/// daiv-sandbox.
#[derive(Debug, Clone)]
pub struct Daiv {
    /// What every dialect has.
    pub served: Served,
    /// Longest time of one command of a session.
    pub command_timeout: Timeout,
    /// Longest time of a whole request to `/run`.
    pub run_timeout: Duration,
    /// Longest wait for a session that is in use.
    pub busy_wait: Duration,
    /// Names of directories that searches do not look into.
    pub prune_dirs: Vec<Box<str>>,
}

impl Default for Daiv {
    fn default() -> Self {
        Self {
            served: Served::default(),
            command_timeout: Timeout::Never,
            run_timeout: Duration::ZERO,
            busy_wait: Duration::ZERO,
            prune_dirs: Vec::new(),
        }
    }
}

pub(super) fn dialects(r: &mut Reader) -> Dialects {
    Dialects {
        builder: builder(r),
        bharatbuild: bharatbuild(r),
        terminal_server: terminal_server(r),
        daiv: daiv(r),
    }
}

fn served(r: &mut Reader, dialect: &str) -> Served {
    let key = |name| Key::of(["dialects", dialect, name]);
    Served { enabled: r.flag(&key("enabled")), anonymous: r.flag(&key("anonymous")) }
}

fn builder(r: &mut Reader) -> Builder {
    let key = |name| Key::of(["dialects", "builder", name]);
    let rate = 0..=1_000_000;
    Builder {
        served: served(r, "builder"),
        rest_exec: r.flag(&key("rest_exec")),
        strict_pip: r.flag(&key("strict_pip")),
        ready_is_always_200: r.flag(&key("ready_is_always_200")),
        leave_grace: r.span(&key("leave_grace"), 0..=HOUR),
        generations_per_minute: r.small(&key("generations_per_minute"), rate.clone()),
        file_operations_per_minute: r.small(&key("file_operations_per_minute"), rate.clone()),
        runtime_operations_per_minute: r.small(&key("runtime_operations_per_minute"), rate),
        generator: r.text(&key("generator"), "a command line, an http:// URL, or empty", |text| {
            let is_url = text.contains("://");
            let fine = !text.contains('\0') && (!is_url || text.starts_with("http://"));
            fine.then_some(()).ok_or_else(|| "is neither a command nor an http:// URL".to_owned())
        }),
        generator_timeout: r.span(&key("generator_timeout"), 1..=HOUR),
        generations_max: r.count(&key("generations_max"), 1..=1024),
    }
}

fn bharatbuild(r: &mut Reader) -> BharatBuild {
    let key = |name| Key::of(["dialects", "bharatbuild", name]);
    let url = "an origin, such as https://ide.example.com, or empty";
    BharatBuild {
        served: served(r, "bharatbuild"),
        validator: r.one_of(&key("validator"), &["off", "normal", "strict"]),
        command_timeout: r.span(&key("command_timeout"), 1..=24 * HOUR),
        files_format: r.one_of(&key("files_format"), &["object", "array"]),
        public_url: r.text(&key("public_url"), url, |text| {
            if text.is_empty() { Ok(()) } else { origin(text).map(drop) }
        }),
        images: r.texts(&key("images"), "the name of an image", |_, text| image(text)),
    }
}

fn terminal_server(r: &mut Reader) -> TerminalServer {
    let key = |name| Key::of(["dialects", "terminal_server", name]);
    TerminalServer {
        served: served(r, "terminal_server"),
        sessions_per_user_max: r.small(&key("sessions_per_user_max"), 1..=100_000),
        sessions_per_hour_max: r.small(&key("sessions_per_hour_max"), 0..=1_000_000),
        leave_grace: r.span(&key("leave_grace"), 0..=HOUR),
    }
}

fn daiv(r: &mut Reader) -> Daiv {
    let key = |name| Key::of(["dialects", "daiv", name]);
    let names = "a list of names, in which * stands for anything";
    Daiv {
        served: served(r, "daiv"),
        command_timeout: r.timeout(&key("command_timeout")),
        run_timeout: r.span(&key("run_timeout"), 1..=HOUR),
        busy_wait: r.span(&key("busy_wait"), 0..=10 * MINUTE),
        prune_dirs: r.list(&key("prune_dirs"), names, |text| {
            let fine = !text.is_empty() && text.len() <= 255 && !text.contains(['/', '\0']);
            fine.then(|| text.into()).ok_or_else(|| format!("{text:?} is not a name"))
        }),
    }
}
