//! Carrying out a one-shot run.

use std::io::Cursor;
use std::time::Duration;

use sandtree_actors::{CreateRequest, Files, Sandbox};
use sandtree_model::durations::Timeout;
use sandtree_model::{Fault, Principal};
use sandtree_wire::ExecSpec;
use sandtree_workspace::{
    ArchiveError, ArchiveFormat, ArchiveSummary, ChangedBy, ChangedOptions, Existing,
    ExtractOptions, Glob, Limits, Manner, Mark, Parents, Precondition, SearchError, Workspace,
    WorkspaceError, WorkspacePath,
};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::edge::archive;
use crate::edge::context::Context;
use crate::edge::errors::Problem;
use crate::edge::exec::{self, Collected, Document};
use crate::edge::files::{self, blocking, write_problem};
use crate::edge::reply::SseEvent;

/// Most bytes of all output of a run in one document.
const OUTPUT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What an archive of a run may hold.
const ARCHIVE_LIMITS: Limits = Limits { bytes_max: 2 * 1024 * 1024 * 1024, entries_max: 200_000 };
/// How many times larger a tar may be than its gzip.
const RATIO_MAX: u32 = 200;
/// Most files that come back.
const FILES_MAX: usize = 10_000;
/// How much longer than its run a sandbox may live.
const LIFETIME_GRACE: Duration = Duration::from_secs(300);

/// A run that was checked.
#[derive(Debug)]
pub struct Plan {
    /// What its sandbox is to be.
    pub create: CreateRequest,
    /// A tar, or a tar in gzip, that is unpacked into the workspace first.
    pub archive: Option<Vec<u8>>,
    /// Files that are written after that.
    pub files: Vec<NewFile>,
    /// A directory of the workspace that is made if it is missing.
    pub make_dir: WorkspacePath,
    /// Where commands run: an absolute path in the sandbox; absent: the workspace.
    pub cwd: Option<String>,
    /// What runs, one after the other.
    pub commands: Vec<Todo>,
    /// Whether a command that fails is the last.
    pub fail_fast: bool,
    /// What comes back; absent: nothing.
    pub wanted: Option<Wanted>,
    /// Time of the whole run.
    pub time_max: Duration,
}

/// A file to write.
#[derive(Debug, PartialEq, Eq)]
pub struct NewFile {
    /// Where.
    pub path: WorkspacePath,
    /// Its bytes.
    pub content: Vec<u8>,
    /// Its permission bits; absent: 0644.
    pub mode: Option<u32>,
}

/// A command to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Todo {
    /// As it is told to the client.
    pub shown: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Whether what follows makes no sense if it fails.
    pub must_succeed: bool,
}

/// Which files come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The directory that they are in, and that their paths begin from.
    pub dir: WorkspacePath,
    /// Only what the last command has changed, by this time.
    pub changed: Option<ChangedBy>,
    /// Only what matches one of these; empty: everything.
    pub include: Vec<Glob>,
    /// Whether names that begin with a dot are met.
    pub hidden: bool,
    /// Most bytes of content.
    pub bytes_max: u64,
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// One for each command that was begun. Where events were told, they are not kept.
    pub results: Vec<Ran>,
    /// The files that were wanted, if there are any.
    pub files: Option<Packed>,
    /// What became of the archive, if there was one.
    pub unpacked: Option<ArchiveSummary>,
    /// The time of the run was over before its last command had ended.
    pub timed_out: bool,
}

/// A command that has run.
#[derive(Debug)]
pub struct Ran {
    /// As the plan shows it.
    pub shown: String,
    /// What it wrote and how it ended.
    pub collected: Collected,
    /// How long it took.
    pub took: Duration,
}

/// Files that come back.
#[derive(Debug, PartialEq, Eq)]
pub struct Packed {
    /// A tar in gzip.
    pub archive: Vec<u8>,
    /// The paths of what is in it.
    pub paths: Vec<String>,
    /// Some are left out, because a limit was passed.
    pub truncated: bool,
}

#[derive(Serialize)]
struct Shown {
    command: String,
    #[serde(flatten)]
    document: Document,
}

impl Ran {
    /// As JSON.
    pub(super) fn document(self) -> Value {
        let document = self.collected.text_document(self.took);
        serde_json::to_value(Shown { command: self.shown, document }).unwrap_or(Value::Null)
    }
}

