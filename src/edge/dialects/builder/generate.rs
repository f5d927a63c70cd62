//! The generator: what makes a project of a prompt. It is not a part of this server: a
//! program, or an HTTP endpoint, gets `{"prompt": "..."}` and answers with a JSON document or
//! an archive.

use std::collections::BTreeMap;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process_group};
use sandtree_model::command_policy::words::words;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use warp::http::header::{CONTENT_TYPE, HOST};
use warp::http::{Request, StatusCode, Uri};

use crate::config::dialects::Builder;
use crate::edge::errors::{Problem, kinds};

/// Largest answer of a generator, in bytes; each generation may hold one in memory.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Most files of a JSON answer.
const FILES_MAX: usize = 10_000;
/// What is kept of a program's complaint, in bytes.
const COMPLAINT_BYTES_MAX: u64 = 64 * 1024;
/// Longest part of it that is passed on, in characters.
const COMPLAINT_CHARS_MAX: usize = 500;
/// Longest name that is made of a prompt, in characters.
const NAME_CHARS_MAX: usize = 40;

/// A project that was generated.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Generated {
    pub(super) name: String,
    pub(super) content: Content,
}

/// What is in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A tar, compressed or not.
    Archive(Vec<u8>),
    /// Texts by their paths.
    Files(BTreeMap<String, String>),
}

/// A JSON answer: files, or an archive in base64.
#[derive(Debug, Deserialize)]
struct Answer {
    project_name: Option<String>,
    #[serde(default)]
    files: BTreeMap<String, String>,
    archive: Option<String>,
}

/// Asks the generator of the configuration.
///
/// # Errors
///
/// 501 when there is none, 502 when it fails, 504 when it takes too long.
pub(super) async fn generated(settings: &Builder, prompt: &str) -> Result<Generated, Problem> {
    if settings.generator.is_empty() {
        let detail = "there is no generator; set dialects.builder.generator";
        return Err(Problem::new(kinds::NOT_IMPLEMENTED, detail));
    }
    let question = serde_json::json!({ "prompt": prompt }).to_string();
    let asked = async {
        match settings.generator.parse::<Uri>() {
            Ok(url) if url.scheme_str() == Some("http") => ask_endpoint(&url, question).await,
            Ok(_) | Err(_) => ask_program(&settings.generator, question).await,
        }
    };
    let answer = tokio::time::timeout(settings.generator_timeout, asked).await;
    let late = || Problem::new(kinds::TIMED_OUT, "the generator did not answer in time");
    understood(answer.map_err(|_| late())??, prompt)
}

fn failed(detail: impl Into<String>) -> Problem {
    Problem::new(kinds::GENERATOR, detail)
}

/// Kills a program with everything that it started, unless that has left its group.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Runs a program. Dropped, it kills it.
async fn ask_program(line: &str, question: String) -> Result<Vec<u8>, Problem> {
    let words =
        words(line).map_err(|error| failed(format!("dialects.builder.generator: {error}")))?;
    let (program, arguments) =
        words.split_first().ok_or_else(|| failed("dialects.builder.generator is empty"))?;
    let mut command = Command::new(program);
    // The server's own settings hold its key, and what a prompt can lead to is unknown.
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"SANDTREE_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).process_group(0).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn();
    let mut child = child.map_err(|error| failed(format!("{program} cannot be run: {error}")))?;
    let _group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let (answer, complaint) = talk(&mut child, &question).await?;
    let status = child.wait().await.map_err(|error| failed(error.to_string()))?;
    if status.success() {
        return Ok(answer);
    }
    let complaint = String::from_utf8_lossy(&complaint);
    let complaint: String = complaint.trim().chars().take(COMPLAINT_CHARS_MAX).collect();
    Err(failed(format!("the generator ended with {status}: {complaint}")))
}

