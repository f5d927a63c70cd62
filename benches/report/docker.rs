//! Docker's own API, spoken as directly as it can be: what everything is compared with.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::upgrade::Upgraded;
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use crate::http::Http;

/// The label of the containers that this bench makes itself.
const LABEL: &str = "sandtree.bench";
/// Where the daemon listens unless the environment says otherwise.
const SOCKET: &str = "/var/run/docker.sock";
/// Bytes before each piece of output without a terminal: which stream, and how long.
const PIECE_HEAD_BYTES: usize = 8;

/// The daemon, and one connection to it that is kept alive.
pub(crate) struct Docker {
    http: Http,
    socket: PathBuf,
}

impl Docker {
    /// Connects to the daemon that the server would use as well.
    pub(crate) async fn connect() -> anyhow::Result<Self> {
        let names = ["SANDTREE_DOCKER__HOST", "DOCKER_HOST"];
        let host = names.into_iter().find_map(|name| std::env::var(name).ok());
        let host = host.unwrap_or_else(|| SOCKET.to_owned());
        let socket = PathBuf::from(host.strip_prefix("unix://").unwrap_or(&host));
        let http = Http::unix(&socket).await;
        let http = http.with_context(|| format!("no Docker daemon at {}", socket.display()))?;
        Ok(Self { http, socket })
    }

    /// What the server is to be told of where the daemon is.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    pub(crate) async fn version(&mut self) -> anyhow::Result<String> {
        let version = self.http.get("/version").await?;
        Ok(version["Version"].as_str().unwrap_or("unknown").to_owned())
    }

    pub(crate) async fn require_image(&mut self, image: &str) -> anyhow::Result<()> {
        let found = self.http.get(&format!("/images/{image}/json")).await;
        found.map(drop).with_context(|| format!("{image} is missing; run `images/build small`"))
    }

    /// Creates a container and answers its id.
    pub(crate) async fn create(&mut self, mut body: Value) -> anyhow::Result<String> {
        body["Labels"] = json!({ LABEL: std::process::id().to_string() });
        let created = self.http.post("/containers/create", &body).await?;
        Ok(created["Id"].as_str().context("a container without an id")?.to_owned())
    }

    pub(crate) async fn start(&mut self, id: &str) -> anyhow::Result<()> {
        self.http.ask(Method::POST, &format!("/containers/{id}/start"), None).await.map(drop)
    }

    pub(crate) async fn inspect(&mut self, id: &str) -> anyhow::Result<Value> {
        self.http.get(&format!("/containers/{id}/json")).await
    }

    /// The process id of a container's first process.
    pub(crate) async fn pid(&mut self, id: &str) -> anyhow::Result<u64> {
        self.inspect(id).await?["State"]["Pid"].as_u64().context("a container without a pid")
    }

    pub(crate) async fn remove(&mut self, id: &str) -> anyhow::Result<()> {
        self.http.delete(&format!("/containers/{id}?force=true&v=true")).await
    }

    /// Removes whatever this process made.
    pub(crate) async fn remove_ours(&mut self) -> anyhow::Result<()> {
        self.remove_labelled(LABEL, &std::process::id().to_string()).await
    }

    /// Removes every container with this label, running or not.
    pub(crate) async fn remove_labelled(&mut self, name: &str, value: &str) -> anyhow::Result<()> {
        let filters = json!({ "label": [format!("{name}={value}")] }).to_string();
        let query = encoded(&filters);
        let listed = self.http.get(&format!("/containers/json?all=true&filters={query}")).await?;
        let ids = listed.as_array().into_iter().flatten().filter_map(|one| one["Id"].as_str());
        for id in ids {
            self.remove(id).await?;
        }
        Ok(())
    }

    /// Runs a command as a client that wants its output and its exit code does (create,
    /// start, read to the end, inspect) and answers the code.
    pub(crate) async fn exec(&mut self, id: &str, argv: &[&str]) -> anyhow::Result<i64> {
        let (exec, _) = self.exec_output(id, argv).await?;
        loop {
            let state = self.http.get(&format!("/exec/{exec}/json")).await?;
            if let Some(exit_code) =
                state["ExitCode"].as_i64().filter(|_| state["Running"] == false)
            {
                return Ok(exit_code);
            }
        }
    }

    /// Runs a command and answers the id of the exec and what it wrote.
    pub(crate) async fn exec_output(
        &mut self,
        id: &str,
        argv: &[&str],
    ) -> anyhow::Result<(String, Vec<u8>)> {
        let body = json!({ "AttachStdout": true, "AttachStderr": true, "Cmd": argv });
        let exec = self.create_exec(id, &body).await?;
        // The daemon closes this connection at the command's end.
        let mut http = Http::unix(&self.socket).await?;
        let path = format!("/exec/{exec}/start");
        let body = json!({ "Detach": false, "Tty": false });
        let response = http.send(Method::POST, &path, Some(&body), &[]).await?;
        if response.status() != StatusCode::OK {
            bail!("an exec did not start: {}", response.status());
        }
        let output = response.into_body().collect().await?.to_bytes();
        Ok((exec, without_heads(output)))
    }

    /// Runs a shell on a terminal and answers the bytes of both sides.
    pub(crate) async fn shell(
        &mut self,
        id: &str,
        argv: &[&str],
    ) -> anyhow::Result<TokioIo<Upgraded>> {
        let body = json!({
            "AttachStdin": true, "AttachStdout": true, "AttachStderr": true, "Tty": true,
            "Cmd": argv, "Env": ["TERM=xterm-256color"],
        });
        let exec = self.create_exec(id, &body).await?;
        let mut http = Http::unix(&self.socket).await?;
        let path = format!("/exec/{exec}/start");
        let body = json!({ "Detach": false, "Tty": true });
        let headers = [("connection", "Upgrade"), ("upgrade", "tcp")];
        let response = http.send(Method::POST, &path, Some(&body), &headers).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            bail!("a shell did not start: {}", response.status());
        }
        Ok(TokioIo::new(hyper::upgrade::on(response).await?))
    }

    async fn create_exec(&mut self, id: &str, body: &Value) -> anyhow::Result<String> {
        let created = self.http.post(&format!("/containers/{id}/exec"), body).await?;
        Ok(created["Id"].as_str().context("an exec without an id")?.to_owned())
    }
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The bytes of all streams, without what says whose they are.
fn without_heads(mut output: Bytes) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    while output.len() >= PIECE_HEAD_BYTES {
        output.advance(PIECE_HEAD_BYTES - 4);
        let count = output.get_u32() as usize;
        bytes.extend_from_slice(&output.split_to(count.min(output.len())));
    }
    bytes.to_vec()
}
