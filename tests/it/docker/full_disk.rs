//! A database whose disk is full, below a server that runs on.

use sandtree_testkit::{Client, SmallDisk, TestPostgres, TestServer, until};
use serde_json::json;

use super::store_faults::{Before, generations};
use crate::support::{Project, server};

/// Room for PostgreSQL's own tables and log, and not for much more.
const POSTGRES_BYTES: u64 = 128 * 1024 * 1024;

#[tokio::test]
async fn a_full_disk_below_sqlite_is_told_and_room_is_all_it_needs() {
    let disk = SmallDisk::mount(4 * 1024 * 1024);
    let url = format!("sqlite:{}", disk.path().join("sandtree.db").display());
    let mut server = server().env("SANDTREE_STORE__URL", url).start().await;
    let before = Before::running(&server.client()).await;
    disk.fill();
    // A page of the log that is there may still take a write or two.
    until("the disk to be full", async || {
        let body = json!({ "profile": "small" });
        server.client().post("/v1/projects", &body).await.status == 503
    })
    .await;
    assert!(server.log().contains("the database's disk is full"), "{}", server.log());
    before.goes_on_without_the_store().await;
    disk.free();
    before.is_as_before().await;
    let stopped = before.up.show().await;

    server.kill9().await;
    server.restart().await;
    let client = server.client();
    let shown = Project::existing(&client, "up").show().await;
    assert_eq!(
        (&shown["phase"], &shown["generation"]),
        (&json!("stopped"), &stopped["generation"])
    );
}

/// Creates projects until one is refused for want of room; those that were answered.
async fn create_until_refused(server: &TestServer) -> Vec<String> {
    let (client, mut made) = (server.client(), Vec::new());
    until("the disk to be full", async || {
        let answer = client.post("/v1/projects", &json!({ "profile": "small" })).await;
        if answer.status == 503 {
            assert_eq!(answer.problem().0, "store-away");
            assert!(answer.header("retry-after").is_some(), "{answer:?}");
            return true;
        }
        made.push(answer.expect(201).json()["id"].as_str().expect("an id").to_owned());
        false
    })
    .await;
    made
}

/// That what was answered is in the database, each with its whole log.
async fn are_all_there(client: &Client, postgres: &TestPostgres, made: &[String]) {
    for id in made {
        let shown = Project::existing(client, id).show().await;
        assert_eq!(shown["phase"], "stopped", "{shown}");
        assert_eq!(generations(postgres, &shown["uid"]), "1 2", "{shown}");
    }
}

#[tokio::test]
async fn a_full_disk_below_postgresql_is_told_and_room_is_all_it_needs() {
    let disk = SmallDisk::mount(POSTGRES_BYTES);
    let postgres = TestPostgres::start_on(&disk).await;
    let server = server().env("SANDTREE_STORE__URL", postgres.url()).start().await;
    let before = Before::running(&server.client()).await;
    // Its log has room, and the tables have not.
    postgres.sql("SELECT pg_switch_wal()");
    // The next file of the log is made by the first write to it, which has to be now.
    postgres.sql("CREATE TABLE room (taken INTEGER)");
    disk.fill();
    let made = create_until_refused(&server).await;
    assert!(server.log().contains("the database's disk is full"), "{}", server.log());
    before.runs_on().await;
    disk.free();
    before.is_as_before().await;
    are_all_there(&server.client(), &postgres, &made).await;
}

#[tokio::test]
async fn postgresql_that_panics_because_its_disk_is_full_is_waited_for() {
    let disk = SmallDisk::mount(POSTGRES_BYTES);
    let mut postgres = TestPostgres::start_on(&disk).await;
    let server = server().env("SANDTREE_STORE__URL", postgres.url()).start().await;
    let before = Before::running(&server.client()).await;
    let mut made = Vec::new();
    for _ in 0..20 {
        let body = json!({ "profile": "small" });
        let answer = server.client().post("/v1/projects", &body).await.expect(201).json();
        made.push(answer["id"].as_str().expect("an id").to_owned());
    }
    disk.fill();
    postgres.panic_for_room();
    made.extend(create_until_refused(&server).await);
    before.runs_on().await;
    disk.free();
    postgres.revive().await;
    before.is_as_before().await;
    are_all_there(&server.client(), &postgres, &made).await;
}
