//! One client of one project: it does this and that until the server is gone.

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use sandtree_testkit::{Client, HttpCall, TestServer};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ledger::{At, Ledger, content};

/// Files of a project that are written again and again.
const FILES: u8 = 4;
/// Numbers lines without end.
const COUNTING: &str = "n=0; while :; do echo $n; n=$((n+1)); sleep 0.05; done";
/// A pause of the client between two requests, at most. A pace, and no wait for anything.
const PACE_MS_MAX: u64 = 60;

/// What a worker can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Create { start: bool },
    Operate(&'static str, At),
    Delete,
    Write,
    Exec,
    Process,
    Shell,
}

/// A client at work.
struct Worker {
    client: Client,
    ledger: Ledger,
    rng: StdRng,
    /// How many may move a project at a time: the engine is slow.
    movers: Arc<Semaphore>,
    /// Set when there is enough.
    enough: CancellationToken,
}

/// Puts a client to work for each ledger, of whom so many may move their project at a time.
/// Cancelled, the token ends them; each gives its ledger back.
pub(crate) fn put_to_work(
    server: &TestServer,
    ledgers: impl IntoIterator<Item = Ledger>,
    rng: &mut StdRng,
    movers_max: usize,
) -> (JoinSet<Ledger>, CancellationToken) {
    let (movers, enough) = (Arc::new(Semaphore::new(movers_max)), CancellationToken::new());
    let mut workers = JoinSet::new();
    for ledger in ledgers {
        let worker = Worker {
            client: server.client(),
            ledger,
            rng: StdRng::from_rng(rng),
            movers: Arc::clone(&movers),
            enough: enough.clone(),
        };
        workers.spawn(worker.run());
    }
    (workers, enough)
}

/// What came of an act.
enum Came {
    /// It was done; the document, where there is one.
    Done(Value),
    /// The server is gone.
    Nothing,
    /// It was refused.
    Odd(String),
}