/// Carries a plan out. With `events` the commands tell what they say as they say it, and
/// the outcome has no results.
///
/// # Errors
///
/// What stands in the way of the run, such as an image that cannot be had or an archive
/// that is none; 504 when its time is over before the first command.
///
/// # Cancel safety
///
/// Dropped, the run ends: its commands are killed and its project is deleted.
pub async fn carry_out(
    context: &Context,
    by: &Principal,
    mut plan: Plan,
    events: Option<mpsc::Sender<SseEvent>>,
) -> Result<Outcome, Problem> {
    let (limit, deadline) = (plan.time_max, Instant::now() + plan.time_max);
    plan.create.max_lifetime = Some(Timeout::After(limit + LIFETIME_GRACE));
    let create = std::mem::take(&mut plan.create);
    let tree = &context.tree;
    // Held until the end of this function, whichever that is.
    let (once, _) = in_time(deadline, limit, async { Ok(tree.once(by, create).await?) }).await?;
    let files = tree.files(once.key()).await?;
    let unpacked = in_time(deadline, limit, unload(&files, &mut plan)).await?;
    let sandbox = tree.sandbox(once.key()).await?;
    let mut work = Work {
        sandbox,
        files,
        deadline,
        results: Vec::new(),
        output_left: OUTPUT_BYTES_MAX,
        events,
    };
    let (mark, timed_out) = work.commands(&plan).await?;
    let packed = match plan.wanted {
        Some(wanted) => collect(&work.files, wanted, mark).await?,
        None => None,
    };
    Ok(Outcome { results: work.results, files: packed, unpacked, timed_out })
}

async fn in_time<T>(
    deadline: Instant,
    limit: Duration,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let late = || Fault::TimedOut { what: "the run".into(), limit };
    tokio::time::timeout_at(deadline, work).await.map_err(|_| Problem::from(late()))?
}

/// Puts what the request brings into the workspace. Nothing of it has to survive a power
/// cut, so nothing is synced.
async fn unload(files: &Files, plan: &mut Plan) -> Result<Option<ArchiveSummary>, Problem> {
    let (archive, new) = (plan.archive.take(), std::mem::take(&mut plan.files));
    let dir = plan.make_dir.clone();
    if archive.is_none() && new.is_empty() && dir.is_root() {
        return Ok(None);
    }
    let written = files.write(move |workspace| {
        let workspace = workspace.batched();
        (Ok(put(&workspace, archive, new, &dir)), Vec::new())
    });
    let unpacked = written.await.map_err(write_problem)?;
    unpacked.map_err(|error| archive::problem(&error))
}

fn put(
    workspace: &Workspace,
    archive: Option<Vec<u8>>,
    files: Vec<NewFile>,
    dir: &WorkspacePath,
) -> Result<Option<ArchiveSummary>, ArchiveError> {
    let unpack = |bytes| {
        let options = ExtractOptions {
            format: None,
            limits: ARCHIVE_LIMITS,
            ratio_max: RATIO_MAX,
            existing: Existing::Replace,
            manner: Manner::AsIs,
        };
        workspace.archive_in(Cursor::new(bytes), &WorkspacePath::root(), &options)
    };
    let unpacked = archive.map(unpack).transpose()?;
    for file in files {
        let mut staged = workspace.stage(u64::MAX)?;
        std::io::Write::write_all(&mut staged, &file.content).map_err(WorkspaceError::from)?;
        let staged = match file.mode {
            Some(mode) => staged.with_mode(mode),
            None => staged,
        };
        workspace.commit(staged, &file.path, &Precondition::None, Parents::Create)?;
    }
    if !dir.is_root() {
        workspace.mkdir(dir, Parents::Create)?;
    }
    Ok(unpacked)
}

/// A run whose sandbox is there.
struct Work {
    sandbox: Sandbox,
    files: Files,
    deadline: Instant,
    results: Vec<Ran>,
    output_left: usize,
    events: Option<mpsc::Sender<SseEvent>>,
}

/// How a command ended, as far as what follows depends on it.
struct Ended {
    failed: bool,
    timed_out: bool,
}

