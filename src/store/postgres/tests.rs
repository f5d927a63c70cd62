use std::sync::Arc;

use sandtree_actors::ports::{Store as _, Write, Written};
use sandtree_model::{Move, Phase};
use sandtree_testkit::{TcpProxy, TestPostgres, within};
use sqlx::PgPool;
use tokio::task::JoinSet;

use super::*;
use crate::store::Persistent as _;
use crate::store::contract::{self, OWNERS, create, moved, new, step, uid};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

fn config(url: String) -> PostgresConfig {
    let bounds = Bounds { owners: OWNERS, ..Bounds::default() };
    PostgresConfig { bounds, ..PostgresConfig::new(url) }
}

async fn open() -> (Postgres, TestPostgres) {
    let server = TestPostgres::start().await;
    (Postgres::open(config(server.url())).await.unwrap(), server)
}

contract::holds!(open);

fn start(number: u64, generation: u64) -> Write {
    moved(step(number, generation, Move::StartAsked, Phase::Starting))
}

/// Moves a project on as its container actor would: after an error it looks up how
/// far it is. The generations of all moves that were answered.
async fn move_on(store: Arc<Postgres>, number: u64, moves: u64) -> Vec<u64> {
    let (mut generation, mut answered) = (1, Vec::new());
    while generation <= moves {
        match store.write(&[start(number, generation)]).await {
            Ok(written) => {
                if let [Written::Row(row)] = &written[..] {
                    assert_eq!(row.generation, generation + 1);
                    answered.push(row.generation);
                }
            }
            // Away, or told to try again: in doubt either way.
            Err(error) => assert!(!error.0.contains("duplicate"), "{error}"),
        }
        if let Ok(Some(row)) = store.project_by_uid(&uid(number)).await {
            generation = row.generation;
        }
    }
    answered
}

#[tokio::test]
async fn what_was_answered_survives_the_death_of_the_server_in_mid_commit() {
    const WRITERS: u64 = 8;
    const MOVES: u64 = 60;
    let (store, mut server) = open().await;
    let store = Arc::new(store);
    let all = (0..WRITERS).map(|number| create(new(number))).collect::<Vec<_>>();
    store.write(&all).await.unwrap();
    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.spawn(async move { (number, move_on(store, number, MOVES).await) });
    }
    for kill in 1..=3 {
        let far = |row: &sandtree_model::Project| row.generation > kill * MOVES / 5;
        sandtree_testkit::until("writes to flow", async || {
            store.project_by_uid(&uid(0)).await.is_ok_and(|row| row.is_some_and(|row| far(&row)))
        })
        .await;
        server.kill9().await;
        server.restart().await;
    }
    let done = within(LONG, "all moves", writers.join_all()).await;
    for (number, answered) in done {
        let mut log = Vec::new();
        while let Some(above) = Some(log.last().copied().unwrap_or(0)) {
            let page = store.transitions(&uid(number), above, 1000).await.unwrap();
            if page.is_empty() {
                break;
            }
            log.extend(page.into_iter().map(|past| past.generation));
        }
        assert_eq!(log, (1..=MOVES + 1).collect::<Vec<_>>(), "no gap, none doubled: {number}");
        let is_lost = |generation: &&u64| !log.contains(generation);
        assert_eq!(answered.iter().find(is_lost), None, "answered and lost: {number}");
    }
    let doubled = "SELECT count(*) FROM (SELECT 1 FROM transitions GROUP BY uid, generation \
                   HAVING count(*) > 1) AS doubled";
    assert_eq!(server.sql(doubled), "0");
}

