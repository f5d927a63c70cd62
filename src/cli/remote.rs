//! What all commands share that ask a server.

use std::io::Write as _;

use bytes::Bytes;
use clap::Args;
use hyper::Method;
use sandtree_client::{Client, ClientError, Limits, Response, ServerAddress, segment};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use super::failed::Failed;
use super::table::clean;

/// Which server is asked, and with which key.
#[derive(Debug, Args)]
pub(super) struct Remote {
    /// Where the server is.
    #[arg(
        long,
        help_heading = "Server",
        value_name = "URL",
        env = "SANDTREE_URL",
        default_value = "http://127.0.0.1:8080"
    )]
    server: ServerAddress,
    /// Key of the server; in the environment other users of this machine do not see it.
    #[arg(
        long,
        help_heading = "Server",
        value_name = "KEY",
        env = "SANDTREE_API_KEY",
        hide_env_values = true
    )]
    key: Option<String>,
}

impl Remote {
    /// A client of that server.
    pub(super) fn client(&self) -> Result<Client, Failed> {
        let client = Client::new(self.server.clone(), Limits::default());
        match self.key.as_deref().filter(|key| !key.is_empty()) {
            Some(key) => Ok(client.with_header("x-api-key", key)?),
            None => Ok(client),
        }
    }
}

/// The path of a project, and of what is below it.
pub(super) fn project(id: &str, below: &str) -> String {
    let slash = if below.is_empty() || below.starts_with('?') { "" } else { "/" };
    format!("/v1/projects/{}{slash}{below}", segment(id))
}

/// Asks for something that is answered as a whole.
pub(super) async fn ask(
    client: &Client,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Response, ClientError> {
    let request = client.request(method, path);
    let request = if let Some(body) = body { request.json(body) } else { request };
    request.send().await?.accepted()
}

/// Gets a document.
pub(super) async fn get(client: &Client, path: &str) -> Result<Value, ClientError> {
    ask(client, Method::GET, path, None).await?.json()
}

/// Runs a command to its end. When a signal comes first, the work is dropped, so that
/// it can clean up, and the exit code is the usual one for that signal.
pub(super) fn run<T>(work: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    block_on(async {
        tokio::select! {
            // Before the work begins, so that no signal finds nobody who hears it.
            biased;
            failed = interrupted() => Err(failed),
            outcome = work => outcome,
        }
    })
}

/// As [`run`], for work that sees to signals itself.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failed::here("no threads can be had", &error))?;
    let outcome = runtime.block_on(work);
    // A thread may still wait for a key or for standard input.
    runtime.shutdown_background();
    outcome
}

/// Waits for a signal that ends the program.
pub(super) async fn interrupted() -> Failed {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let [mut interrupt, mut terminate, mut hangup] = kinds.map(signal).map(Result::ok);
    let number = tokio::select! {
        () = next(&mut interrupt) => 2,
        () = next(&mut terminate) => 15,
        () = next(&mut hangup) => 1,
    };
    Failed::Said(128 + number)
}

/// The next signal; never, when signals cannot be followed.
async fn next(signal: &mut Option<tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => {
            let _ = signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Writes to standard output. Whoever reads it may take their time, and a signal is
/// heard meanwhile.
pub(super) async fn say(text: impl Into<Bytes>) -> Result<(), Failed> {
    let text = text.into();
    if text.is_empty() {
        return Ok(());
    }
    beside(move || say_now(&text)).await
}

/// Writes a line to standard output.
pub(super) async fn say_line(text: &str) -> Result<(), Failed> {
    say(format!("{text}\n")).await
}

/// Writes to standard output, and waits for it here.
pub(super) fn say_now(text: impl AsRef<[u8]>) -> Result<(), Failed> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_ref()).and_then(|()| out.flush());
    written.map_err(|error| Failed::output("standard output", &error))
}

/// Writes what a command in a sandbox wrote to its standard error, to ours.
pub(super) async fn pass_on_stderr(bytes: Vec<u8>) -> Result<(), Failed> {
    let written = move || std::io::stderr().lock().write_all(&bytes);
    beside(move || written().map_err(|error| Failed::output("standard error", &error))).await
}

/// Does what may block, beside the work.
async fn beside(work: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Result<(), Failed> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Failed::Other(error.into()))?
}

/// Writes a note to standard error.
pub(super) fn note(text: &str) {
    // There is nowhere else to say it.
    let _ = writeln!(std::io::stderr(), "sandtree: {}", clean(text));
}