/// Writes the question and reads both streams to their ends, since a program may wait for
/// any of the three.
async fn talk(child: &mut Child, question: &str) -> Result<(Vec<u8>, Vec<u8>), Problem> {
    let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut input), Some(output), Some(mut errors)) = (input, output, errors) else {
        return Err(Problem::internal("a program without its pipes"));
    };
    let broken = |error: std::io::Error| failed(format!("the generator's answer: {error}"));
    let feed = async move {
        // A program that does not read its question may answer all the same.
        let _ = input.write_all(question.as_bytes()).await;
        Ok(())
    };
    let read = async move {
        let mut answer = Vec::new();
        output.take(ANSWER_BYTES_MAX as u64 + 1).read_to_end(&mut answer).await.map_err(broken)?;
        if answer.len() > ANSWER_BYTES_MAX {
            return Err(failed(format!("the generator's answer is over {ANSWER_BYTES_MAX} bytes")));
        }
        Ok(answer)
    };
    let listen = async move {
        let mut complaint = Vec::new();
        (&mut errors)
            .take(COMPLAINT_BYTES_MAX)
            .read_to_end(&mut complaint)
            .await
            .map_err(broken)?;
        tokio::io::copy(&mut errors, &mut tokio::io::sink()).await.map_err(broken)?;
        Ok(complaint)
    };
    let (answer, complaint, ()) = tokio::try_join!(read, listen, feed)?;
    Ok((answer, complaint))
}

/// Posts the question to an endpoint.
async fn ask_endpoint(url: &Uri, question: String) -> Result<Vec<u8>, Problem> {
    let authority = url.authority().ok_or_else(|| failed("the generator's URL has no host"))?;
    let address = (authority.host(), authority.port_u16().unwrap_or(80));
    let unreachable = |error: String| failed(format!("the generator cannot be reached: {error}"));
    let stream =
        TcpStream::connect(address).await.map_err(|error| unreachable(error.to_string()))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| unreachable(error.to_string()))?;
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::post(path)
        .header(HOST, authority.as_str())
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(question)))
        .map_err(|error| failed(error.to_string()))?;
    let exchange = async {
        let response =
            sender.send_request(request).await.map_err(|error| unreachable(error.to_string()))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| failed(format!("the generator's answer: {error}")))?;
        if status != StatusCode::OK {
            return Err(failed(format!("the generator answered {status}")));
        }
        Ok(body.to_bytes().to_vec())
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // It ends when the exchange has what it needs; what is left is in its buffers.
        _ = connection => exchange.await,
    }
}

/// A JSON document, or else an archive.
fn understood(answer: Vec<u8>, prompt: &str) -> Result<Generated, Problem> {
    if answer.first() != Some(&b'{') {
        if answer.is_empty() {
            return Err(failed("the generator answered nothing"));
        }
        return Ok(Generated { name: name_of(prompt), content: Content::Archive(answer) });
    }
    let answer: Answer = serde_json::from_slice(&answer)
        .map_err(|error| failed(format!("the generator's answer is not understood: {error}")))?;
    if answer.files.len() > FILES_MAX {
        return Err(failed(format!("the generator's answer has over {FILES_MAX} files")));
    }
    let name = answer.project_name.unwrap_or_else(|| name_of(prompt));
    let content =
        match answer.archive {
            None => Content::Files(answer.files),
            Some(archive) => Content::Archive(STANDARD.decode(archive).map_err(|error| {
                failed(format!("the generator's archive is not base64: {error}"))
            })?),
        };
    Ok(Generated { name, content })
}

/// The first words of a prompt as a name.
fn name_of(prompt: &str) -> String {
    let words = prompt.split(|c: char| !c.is_ascii_alphanumeric()).filter(|it| !it.is_empty());
    let mut name = String::new();
    for word in words {
        if name.len() + word.len() >= NAME_CHARS_MAX {
            break;
        }
        if !name.is_empty() {
            name.push('-');
        }
        name.push_str(&word.to_ascii_lowercase());
    }
    if name.is_empty() { "project".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_document_or_an_archive() {
        let json = br#"{"project_name": "shop", "files": {"app.py": "print(1)"}}"#.to_vec();
        let files = BTreeMap::from([("app.py".to_owned(), "print(1)".to_owned())]);
        let shop = Generated { name: "shop".into(), content: Content::Files(files) };
        assert_eq!(understood(json, "a shop").unwrap(), shop);
        let archive = understood(b"\x1f\x8b...".to_vec(), "A Todo-App, please!").unwrap();
        assert_eq!(archive.name, "a-todo-app-please");
        assert_eq!(archive.content, Content::Archive(b"\x1f\x8b...".to_vec()));
        for bad in [&b""[..], b"{", br#"{"files": 1}"#, br#"{"archive": "?"}"#] {
            assert_eq!(understood(bad.to_vec(), "x").unwrap_err().kind(), kinds::GENERATOR);
        }
        assert_eq!(name_of("\u{e4}!"), "project");
    }
}