#[tokio::test]
async fn a_server_that_was_away_is_used_again_without_a_restart_of_ours() {
    let (store, mut server) = open().await;
    store.write(&[create(new(1))]).await.unwrap();
    store.ping().await.unwrap();
    server.stop();
    let error = store.write(&[create(new(2))]).await.unwrap_err();
    assert!(error.0.contains("does not answer"), "{error}");
    let error = store.ping().await.unwrap_err();
    assert!(error.0.contains("does not answer"), "{error}");
    server.restart().await;
    store.write(&[create(new(2))]).await.expect("once it is back");
    assert!(store.project_by_uid(&uid(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_connection_that_is_cut_costs_what_was_on_it_and_no_more() {
    let server = TestPostgres::start().await;
    let mut proxy = TcpProxy::start(server.port());
    let store = Postgres::open(config(server.url_at(proxy.port()))).await.unwrap();
    store.write(&[create(new(1))]).await.unwrap();
    store.ping().await.unwrap();
    proxy.cut();
    assert!(store.write(&[create(new(2))]).await.is_err());
    assert!(store.ping().await.is_err());
    proxy.restore();
    let written = store.write(&[create(new(2))]).await.expect("on a new connection");
    assert!(matches!(&written[..], [Written::Row(_)]), "{written:?}");
    store.ping().await.expect("on a new connection");
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_in_doubt_and_done_once() {
    let server = TestPostgres::start().await;
    let proxy = TcpProxy::start(server.port());
    let store = Postgres::open(config(server.url_at(proxy.port()))).await.unwrap();
    for (write, again) in [(create(new(1)), "Repeated"), (start(1, 1), "Stale")] {
        let write = [write];
        proxy.lose_answer_to("COMMIT");
        let error = store.write(&write).await.unwrap_err();
        assert!(error.0.contains("does not answer"), "{error}");
        let written = format!("{:?}", store.write(&write).await.unwrap()[0]);
        assert!(written.starts_with(again), "done already: {written}");
    }
    let log = store.transitions(&uid(1), 0, 10).await.unwrap();
    assert_eq!(log.iter().map(|past| past.generation).collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test]
async fn a_connection_that_only_we_see_end_does_not_keep_the_lock() {
    let server = TestPostgres::start().await;
    let proxy = TcpProxy::start(server.port());
    let bounds = Bounds {
        read_timeout: Duration::from_millis(500),
        write_timeout: Duration::from_secs(2),
        ..Bounds::default()
    };
    let settings = PostgresConfig { bounds, ..config(server.url_at(proxy.port())) };
    let store = Postgres::open(settings).await.unwrap();
    store.write(&[create(new(1))]).await.unwrap();
    store.ping().await.unwrap();
    proxy.strand();
    let error = store.write(&[create(new(2))]).await.unwrap_err();
    assert!(error.0.contains("did not answer within 2s"), "{error}");
    assert!(store.ping().await.unwrap_err().0.contains("did not answer within 500ms"));
    store.write(&[create(new(2))]).await.expect("the lock is taken from our own connection");
    store.ping().await.expect("on a new connection");
}

#[tokio::test]
async fn one_server_at_a_time_has_a_schema() {
    let (store, server) = open().await;
    let error = Postgres::open(config(server.url())).await.unwrap_err();
    assert!(error.0.contains("another server uses the schema \"public\""), "{error}");
    store.write(&[create(new(1))]).await.expect("the first is not disturbed");

    let elsewhere = config(server.url() + "&options=-c%20search_path%3Dother");
    let error = Postgres::open(elsewhere.clone()).await.unwrap_err();
    assert!(error.0.contains("search_path does not exist"), "{error}");
    server.sql("CREATE SCHEMA other");
    let other = Postgres::open(elsewhere).await.expect("a schema of its own");
    assert_eq!(other.project_by_uid(&uid(1)).await.unwrap(), None);

    store.close().await;
    assert!(store.ping().await.is_err(), "closed is closed");
    let next = Postgres::open(config(server.url())).await.expect("once the first has ended");
    assert!(next.project_by_uid(&uid(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_server_that_lost_its_connection_does_not_write_beside_the_next() {
    let server = TestPostgres::start().await;
    let mut proxy = TcpProxy::start(server.port());
    let first = Postgres::open(config(server.url_at(proxy.port()))).await.unwrap();
    first.write(&[create(new(1))]).await.unwrap();
    proxy.cut();
    let next = Postgres::open(config(server.url())).await.expect("the lock is free");
    proxy.restore();
    let error = first.write(&[create(new(2))]).await.unwrap_err();
    assert!(error.0.contains("another server uses the schema"), "{error}");
    next.write(&[create(new(2))]).await.expect("the only one that writes");
}

#[tokio::test]
async fn a_start_waits_for_a_server_that_is_away_but_not_for_one_that_refuses() {
    let mut server = TestPostgres::start().await;
    server.stop();
    let impatient = PostgresConfig { start_timeout: Duration::ZERO, ..config(server.url()) };
    let error = Postgres::open(impatient).await.unwrap_err();
    assert!(error.0.contains("does not answer"), "{error}");
    let opening = tokio::spawn(Postgres::open(config(server.url())));
    server.restart().await;
    let store = within(LONG, "the store", opening).await.unwrap().unwrap();
    store.write(&[create(new(1))]).await.unwrap();

    let nowhere = config(server.url().replace("/sandtree?", "/nowhere?"));
    let error = Postgres::open(nowhere).await.unwrap_err();
    assert!(error.0.contains("has to create it"), "{error}");
    store.close().await;
    let newer = "INSERT INTO _sqlx_migrations VALUES (9999, 'later', '2030-01-01', true, '', 1)";
    server.sql(newer);
    let error = Postgres::open(config(server.url())).await.unwrap_err();
    assert!(error.0.contains("9999"), "{error}");
}

#[tokio::test]
async fn a_database_of_the_first_version_keeps_its_rows() {
    let server = TestPostgres::start().await;
    let first = PgPool::connect(&server.url()).await.unwrap();
    MIGRATIONS.run_to(1, &first).await.unwrap();
    first.close().await;
    contract::rows_of_the_first_version().iter().for_each(|text| drop(server.sql(text)));
    let store = Postgres::open(config(server.url())).await.unwrap();
    contract::rows_of_the_first_version_are_as_new_ones(&store).await;
}

#[tokio::test]
async fn an_answer_lasts_whatever_the_database_is_set_to() {
    let server = TestPostgres::start().await;
    server.sql("ALTER DATABASE sandtree SET synchronous_commit = off");
    server.sql("ALTER DATABASE sandtree SET default_transaction_isolation = 'serializable'");
    let store = Postgres::open(config(server.url())).await.unwrap();
    let mut transaction = store.database.begin().await.unwrap();
    for (setting, value) in [
        ("SELECT current_setting('synchronous_commit')", "on"),
        ("SELECT current_setting('transaction_isolation')", "read committed"),
        ("SELECT current_setting('fsync')", "on"),
    ] {
        let shown: Vec<(String,)> = transaction.fetch(setting, Vec::new()).await.unwrap();
        assert_eq!(shown[0].0, value, "{setting}");
    }
    drop(transaction);
    let write = "UPDATE projects SET reason = '' RETURNING uid";
    let error = store.database.read::<(String,)>(write, Vec::new()).await.unwrap_err();
    assert!(error.0.contains("takes no writes"), "readers cannot write: {error}");
}

#[tokio::test]
async fn many_projects_are_found_by_index() {
    let (store, server) = open().await;
    store.write(&[create(new(0))]).await.unwrap();
    server.sql(
        "INSERT INTO projects SELECT 'p' || lpad(i::text, 19, '0'), tenant, 'p-' || i, phase, 1, \
         target, '', settings, 's' || lpad(i::text, 19, '0'), 1000000 + i, 1000000 + i, NULL, NULL, \
         1, 1, 1, 0, profile FROM generate_series(1, 20000) AS i CROSS JOIN projects",
    );
    server.sql("ANALYZE projects");
    let expected = [
        (sql::PROJECT_BY_KEY, "'a'", "projects_by_id"),
        (sql::PROJECT_BY_UID, "'p'", "projects_pkey"),
        (sql::LIST, "'a'", "projects_by_id"),
        (sql::POSTGRES.moves, "'[]'", "projects_pkey"),
        (sql::POSTGRES.moves_log, "'[]'", "projects_pkey"),
        (sql::POSTGRES.processes, "'[]'", "projects_pkey"),
        (sql::POSTGRES.activity, "'[]'", "projects_pkey"),
        (sql::POSTGRES.owned, "'[]'", "projects_by_sandbox"),
        (sql::POSTGRES.takers, "'[]'", "projects_by_id"),
    ];
    for (text, first, index) in expected {
        let explain = text.replace("$1", first).replace("$2", "'p-77'").replace("$3", "10");
        let plan = server.sql(&format!("EXPLAIN {explain}"));
        assert!(plan.contains(index) && !plan.contains("Seq Scan"), "{text}\n{plan}");
    }
}
