//! `sandtree project`: list, create, start, stop and remove projects.

mod create;

use clap::{Args, Subcommand};
use hyper::Method;
use sandtree_client::{Client, ClientError, query};
use serde_json::{Value, json};

use super::failed::Failed;
use super::paint::Paint;
use super::progress::waiting;
use super::remote::{self, Remote, ask, get, project, say, say_line};
use super::table::{Cell, Table};
use super::units;
use create::Create;

/// Projects of one page of the list.
const PAGE: &str = "500";

/// What is done with projects.
#[derive(Debug, Subcommand)]
pub(super) enum ProjectCommand {
    /// List projects, in the order of their ids.
    #[command(visible_alias = "list")]
    Ls(List),
    /// Make a project and print its id.
    Create(Create),
    /// Make projects run; those that run already go on.
    Start(Operate),
    /// Stop projects; their files and containers stay.
    Stop(Operate),
    /// Stop projects and make them run again.
    Restart(Operate),
    /// Freeze projects as they are.
    Pause(Operate),
    /// Make paused projects go on.
    Resume(Operate),
    /// Remove projects with their files.
    #[command(visible_alias = "remove")]
    Rm(Remove),
}

/// `sandtree project ls`.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Only projects in this phase, such as running.
    #[arg(long)]
    phase: Option<String>,
    /// Only projects with this label.
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = units::parse_pair)]
    label: Option<(String, String)>,
    /// Print ids alone.
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
    /// Print one JSON document for each project, one a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

/// `sandtree project start`, `stop` and the like.
#[derive(Debug, Args)]
pub(super) struct Operate {
    /// Projects.
    #[arg(required = true, value_name = "PROJECT")]
    projects: Vec<String>,
    /// Do not wait until it is done.
    #[arg(long)]
    no_wait: bool,
    /// Print each project as JSON, one a line, instead of its id.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

/// `sandtree project rm`.
#[derive(Debug, Args)]
pub(super) struct Remove {
    /// Projects.
    #[arg(required = true, value_name = "PROJECT")]
    projects: Vec<String>,
    /// Leave the files on the server's disk.
    #[arg(long)]
    keep_files: bool,
    /// Do not wait until it is done.
    #[arg(long)]
    no_wait: bool,
    /// Print each project's id and phase as JSON, one a line, instead of its id.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Does it.
pub(super) fn run(command: ProjectCommand) -> Result<(), Failed> {
    match command {
        ProjectCommand::Ls(list) => remote::run(list.run()),
        ProjectCommand::Create(create) => remote::run(create.run()),
        ProjectCommand::Start(operate) => remote::run(operate.run("start", "starting")),
        ProjectCommand::Stop(operate) => remote::run(operate.run("stop", "stopping")),
        ProjectCommand::Restart(operate) => remote::run(operate.run("restart", "restarting")),
        ProjectCommand::Pause(operate) => remote::run(operate.run("pause", "pausing")),
        ProjectCommand::Resume(operate) => remote::run(operate.run("resume", "resuming")),
        ProjectCommand::Rm(remove) => remote::run(remove.run()),
    }
}

impl List {
    async fn run(self) -> Result<(), Failed> {
        let client = self.remote.client()?;
        let label = self.label.as_ref().map(|(name, value)| format!("{name}:{value}"));
        let mut table = Table::new(&["ID", "PHASE", "PROCESS", "PROFILE", "IMAGE", "CHANGED"]);
        let paint = Paint::on(&std::io::stdout());
        let mut cursor: Option<String> = None;
        loop {
            let mut pairs = vec![("limit", PAGE)];
            pairs.extend(self.phase.as_deref().map(|phase| ("phase", phase)));
            pairs.extend(label.as_deref().map(|label| ("label", label)));
            pairs.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page = get(&client, &format!("/v1/projects{}", query(&pairs))).await?;
            let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
            let mut text = String::new();
            for item in items {
                match (self.json, self.quiet) {
                    (true, _) => text += &format!("{item}\n"),
                    (false, true) => text += &format!("{}\n", word(&item["id"])),
                    (false, false) => table.row(row(item, paint)),
                }
            }
            say(text).await?;
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        if self.json || self.quiet { Ok(()) } else { say(table.text(paint)).await }
    }
}

fn row(item: &Value, paint: Paint) -> Vec<Cell> {
    let process = item["process"]["state"].as_str().unwrap_or("-");
    vec![
        Cell::plain(word(&item["id"])),
        Cell::painted(word(&item["phase"]), |phase| paint.phase(phase)),
        Cell::painted(process, |state| paint.phase(state)),
        Cell::plain(word(&item["profile"])),
        Cell::plain(word(&item["image"])),
        Cell::plain(units::ago(word(&item["updated_at"]))),
    ]
}

/// A text of a document; a dash where there is none.
fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

impl Operate {
    async fn run(self, operation: &str, doing: &str) -> Result<(), Failed> {
        let client = self.remote.client()?;
        each(&self.projects, async |id| {
            let request = client.request(Method::POST, &project(id, operation));
            let request =
                if self.no_wait { request.header("prefer", "respond-async") } else { request };
            let answer = waiting(&format!("{doing} {id}"), request.send()).await?.accepted()?;
            let shown = answer.json()?;
            if self.json { say_line(&shown.to_string()).await } else { say_line(id).await }
        })
        .await
    }
}

impl Remove {
    async fn run(self) -> Result<(), Failed> {
        let client = self.remote.client()?;
        each(&self.projects, async |id| {
            waiting(&format!("removing {id}"), self.remove(&client, id)).await?;
            let phase = if self.no_wait { "deleting" } else { "deleted" };
            let shown = json!({ "id": id, "phase": phase });
            if self.json { say_line(&shown.to_string()).await } else { say_line(id).await }
        })
        .await
    }

    async fn remove(&self, client: &Client, id: &str) -> Result<(), ClientError> {
        let below = if self.keep_files { "?keep_files=true" } else { "" };
        let path = project(id, below);
        if self.no_wait {
            let request = client.request(Method::DELETE, &path).header("prefer", "respond-async");
            request.send().await?.accepted()?;
        } else {
            ask(client, Method::DELETE, &path, None).await?;
        }
        Ok(())
    }
}

/// Does something with each project, also when it fails with one of them; the exit
/// code is the last failure's.
async fn each(
    ids: &[String],
    mut work: impl AsyncFnMut(&str) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let mut outcome = Ok(());
    for id in ids {
        match work(id).await {
            Ok(()) => {}
            Err(failed) if ids.len() == 1 => return Err(failed),
            Err(failed) => {
                failed.tell();
                outcome = Err(Failed::Said(failed.exit_code()));
            }
        }
    }
    outcome
}