impl Work {
    /// Runs the commands; answers the moment before the last that was begun, and whether
    /// the time was over.
    async fn commands(&mut self, plan: &Plan) -> Result<(Option<Mark>, bool), Problem> {
        let needs_mark = plan.wanted.as_ref().is_some_and(|wanted| wanted.changed.is_some());
        let mut mark = None;
        for (index, todo) in plan.commands.iter().enumerate() {
            if needs_mark {
                mark = Some(blocking(&self.files, Workspace::mark).await?);
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.as_millis() == 0 {
                return Ok((mark, true));
            }
            let spec = ExecSpec {
                argv: todo.argv.clone(),
                cwd: plan.cwd.clone(),
                timeout_ms: u64::try_from(left.as_millis()).ok(),
                ..ExecSpec::default()
            };
            let ended = match self.events.clone() {
                Some(events) => self.told(spec, index, todo, events).await?,
                None => self.collected(spec, todo).await?,
            };
            if ended.timed_out {
                return Ok((mark, true));
            }
            if ended.failed && (plan.fail_fast || todo.must_succeed) {
                break;
            }
        }
        Ok((mark, false))
    }

    async fn collected(&mut self, spec: ExecSpec, todo: &Todo) -> Result<Ended, Problem> {
        let begun = Instant::now();
        // Two streams share what is left.
        let bytes_max = exec::OUTPUT_BYTES_MAX.min(self.output_left / 2);
        let collected = exec::run_to_end(&self.sandbox, spec, Vec::new(), bytes_max).await?;
        self.output_left = self.output_left.saturating_sub(collected.bytes());
        let ended = Ended { failed: collected.exit_code() != 0, timed_out: collected.timed_out() };
        self.results.push(Ran { shown: todo.shown.clone(), collected, took: begun.elapsed() });
        Ok(ended)
    }

    async fn told(
        &self,
        spec: ExecSpec,
        index: usize,
        todo: &Todo,
        events: mpsc::Sender<SseEvent>,
    ) -> Result<Ended, Problem> {
        let begins = serde_json::json!({ "index": index, "command": todo.shown });
        // Who is gone drops this future as well.
        let _ = events.send(SseEvent::json("command", &begins)).await;
        let (exit_code, timed_out) = exec::tell_to_end(&self.sandbox, spec, &events).await?;
        Ok(Ended { failed: exit_code != 0, timed_out })
    }
}

/// Packs what is wanted; nothing if there is nothing.
async fn collect(
    files: &Files,
    wanted: Wanted,
    mark: Option<Mark>,
) -> Result<Option<Packed>, Problem> {
    if wanted.changed.is_some() && mark.is_none() {
        // No command was begun.
        return Ok(None);
    }
    let workspace = std::sync::Arc::clone(files.workspace());
    let packing = files::off_thread(move || pack(&workspace, &wanted, mark));
    packing.await?.map_err(|error| archive::problem(&error))
}

fn pack(
    workspace: &Workspace,
    wanted: &Wanted,
    mark: Option<Mark>,
) -> Result<Option<Packed>, ArchiveError> {
    let limits = Limits { bytes_max: wanted.bytes_max, entries_max: FILES_MAX };
    let options = ChangedOptions {
        since: wanted.changed.and(mark),
        by: wanted.changed.unwrap_or(ChangedBy::Anything),
        hidden: wanted.hidden,
        include: wanted.include.clone(),
        limits,
    };
    let changed = match workspace.changed_since(&wanted.dir, &options) {
        Ok(changed) => changed,
        // Globs were compiled once when the plan was checked.
        Err(SearchError::Pattern(_) | SearchError::Glob { .. }) => return Ok(None),
        // The commands removed the directory, or put a link there.
        Err(SearchError::Workspace(
            WorkspaceError::NotFound | WorkspaceError::NotADirectory | WorkspaceError::Escapes,
        )) => return Ok(None),
        Err(SearchError::Workspace(error)) => return Err(error.into()),
    };
    if changed.files.is_empty() && !changed.truncated {
        return Ok(None);
    }
    let mut archive = Vec::new();
    let format = ArchiveFormat::TarGz;
    workspace.archive_files_out(&wanted.dir, &changed.files, format, &mut archive, &limits)?;
    let paths = changed.files.iter().map(ToString::to_string).collect();
    Ok(Some(Packed { archive, paths, truncated: changed.truncated }))
}
