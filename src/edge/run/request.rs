//! What a client wants to run.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandtree_actors::CreateRequest;
use sandtree_model::durations::Span;
use sandtree_model::project::Texts;
use sandtree_model::{LimitsPatch, Network};
use sandtree_wire::WORKSPACE;
use sandtree_workspace::{ChangedBy, Glob, WorkspacePath};
use serde::Deserialize;

use super::work::{NewFile, Plan, Todo, Wanted};
use crate::config::run::{Language, Run};
use crate::edge::errors::Problem;
use crate::edge::exec::command::Command;
use crate::edge::files;
use crate::edge::object::Object;

/// Most commands of one run.
const COMMANDS_MAX: usize = 100;
/// Most files of one request.
const FILES_MAX: usize = 1000;
/// Most dependencies.
const DEPENDENCIES_MAX: usize = 64;
/// Longest name of a dependency, in bytes.
const DEPENDENCY_BYTES_MAX: usize = 256;
/// Most globs of what is collected, and their longest.
const GLOBS_MAX: usize = 64;
const GLOB_BYTES_MAX: usize = 1024;

/// The body of `POST /v1/run`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    profile: Option<Box<str>>,
    image: Option<Box<str>>,
    #[serde(default)]
    env: Texts,
    #[serde(default)]
    limits: Object<LimitsPatch>,
    network: Option<Network>,
    #[serde(default)]
    files: Vec<Object<File>>,
    /// A tar, or a tar in gzip, in base64.
    archive: Option<String>,
    /// Where commands run; one that is relative is in the workspace, and is made.
    cwd: Option<String>,
    /// Each is run as `/bin/sh -c`; exactly one of this and `code`.
    commands: Option<Vec<String>>,
    code: Option<Object<Code>>,
    /// Time of the whole run.
    timeout: Option<Span>,
    /// Whether a command that fails is the last.
    #[serde(default)]
    fail_fast: bool,
    #[serde(default)]
    collect: Collect,
    /// Whether files below names that begin with a dot are collected.
    #[serde(default)]
    hidden: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    path: String,
    content: Option<String>,
    base64: Option<String>,
    mode: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Code {
    language: Box<str>,
    source: String,
    #[serde(default)]
    dependencies: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "must be \"changed\", \"none\" or a list of globs")]
enum Collect {
    Word(Word),
    Globs(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Changed,
    None,
}

impl Default for Collect {
    fn default() -> Self {
        Self::Word(Word::Changed)
    }
}

/// Checks all of it.
pub(super) fn plan(request: Request, settings: &Run) -> Result<Plan, Problem> {
    let time_max = request.timeout.map_or(settings.timeout, |Span(time)| time);
    if time_max.as_millis() == 0 || time_max > settings.timeout_max {
        let most = Span(settings.timeout_max);
        return Err(Problem::field("timeout", format!("must be from 1ms to {most}")));
    }
    let (cwd, dir) = directory(request.cwd)?;
    let archive = request.archive.map(|text| decoded("archive", &text)).transpose()?;
    let mut new = new_files(request.files)?;
    let mut create = CreateRequest {
        profile: request.profile,
        image: request.image,
        env: request.env,
        limits: request.limits.0,
        network: request.network,
        ..CreateRequest::default()
    };
    let commands = match (request.commands, request.code) {
        (Some(commands), None) => shell_commands(commands)?,
        (None, Some(Object(code))) => {
            let language = language(settings, &code.language)?;
            choose_sandbox(&mut create, language);
            new.push(source(language, code.source, dir.as_ref())?);
            code_commands(language, &code.dependencies)?
        }
        (Some(_), Some(_)) => {
            return Err(Problem::field("code", "cannot be together with commands"));
        }
        (None, None) => return Err(Problem::field("commands", "is missing, and so is code")),
    };
    let wanted = wanted(request.collect, request.hidden, dir.as_ref(), settings)?;
    Ok(Plan {
        create,
        archive,
        files: new,
        make_dir: dir.unwrap_or_default(),
        cwd,
        commands,
        fail_fast: request.fail_fast,
        wanted,
        time_max,
    })
}

/// Where commands run, and that in the workspace, if it is there.
fn directory(cwd: Option<String>) -> Result<(Option<String>, Option<WorkspacePath>), Problem> {
    let Some(cwd) = cwd else {
        return Ok((None, Some(WorkspacePath::root())));
    };
    let checked = Command { command: Some(String::new()), cwd: Some(cwd), ..Command::default() };
    let cwd = checked.check()?.cwd.unwrap_or_default();
    let below = cwd.strip_prefix(WORKSPACE).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let dir = below.map(|rest| files::parse("cwd", rest.trim_start_matches('/'))).transpose()?;
    Ok((Some(cwd), dir))
}

fn decoded(field: &'static str, text: &str) -> Result<Vec<u8>, Problem> {
    STANDARD.decode(text).map_err(|error| Problem::field(field, format!("is not base64: {error}")))
}

fn new_files(files: Vec<Object<File>>) -> Result<Vec<NewFile>, Problem> {
    if files.len() > FILES_MAX {
        return Err(Problem::field("files", format!("has more than {FILES_MAX} files")));
    }
    let numbered = files.into_iter().enumerate();
    let checked = numbered.map(|(number, Object(file))| {
        file.check().map_err(|problem| {
            let field = problem.document()["field"].as_str().unwrap_or("path").to_owned();
            problem.at(format!("files[{number}].{field}"))
        })
    });
    checked.collect()
}

impl File {
    fn check(self) -> Result<NewFile, Problem> {
        let path = files::parse("path", &self.path)?;
        if path.is_root() {
            return Err(Problem::field("path", "is empty"));
        }
        let content = match (self.content, self.base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(text)) => decoded("base64", &text)?,
            (Some(_), Some(_)) => {
                return Err(Problem::field("base64", "cannot be together with content"));
            }
            (None, None) => return Err(Problem::field("content", "is missing, and so is base64")),
        };
        let mode = self.mode.map(|text| files::parse_mode("mode", &text)).transpose()?;
        Ok(NewFile { path, content, mode })
    }
}