impl Worker {
    /// Works until the server is gone, something is odd, or it is enough.
    async fn run(mut self) -> Ledger {
        while !self.enough.is_cancelled() {
            let Some(at) = self.ledger.known() else { break };
            let act = self.choose(at);
            let mover = act.moves().then(|| Arc::clone(&self.movers).try_acquire_owned());
            let (act, _place) = match mover {
                Some(Ok(place)) => (act, Some(place)),
                // Somebody else moves; this one writes meanwhile, if there is where to.
                Some(Err(_)) if at.is_some() => (Act::Write, None),
                Some(Err(_)) => {
                    tokio::time::sleep(Duration::from_millis(PACE_MS_MAX)).await;
                    continue;
                }
                None => (act, None),
            };
            match self.perform(act, at).await {
                Came::Done(_) => self.ledger.answers += 1,
                Came::Nothing => break,
                Came::Odd(what) => {
                    self.ledger.odd.push(format!("{} {act:?}: {what}", self.ledger.id));
                    break;
                }
            }
            let pause = self.rng.random_range(0..PACE_MS_MAX);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        self.ledger
    }

    fn choose(&mut self, at: At) -> Act {
        use Act::{Create, Delete, Exec, Operate, Process, Shell, Write};
        let stop = Operate("stop", Some("stopped"));
        let restart = Operate("restart", Some("running"));
        let pause = Operate("pause", Some("paused"));
        let choices: &[(Act, u32)] = match at {
            None => &[(Create { start: true }, 3), (Create { start: false }, 1)],
            Some("running") => &[
                (Write, 6),
                (Exec, 4),
                (Process, 3),
                (Shell, 2),
                (stop, 1),
                (restart, 1),
                (pause, 2),
                (Delete, 1),
            ],
            Some("paused") => {
                &[(Operate("resume", Some("running")), 3), (stop, 1), (Write, 2), (Delete, 1)]
            }
            Some(_) => &[(Operate("start", Some("running")), 4), (Write, 2), (Delete, 1)],
        };
        let chosen = choices.choose_weighted(&mut self.rng, |(_, weight)| *weight);
        chosen.expect("weights").0
    }

    async fn perform(&mut self, act: Act, at: At) -> Came {
        let (client, id) = (self.client.clone(), self.ledger.id.clone());
        let project = format!("/v1/projects/{id}");
        let post = |below: &str| client.request(Method::POST, &format!("{project}/{below}"));
        match act {
            Act::Create { start } => {
                let body = json!({ "id": id, "profile": "small", "start": start });
                let call = client.request(Method::POST, "/v1/projects").json(&body);
                self.moving(call, at, Some(if start { "running" } else { "stopped" })).await
            }
            Act::Operate(operation, to) => self.moving(post(operation), at, to).await,
            Act::Delete => self.moving(client.request(Method::DELETE, &project), at, None).await,
            Act::Write => self.write(&client, &project).await,
            Act::Exec => {
                let body = json!({ "command": "echo $((6*7))" });
                match send(post("exec").json(&body)).await {
                    Came::Done(answer) if answer["stdout"] != "42\n" => {
                        Came::Odd(answer.to_string())
                    }
                    came @ (Came::Done(_) | Came::Nothing | Came::Odd(_)) => came,
                }
            }
            Act::Process => {
                let argv = ["sh", "-c", COUNTING];
                let body = json!({ "argv": argv, "restart": "on-failure" });
                self.ledger.forget_pids();
                let path = format!("{project}/process");
                let came = send(client.request(Method::PUT, &path).json(&body)).await;
                self.look_who_runs(&project, came).await
            }
            Act::Shell => {
                self.ledger.forget_pids();
                let path = format!("{project}/terminal?cols=80&rows=24");
                let came = match client.websocket(&path).await {
                    Ok(_) => Came::Done(Value::Null),
                    Err(0) => Came::Nothing,
                    Err(status) => Came::Odd(format!("terminal answered {status}")),
                };
                self.look_who_runs(&project, came).await
            }
        }
    }

    async fn write(&mut self, client: &Client, project: &str) -> Came {
        let file = self.rng.random_range(0..FILES);
        let version = self.ledger.writing(file);
        let path = format!("{project}/files/file-{file}");
        let call = client.request(Method::PUT, &path);
        let came = send(call.body("application/octet-stream", content(file, version))).await;
        if let Came::Done(_) = came {
            self.ledger.written(file, version);
        }
        came
    }

    /// An operation that leads to another phase, if it is done.
    async fn moving(&mut self, call: HttpCall<'_>, from: At, to: At) -> Came {
        self.ledger.forget_pids();
        self.ledger.at.insert(to);
        let came = send(call).await;
        match &came {
            Came::Done(shown) => {
                self.ledger.found(to);
                self.ledger.answered(shown);
            }
            Came::Nothing => {}
            // Whether it has moved nobody knows; a refusal says that it has not.
            Came::Odd(_) => drop(self.ledger.at.insert(from)),
        }
        came
    }

    /// From now on, these have to stay.
    async fn look_who_runs(&mut self, project: &str, came: Came) -> Came {
        if let Came::Done(_) = came {
            match send(self.client.request(Method::GET, project)).await {
                Came::Done(shown) => self.ledger.note_pids(&shown),
                other @ (Came::Nothing | Came::Odd(_)) => return other,
            }
        }
        came
    }
}

impl Act {
    fn moves(self) -> bool {
        matches!(self, Act::Create { .. } | Act::Operate(..) | Act::Delete)
    }
}

async fn send(call: HttpCall<'_>) -> Came {
    match call.try_send().await {
        Err(_) => Came::Nothing,
        Ok(answer) if (200..300).contains(&answer.status) => {
            Came::Done(serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
        }
        Ok(answer) => Came::Odd(format!("{} {}", answer.status, answer.text())),
    }
}
