//! `sandtree cp`: files and folders into a workspace, and out of it.
//!
//! Everything is streamed; nothing is in memory or on the disk twice. Where the copy
//! lands is decided as `cp -r` does.

mod download;
mod place;
mod upload;

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use hyper::Method;
use sandtree_client::{Client, ClientError, query};
use tokio::time::Instant;

use super::failed::Failed;
use super::remote::{self, note, project};
use super::units;
use place::{Place, Remote};

/// `sandtree cp`.
#[derive(Debug, Args)]
#[command(after_help = "\
A path in a project is PROJECT:PATH, relative to its workspace; PROJECT: is all of it.
A path here that has a colon is written ./a:b. A file can come from or go to -, which
is standard input or output.

As with cp -r, a target that is a directory gets the source into it, and SOURCE/. is what
is in a folder, without the folder. Permissions are kept, links stay links, and
what a workspace cannot have (links that lead out of it, devices) is told and left out.
The project need not run.

Examples:
  sandtree cp notes.txt demo:docs/
  sandtree cp my-program/. demo:
  sandtree cp demo:out ./results
  sandtree cp demo:report.pdf - | less")]
pub(super) struct Cp {
    /// What is copied.
    #[arg(value_parser = place())]
    source: Place,
    /// Where it goes.
    #[arg(value_parser = place())]
    target: Place,
    #[command(flatten)]
    remote: remote::Remote,
}

fn place() -> impl TypedValueParser<Value = Place> {
    OsStringValueParser::new().try_map(Place::parse)
}

/// Does it.
pub(super) fn run(cp: Cp) -> Result<(), Failed> {
    remote::run(cp.run())
}

impl Cp {
    async fn run(self) -> Result<(), Failed> {
        let client = self.remote.client()?;
        let started = Instant::now();
        let size = match (self.source, self.target) {
            (Place::Local(from), Place::Remote(to)) => upload(&client, &from, to).await?,
            (Place::Stdio, Place::Remote(to)) => {
                if to.path.is_empty() || to.is_directory {
                    let text = "standard input has no name; name the file: PROJECT:FILE";
                    return Err(Failed::Usage(text.to_owned()));
                }
                upload::stdin(&client, &to).await?
            }
            (Place::Remote(from), Place::Local(to)) => download(&client, &from, &to).await?,
            (Place::Remote(from), Place::Stdio) => download::stdout(&client, &from).await?,
            (Place::Remote(_), Place::Remote(_)) => {
                let text = "one side has to be on this machine: \
                            copy it here first, or within a project with `sandtree exec`";
                return Err(Failed::Usage(text.to_owned()));
            }
            (Place::Local(_) | Place::Stdio, Place::Local(_) | Place::Stdio) => {
                let text = "one side has to be in a project, such as demo:docs";
                return Err(Failed::Usage(text.to_owned()));
            }
        };
        if io::stderr().is_terminal() {
            let took = units::short(started.elapsed());
            note(&format!("{} copied in {took}", units::bytes(size)));
        }
        Ok(())
    }
}

async fn upload(client: &Client, from: &Path, to: Remote) -> Result<u64, Failed> {
    let metadata = std::fs::metadata(from);
    let metadata = metadata.map_err(|error| Failed::here(from.display(), &error))?;
    let is_content = metadata.is_dir() && place::is_content(from);
    let to = if !is_content && (to.is_directory || is_directory(client, &to).await?) {
        to.join(&upload::real_name(from)?)
    } else {
        to
    };
    if metadata.is_dir() {
        upload::folder(client, from, &to).await
    } else if metadata.is_file() {
        upload::file(client, from, &to).await
    } else {
        let text = format!("{} is neither a file nor a folder; pipe it in with -", from.display());
        Err(Failed::Usage(text))
    }
}

async fn download(client: &Client, from: &Remote, to: &Path) -> Result<u64, Failed> {
    let is_folder = is_directory(client, from).await?;
    let is_content = is_folder && from.is_content;
    let target: PathBuf = if !is_content && (to.is_dir() || place::ends_with_slash(to)) {
        to.join(from.name())
    } else {
        to.to_owned()
    };
    if is_folder {
        if target.exists() && !target.is_dir() {
            let error = io::ErrorKind::NotADirectory.into();
            return Err(Failed::here(target.display(), &error));
        }
        download::folder(client, from, &target).await
    } else {
        download::file(client, from, &target).await
    }
}

/// Whether there is a directory at a path of the workspace.
async fn is_directory(client: &Client, at: &Remote) -> Result<bool, Failed> {
    let mut pairs = vec![("limit", "1")];
    if !at.path.is_empty() {
        pairs.push(("path", &at.path));
    }
    let path = project(&at.project, &format!("tree{}", query(&pairs)));
    match client.request(Method::GET, &path).send().await?.accepted() {
        Ok(_) => Ok(true),
        Err(ClientError::Refused(problem))
            if problem.kind == "wrong-kind"
                || (problem.kind == "not-found" && !at.path.is_empty()) =>
        {
            Ok(false)
        }
        Err(error) => Err(Failed::about(at)(error)),
    }
}

/// Names the path in an error that does not yet have one.
fn at<T>(path: &Path, outcome: io::Result<T>) -> io::Result<T> {
    outcome.map_err(|error| match error.raw_os_error() {
        Some(_) if error.kind() != io::ErrorKind::BrokenPipe => {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        }
        Some(_) | None => error,
    })
}
