//! What has to hold after a restart, whatever the server was doing when it died.

use std::collections::BTreeMap;

use sandtree_testkit::{Client, TestServer};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use tokio::time::{Duration, Instant};

use crate::ledger::{At, Ledger, content};

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
    losses.extend(wrong_containers(server).await);
    losses.extend(wrong_rows(server).await);
    losses
}

fn phase_of(shown: &Value) -> At {
    match shown["phase"].as_str() {
        Some("running") => Some("running"),
        Some("paused") => Some("paused"),
        Some("stopped") => Some("stopped"),
        _ => None,
    }
}

/// Waits until the project is where it may be; its document, null when it is gone.
async fn comes_to_rest(client: &Client, ledger: &Ledger) -> Result<Value, String> {
    let (path, ends) = (format!("/v1/projects/{}", ledger.id), Instant::now() + REST_WITHIN);
    loop {
        let answer = client.get(&path).await;
        let shown = if answer.status == 404 { Value::Null } else { answer.json() };
        let is_at_rest = answer.status == 404 || phase_of(&shown).is_some();
        if is_at_rest && ledger.at.contains(&phase_of(&shown)) && is_usable(client, &shown).await {
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
        let holds = |version: &&u64| match **version {
            0 => answer.status == 404,
            version => answer.status == 200 && answer.text() == content(file, version),
        };
        match versions.iter().find(holds) {
            Some(version) => ledger.found_file(file, *version),
            None => {
                let has: String = answer.text().chars().take(40).collect();
                lost.push(format!("{path} is none of {versions:?}: {} {has:?}", answer.status));
            }
        }
    }
    lost
}

/// The process numbers its lines: each is the next one, or the first of a new start.
async fn lost_lines(client: &Client, id: &str) -> Vec<String> {
    let path = format!("/v1/projects/{id}/process/logs?stream=stdout&tail={LINES}");
    let call = client.request(hyper::Method::GET, &path).header("accept", "text/plain");
    let answer = call.send().await;
    if answer.status != 200 {
        return vec![format!("{path}: {} {}", answer.status, answer.text())];
    }
    let text = answer.text();
    let numbers: Vec<Option<u64>> = text.lines().map(|line| line.parse().ok()).collect();
    let follows = |pair: &&[Option<u64>]| match pair {
        [Some(before), Some(after)] => *after != before + 1 && *after != 0,
        _ => true,
    };
    let broken: Vec<_> = numbers.windows(2).filter(follows).collect();
    if broken.is_empty() { Vec::new() } else { vec![format!("{id}: lines {broken:?}")] }
}

/// One container for each sandbox that was started, as the row says, and no other.
async fn wrong_containers(server: &TestServer) -> Vec<String> {
    let ends = Instant::now() + REST_WITHIN;
    loop {
        let mut wrong = Vec::new();
        let mut rows = open(server).await;
        let alive = "SELECT sandbox, phase FROM projects WHERE phase <> 'deleted'";
        let alive = sqlx::query(alive).fetch_all(&mut rows).await.expect("the rows");
        let mut phases: BTreeMap<String, String> =
            alive.iter().map(|row| (row.get("sandbox"), row.get("phase"))).collect();
        for container in server.containers() {
            let state = match container.state.as_str() {
                "running" | "paused" => container.state.as_str(),
                _ => "stopped",
            };
            match phases.remove(&container.sandbox) {
                Some(phase) if phase == state => {}
                other => wrong.push(format!(
                    "an orphan, a second one or a false one: {container:?} {other:?}"
                )),
            }
        }
        let missing = phases.iter().filter(|(_, phase)| *phase != "stopped");
        wrong.extend(missing.map(|missing| format!("a container is missing: {missing:?}")));
        if wrong.is_empty() || Instant::now() >= ends {
            return wrong;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Every transition begins where the one before ended, numbered without a gap, up to
/// the row itself; and no sandbox was lost or given up.
async fn wrong_rows(server: &TestServer) -> Vec<String> {
    let mut rows = open(server).await;
    let all = "SELECT p.uid, p.generation AS last, p.phase, t.generation, t.from_phase, t.to_phase, \
               t.move FROM projects p LEFT JOIN transitions t ON t.uid = p.uid \
               ORDER BY p.uid, t.generation";
    let all = sqlx::query(all).fetch_all(&mut rows).await.expect("the transitions");
    let (mut wrong, mut before) = (Vec::new(), (String::new(), 0_i64, None::<String>));
    for row in &all {
        let uid: String = row.get("uid");
        if before.0 != uid {
            before = (uid.clone(), 0, None);
        }
        let (generation, from): (i64, Option<String>) =
            (row.get("generation"), row.get("from_phase"));
        if generation != before.1 + 1 || from != before.2 {
            wrong.push(format!("{uid}: transition {generation} from {from:?} after {before:?}"));
        }
        let how: Option<String> = row.get("move");
        if matches!(how.as_deref(), Some("lost" | "faulted")) {
            wrong.push(format!("{uid}: {how:?} at {generation}"));
        }
        before = (uid, generation, row.get("to_phase"));
    }
    wrong
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
