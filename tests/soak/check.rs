//! What has to hold after a restart, whatever the server was doing when it died.

use sandtree_testkit::{Client, TestServer};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use tokio::time::{Duration, Instant};

use crate::ledger::Ledger;
use crate::verdict::{
    Past, broken_lines, may_be, phase_of, version_of, wrong_containers, wrong_log,
};

/// All that was under way is done by then.
const REST_WITHIN: Duration = Duration::from_secs(90);
/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Lines at a log's end that are looked at: more than a process writes between two kills.
const LINES: usize = 3000;

/// Looks at everything; what was lost.
pub(crate) async fn losses(server: &TestServer, ledgers: &mut [Ledger]) -> Vec<String> {
    let client = server.client();
    let mut losses = Vec::new();
    for ledger in ledgers.iter_mut() {
        losses.append(&mut ledger.odd);
        match comes_to_rest(&client, ledger).await {
            Ok(shown) => {
                ledger.found(phase_of(&shown));
                if !shown.is_null() {
                    losses.extend(ledger.lost_move(&shown));
                    losses.extend(wrong_pids(&client, ledger).await);
                    losses.extend(lost_files(&client, ledger).await);
                    losses.extend(lost_lines(&client, &ledger.id).await);
                }
            }
            Err(wrong) => {
                losses.push(wrong);
                // Told once; the next round begins anew.
                client.delete(&format!("/v1/projects/{}", ledger.id)).await;
                ledger.found(None);
            }
        }
    }
    losses.extend(containers(server).await);
    losses.extend(transitions(server).await);
    losses
}

/// Waits until the project is where it may be; its document, null when it is gone.
async fn comes_to_rest(client: &Client, ledger: &Ledger) -> Result<Value, String> {
    let (path, ends) = (format!("/v1/projects/{}", ledger.id), Instant::now() + REST_WITHIN);
    loop {
        let answer = client.get(&path).await;
        let shown = if answer.status == 404 { Value::Null } else { answer.json() };
        if may_be(ledger, &shown) && is_usable(client, &shown).await {
            return Ok(shown);
        }
        if Instant::now() >= ends {
            return Err(format!("{} may be {:?} and is {shown}", ledger.id, ledger.at));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// One that runs takes commands, which proves that it is linked.
async fn is_usable(client: &Client, shown: &Value) -> bool {
    if shown["phase"] != "running" {
        return true;
    }
    let path = format!("/v1/projects/{}/exec", shown["id"].as_str().unwrap_or_default());
    let body = serde_json::json!({ "argv": ["true"] });
    client.post(&path, &body).await.status == 200
}

/// The same process and the same shell. They are found a moment after the sandbox.
async fn wrong_pids(client: &Client, ledger: &Ledger) -> Option<String> {
    let (path, ends) = (format!("/v1/projects/{}", ledger.id), Instant::now() + REST_WITHIN / 4);
    loop {
        let wrong = ledger.wrong_pids(&client.get(&path).await.json());
        if wrong.is_none() || Instant::now() >= ends {
            return wrong;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn lost_files(client: &Client, ledger: &mut Ledger) -> Vec<String> {
    let mut lost = Vec::new();
    let files: Vec<_> = ledger.files().map(|(file, all)| (file, all.clone())).collect();
    for (file, versions) in files {
        let path = format!("/v1/projects/{}/files/file-{file}", ledger.id);
        let answer = client.get(&path).await;
        match version_of(file, &versions, answer.status, &answer.text()) {
            Some(version) => ledger.found_file(file, version),
            None => {
                let has: String = answer.text().chars().take(40).collect();
                lost.push(format!("{path} is none of {versions:?}: {} {has:?}", answer.status));
            }
        }
    }
    lost
}

/// What the log of its process has lost or doubled.
async fn lost_lines(client: &Client, id: &str) -> Vec<String> {
    let path = format!("/v1/projects/{id}/process/logs?stream=stdout&tail={LINES}");
    let call = client.request(hyper::Method::GET, &path).header("accept", "text/plain");
    let answer = call.send().await;
    if answer.status != 200 {
        return vec![format!("{path}: {} {}", answer.status, answer.text())];
    }
    broken_lines(id, &answer.text(), LINES).into_iter().collect()
}

/// Containers that should not be, or are missing, once nothing moves any more.
async fn containers(server: &TestServer) -> Vec<String> {
    let ends = Instant::now() + REST_WITHIN;
    loop {
        let mut rows = open(server).await;
        let alive = "SELECT sandbox, phase FROM projects WHERE phase <> 'deleted'";
        let alive = sqlx::query(alive).fetch_all(&mut rows).await.expect("the rows");
        let phases = alive.iter().map(|row| (row.get("sandbox"), row.get("phase"))).collect();
        let wrong = wrong_containers(phases, &server.containers());
        if wrong.is_empty() || Instant::now() >= ends {
            return wrong;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What is wrong with the transitions of all projects.
async fn transitions(server: &TestServer) -> Vec<String> {
    let mut rows = open(server).await;
    let all = "SELECT p.uid, p.generation AS last, p.phase, t.generation, t.from_phase, t.to_phase, \
               t.move FROM projects p LEFT JOIN transitions t ON t.uid = p.uid \
               ORDER BY p.uid, t.generation";
    let all = sqlx::query(all).fetch_all(&mut rows).await.expect("the transitions");
    let past = |row: &SqliteRow| Past {
        uid: row.get("uid"),
        phase: row.get("phase"),
        last: row.get("last"),
        generation: row.get("generation"),
        from: row.get("from_phase"),
        to: row.get("to_phase"),
        by: row.get("move"),
    };
    wrong_log(&all.iter().map(past).collect::<Vec<_>>())
}

async fn open(server: &TestServer) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(server.data_dir().join("sandtree.db"))
        .read_only(true)
        .disable_statement_logging();
    SqliteConnection::connect_with(&options).await.expect("the server's database")
}

/// Where a project is once it has come to rest, wherever that is. One that failed is
/// deleted: its next life is another one.
pub(crate) async fn settle(client: &Client, ledger: &mut Ledger) {
    ledger.forget_pids();
    let path = format!("/v1/projects/{}", ledger.id);
    sandtree_testkit::until(&format!("{path} to come to rest"), async || {
        let answer = client.get(&path).await;
        if answer.status == 404 {
            ledger.found(None);
            return true;
        }
        let shown = answer.json();
        if shown["phase"] == "failed" {
            client.delete(&path).await;
            return false;
        }
        let at = phase_of(&shown);
        ledger.found(at);
        at.is_some()
    })
    .await;
}