fn shell_commands(commands: Vec<String>) -> Result<Vec<Todo>, Problem> {
    if commands.is_empty() || commands.len() > COMMANDS_MAX {
        let problem = format!("must have from 1 to {COMMANDS_MAX} commands");
        return Err(Problem::field("commands", problem));
    }
    let numbered = commands.into_iter().enumerate();
    let checked = numbered.map(|(number, shown)| {
        let command = Command { command: Some(shown.clone()), ..Command::default() };
        let checked =
            command.check().map_err(|problem| problem.at(format!("commands[{number}]")))?;
        Ok(Todo { shown, argv: checked.argv, must_succeed: false })
    });
    checked.collect()
}

fn language<'a>(settings: &'a Run, name: &str) -> Result<&'a Language, Problem> {
    settings.languages.get(name).ok_or_else(|| {
        let known: Vec<_> = settings.languages.keys().map(|name| &**name).collect();
        let problem = format!("is not a language of this server; it knows {}", known.join(", "));
        Problem::field("code.language", problem)
    })
}

/// A language's profile and image, unless the request names its own.
fn choose_sandbox(create: &mut CreateRequest, language: &Language) {
    if create.image.is_none() && create.profile.is_none() && !language.image.is_empty() {
        create.image = Some(language.image.clone());
    }
    create.profile.get_or_insert_with(|| language.profile.clone());
}

/// The file of a source.
pub(in crate::edge) fn source(
    language: &Language,
    text: String,
    dir: Option<&WorkspacePath>,
) -> Result<NewFile, Problem> {
    let Some(dir) = dir else {
        return Err(Problem::field("cwd", format!("must be below {WORKSPACE} for code")));
    };
    let name = files::parse("code.language", &language.file)?;
    let path = dir.join(&name).map_err(|why| Problem::field("cwd", why))?;
    Ok(NewFile { path, content: text.into_bytes(), mode: None })
}

/// What runs a source: first what installs its dependencies, if there are any.
pub(in crate::edge) fn code_commands(
    language: &Language,
    dependencies: &[String],
) -> Result<Vec<Todo>, Problem> {
    let wrong = |problem: String| Err(Problem::field("code.dependencies", problem));
    let is_name = |name: &String| {
        !name.is_empty()
            && name.len() <= DEPENDENCY_BYTES_MAX
            && !name.starts_with('-')
            && !name.contains('\0')
    };
    if dependencies.len() > DEPENDENCIES_MAX {
        return wrong(format!("has more than {DEPENDENCIES_MAX} names"));
    }
    if !dependencies.iter().all(is_name) {
        let most = DEPENDENCY_BYTES_MAX;
        return wrong(format!("has names of 1 to {most} bytes that do not begin with a dash"));
    }
    if !dependencies.is_empty() && language.dependencies.is_empty() {
        return wrong("cannot be installed for this language".to_owned());
    }
    let owned = |words: &[Box<str>]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut todos = Vec::new();
    if !dependencies.is_empty() {
        let argv = [owned(&language.dependencies), dependencies.to_vec()].concat();
        todos.push(Todo { shown: argv.join(" "), argv, must_succeed: true });
    }
    let argv = owned(&language.command);
    todos.push(Todo { shown: argv.join(" "), argv, must_succeed: true });
    Ok(todos)
}

fn wanted(
    collect: Collect,
    hidden: bool,
    dir: Option<&WorkspacePath>,
    settings: &Run,
) -> Result<Option<Wanted>, Problem> {
    let (changed, include) = match collect {
        Collect::Word(Word::None) => return Ok(None),
        Collect::Word(Word::Changed) => (Some(ChangedBy::Anything), Vec::new()),
        Collect::Globs(globs) => (None, check_globs(&globs)?),
    };
    // Only the workspace is within our reach.
    Ok(dir.map(|dir| Wanted {
        dir: dir.clone(),
        changed,
        include,
        hidden,
        bytes_max: settings.files_bytes_max,
    }))
}

fn check_globs(globs: &[String]) -> Result<Vec<Glob>, Problem> {
    let fits = |glob: &String| (1..=GLOB_BYTES_MAX).contains(&glob.len());
    if globs.is_empty() || globs.len() > GLOBS_MAX || !globs.iter().all(fits) {
        let problem =
            format!("must have from 1 to {GLOBS_MAX} globs of 1 to {GLOB_BYTES_MAX} bytes");
        return Err(Problem::field("collect", problem));
    }
    let globs: Vec<_> = globs.iter().map(|glob| Glob::new(glob)).collect();
    Glob::check(&globs).map_err(|why| Problem::field("collect", why))?;
    Ok(globs)
}

#[cfg(test)]
mod tests;
