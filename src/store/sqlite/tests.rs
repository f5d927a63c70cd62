use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use sandtree_actors::ports::{Filter, Store as _};
use sandtree_model::{Move, Phase};
use sandtree_testkit::BlockDisk;
use tempfile::TempDir;

use super::*;
use crate::store::Persistent as _;
use crate::store::contract::{self, OWNERS, create, moved, new, step, uid};

fn config(dir: &Path) -> SqliteConfig {
    let bounds = Bounds { owners: OWNERS, ..Bounds::default() };
    SqliteConfig { bounds, ..SqliteConfig::new(dir.join("sandtree.db")) }
}

async fn open() -> (Sqlite, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Sqlite::open(config(dir.path())).await.unwrap(), dir)
}

contract::holds!(open);

/// Many projects of tenant `a`, in phase `creating`.
async fn fill(store: &Sqlite, numbers: std::ops::Range<u64>) {
    let all = numbers.map(|number| create(new(number))).collect::<Vec<_>>();
    for batch in all.chunks(1000) {
        store.write(batch).await.unwrap();
    }
}

async fn count(store: &Sqlite, table: &'static str) -> i64 {
    let text = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
    sqlx::query_scalar(text).fetch_one(&store.database.writer).await.unwrap()
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart() {
    let (store, dir) = open().await;
    fill(&store, 0..10).await;
    store.write(&[moved(step(3, 1, Move::StartAsked, Phase::Starting))]).await.unwrap();
    let before = store.project_by_uid(&uid(3)).await.unwrap();
    store.close().await;
    assert!(store.ping().await.is_err(), "closed is closed");
    let store = Sqlite::open(config(dir.path())).await.unwrap();
    assert_eq!(store.project_by_uid(&uid(3)).await.unwrap(), before);
    assert_eq!(count(&store, "projects").await, 10);
    assert_eq!(count(&store, "transitions").await, 11);
}

/// The child of the next test: writes and says so until it is killed. Run by
/// itself it is told no store, and there is nothing to do.
#[tokio::test]
async fn the_writer_that_is_killed() {
    let Ok(dir) = std::env::var("SANDTREE_TEST_STORE") else { return };
    let store = Sqlite::open(config(Path::new(&dir))).await.unwrap();
    for number in 0.. {
        let batch = [create(new(2 * number)), create(new(2 * number + 1))];
        store.write(&batch).await.unwrap();
        println!("answered {number}");
    }
}

#[tokio::test]
async fn what_was_answered_survives_sigkill() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--nocapture", "--exact"])
        .arg("store::sqlite::tests::the_writer_that_is_killed")
        .env("SANDTREE_TEST_STORE", dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let answers = lines.map_while(Result::ok).filter(|line| line.starts_with("answered"));
    assert_eq!(answers.take(50).count(), 50);
    child.kill().unwrap();
    child.wait().unwrap();

    let store = Sqlite::open(config(dir.path())).await.unwrap();
    for number in 0..100 {
        assert!(store.project_by_uid(&uid(number)).await.unwrap().is_some(), "{number}");
    }
    let (projects, transitions) =
        (count(&store, "projects").await, count(&store, "transitions").await);
    assert_eq!(projects, transitions, "a project and its transition come together");
    assert_eq!(projects % 2, 0, "a batch is written as a whole or not at all");
}

#[tokio::test]
async fn what_was_answered_is_on_the_disk() {
    let disk = BlockDisk::mount();
    let store = Sqlite::open(config(&disk.path())).await.unwrap();
    let moves = [(Move::Created, Phase::Stopped), (Move::StartAsked, Phase::Starting)];
    for number in 0..3 {
        store.write(&[create(new(number))]).await.unwrap();
        for (generation, (by, to)) in (1..).zip(moves) {
            store.write(&[moved(step(number, generation, by, to))]).await.unwrap();
            let answered = store.project_by_uid(&uid(number)).await.unwrap();

            let disk = disk.after_a_power_cut();
            let left = Sqlite::open(config(&disk.path())).await.unwrap();
            assert_eq!(left.project_by_uid(&uid(number)).await.unwrap(), answered);
            let log = left.transitions(&uid(number), generation, 10).await.unwrap();
            assert_eq!(log.len(), 1, "{by} of {number}");
            left.close().await;
        }
    }
}

#[tokio::test]
async fn the_file_is_readable_by_its_owner_alone() {
    let (store, dir) = open().await;
    fill(&store, 0..1).await;
    let mut files = 0;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{entry:?}");
        files += 1;
    }
    assert_eq!(files, 3, "the database, its log and the log's index");
}

#[tokio::test]
async fn the_durable_settings_are_in_force() {
    let (store, _dir) = open().await;
    let text = |pragma: &'static str, pool: &SqlitePool| {
        let pool = pool.clone();
        async move { sqlx::query_scalar::<_, String>(pragma).fetch_one(&pool).await.unwrap() }
    };
    assert_eq!(
        text("SELECT journal_mode FROM pragma_journal_mode", &store.database.writer).await,
        "wal"
    );
    let flag = "SELECT CAST(synchronous AS TEXT) FROM pragma_synchronous";
    assert_eq!(text(flag, &store.database.writer).await, "2", "full");
    let flag = "SELECT CAST(foreign_keys AS TEXT) FROM pragma_foreign_keys";
    assert_eq!(text(flag, &store.database.writer).await, "1");
    let change = sqlx::query("DELETE FROM projects").execute(&store.database.readers).await;
    assert!(change.is_err(), "readers cannot write");
}

/// How SQLite goes about a statement, as one text.
async fn plan(store: &Sqlite, text: &'static str) -> String {
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}"));
    let mut query = sqlx::query_as::<_, (i64, i64, i64, String)>(explain);
    for _ in 0..highest_placeholder(text) {
        query = query.bind("[]");
    }
    let steps = query.fetch_all(&store.database.writer).await.unwrap();
    steps.into_iter().map(|(.., step)| step).collect::<Vec<_>>().join("; ")
}

fn highest_placeholder(text: &str) -> usize {
    let numbers = text.split('$').skip(1).filter_map(|rest| {
        rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
    });
    numbers.max().unwrap_or(0)
}

#[tokio::test]
async fn a_hundred_thousand_projects_are_found_by_index() {
    let (store, _dir) = open().await;
    fill(&store, 0..1).await;
    let copies = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 99999) \
        INSERT INTO projects SELECT printf('p%019d', i), tenant, printf('p-%d', i), phase, 1, target, \
        '', settings, printf('s%019d', i), 1000000 + i, 1000000 + i, NULL, NULL, 1, 1, 1, 0, profile \
        FROM n CROSS JOIN projects WHERE uid LIKE '%00'";
    let copied = sqlx::query(copies).execute(&store.database.writer).await.unwrap();
    assert_eq!(copied.rows_affected(), 99_999);
    let expected = [
        (sql::PROJECT_BY_KEY, "projects_by_id (tenant=? AND id=?)"),
        (sql::PROJECT_BY_UID, "sqlite_autoindex_projects_1 (uid=?)"),
        (sql::LIST, "projects_by_id (tenant=? AND id>?)"),
        (sql::LIST_AT_REST, "projects_at_rest (tenant=? AND phase=? AND id>?)"),
        (sql::LIST_UNSETTLED, "projects_unsettled (tenant=? AND id>?)"),
        (sql::LIST_BY_LABEL, "(tenant=? AND name=? AND value=? AND id>?)"),
        (sql::LIST_BY_LABEL_AND_PHASE, "(tenant=? AND name=? AND value=? AND id>?)"),
        (sql::UNSETTLED, "projects_unsettled ((tenant,id)>(?,?))"),
        (sql::RESTING, "projects_resting (profile=?)"),
        (sql::RESTING_COUNT, "projects_resting (profile=?)"),
        (sql::SQLITE.owned, "projects_by_sandbox (sandbox=?)"),
        (sql::TRANSITIONS, "(uid=? AND generation>?)"),
        (sql::OWNER_IN_USE, "projects_by_owner (owner_uid=?)"),
        (sql::OWNERS_IN_USE, "projects_by_owner (owner_uid>? AND owner_uid<?)"),
        (sql::OWNER_AFTER, "projects_by_owner (owner_uid>? AND owner_uid<?)"),
        (sql::SQLITE.moves, "sqlite_autoindex_projects_1 (uid=?)"),
        (sql::SQLITE.moves_log, "sqlite_autoindex_projects_1 (uid=?)"),
        (sql::SQLITE.takers, "projects_by_id (tenant=? AND id=?)"),
        (sql::SQLITE.scrub, "sqlite_autoindex_projects_1 (uid=?)"),
        (sql::SQLITE.processes, "sqlite_autoindex_projects_1 (uid=?)"),
        (sql::SQLITE.activity, "sqlite_autoindex_projects_1 (uid=?)"),
        (sql::SQLITE.labels_drop, "labels_by_project (uid=?)"),
    ];
    for (text, index) in expected {
        let plan = plan(&store, text).await;
        assert!(plan.contains(index), "{text}\n{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "sorts: {text}\n{plan}");
        let scans_rows =
            plan.split("; ").any(|step| step.starts_with("SCAN") && !step.contains(" m "));
        assert!(!scans_rows, "scans: {text}\n{plan}");
    }
    let after = Some("p-5".into());
    let filter = Filter { after, limit: 1000, ..Filter::default() };
    let page = store.list(&new(0).key.tenant, &filter).await.unwrap();
    assert_eq!((page.len(), page[0].key.id.as_str()), (1000, "p-50"));
}

#[tokio::test]
async fn reads_do_not_wait_for_a_write() {
    let (store, _dir) = open().await;
    fill(&store, 0..1).await;
    let mut writing = store.database.writer.begin_with("BEGIN IMMEDIATE").await.unwrap();
    sqlx::query("UPDATE projects SET reason = 'half'").execute(&mut *writing).await.unwrap();
    let project = store.project_by_uid(&uid(0)).await.unwrap().unwrap();
    assert_eq!(&*project.reason, "created", "and see nothing that is not committed");
    writing.rollback().await.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_told_and_undoes_the_batch() {
    let (store, _dir) = open().await;
    fill(&store, 0..1).await;
    let pages = |text: &'static str| sqlx::query(text).execute(&store.database.writer);
    pages("PRAGMA max_page_count = 1").await.unwrap();
    let batch = (1..2000).map(|number| create(new(number))).collect::<Vec<_>>();
    let error = store.write(&batch).await.unwrap_err();
    assert_eq!(&*error.0, "the database's disk is full");
    assert_eq!((count(&store, "projects").await, count(&store, "transitions").await), (1, 1));
    // The bound was that connection's, which is closed.
    store.write(&batch).await.expect("once there is room");
}

#[tokio::test]
async fn a_locked_file_is_told_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let busy_timeout = Duration::from_millis(100);
    let store = Sqlite::open(SqliteConfig { busy_timeout, ..config(dir.path()) }).await.unwrap();
    let other = Sqlite::open(config(dir.path())).await.unwrap();
    let held = other.database.writer.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let error = store.write(&[create(new(1))]).await.unwrap_err();
    assert_eq!(&*error.0, "the database is locked by another process");
    held.rollback().await.unwrap();
    store.write(&[create(new(1))]).await.expect("once it is free");
}

#[tokio::test]
async fn a_writer_that_hangs_is_told_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let bounds = Bounds { write_timeout: Duration::from_millis(200), ..config(dir.path()).bounds };
    let store = Sqlite::open(SqliteConfig { bounds, ..config(dir.path()) }).await.unwrap();
    let held = store.database.writer.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let error = store.write(&[create(new(1))]).await.unwrap_err();
    assert!(error.0.contains("did not answer within 200ms") || error.0.contains("busy"), "{error}");
    drop(held);
    store.write(&[create(new(1))]).await.expect("once it is free");
}

#[tokio::test]
async fn a_file_of_the_first_version_keeps_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let first = SqliteConnectOptions::new().filename(&config.path).create_if_missing(true);
    let first = SqlitePool::connect_with(first).await.unwrap();
    MIGRATIONS.run_to(1, &first).await.unwrap();
    for statement in contract::rows_of_the_first_version() {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&first).await.unwrap();
    }
    first.close().await;
    contract::rows_of_the_first_version_are_as_new_ones(&Sqlite::open(config).await.unwrap()).await;
}

#[tokio::test]
async fn a_file_that_is_no_database_or_a_newer_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let garbage = SqliteConfig::new(dir.path().join("garbage"));
    std::fs::write(&garbage.path, [b'x'; 8192]).unwrap();
    let error = Sqlite::open(garbage).await.unwrap_err();
    assert!(error.0.contains("not a database"), "{error}");
    let nowhere = SqliteConfig::new(dir.path().join("no/such/dir"));
    assert!(Sqlite::open(nowhere).await.unwrap_err().0.contains("No such file"));

    let store = Sqlite::open(config(dir.path())).await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations VALUES (9999, 'later', '2030-01-01', true, x'00', 1)";
    sqlx::query(newer).execute(&store.database.writer).await.unwrap();
    store.close().await;
    let error = Sqlite::open(config(dir.path())).await.unwrap_err();
    assert!(error.0.contains("9999"), "{error}");
}
