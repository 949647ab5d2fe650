//! A database of version 1, as its program left it, brought to this version. What is
//! to be read of it afterwards is asked where all crates are (`tests/it/baseline`).

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use notify_core::endpoint::UrlInvalid;
use notify_core::store::DeadFilter;
use rusqlite::Connection;

use super::*;
use crate::schema;

/// A directory of version 1 whose program was killed.
fn killed() -> Bench {
    let bench = Bench::new();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/v1");
    copy(&kept, &bench.path());
    bench
}

/// Writes to a database of version 1 behind its program's back.
#[track_caller]
fn tampered(sql: &str) -> Bench {
    let bench = killed();
    bench.tamper(sql);
    bench
}

fn version(database: &Path) -> i64 {
    let conn = Connection::open(database).unwrap();
    schema::version(&conn).unwrap()
}

/// Every row there is, as text.
fn dump(database: &Path) -> Vec<String> {
    let conn = Connection::open(database).unwrap();
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
    let mut statement = conn.prepare(tables).unwrap();
    let tables = statement.query_map([], |row| row.get(0)).unwrap();
    let tables: Vec<String> = tables.map(Result::unwrap).collect();
    let mut lines = Vec::new();
    for table in tables {
        let mut statement = conn.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values = (0..columns).map(|column| row.get_ref(column).unwrap());
            lines.push(format!("{table} {:?}", values.collect::<Vec<_>>()));
        }
    }
    lines
}

#[tokio::test]
async fn everything_is_carried_over_after_a_copy() {
    let bench = killed();
    let before = dump(&bench.database());
    drop(bench.open());
    assert_eq!(version(&bench.database()), 2);
    let report = crate::check(bench.path()).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.jobs, report.endpoints), (19, 13));
    let copy = bench.path().join("notify.db.v1-backup");
    assert_eq!(version(&copy), 1);
    assert_eq!(dump(&copy), before);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&copy).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    // What needs no more looking after it does not get.
    let written = std::fs::metadata(&copy).unwrap().modified().unwrap();
    drop(bench.open());
    assert_eq!(
        std::fs::metadata(&copy).unwrap().modified().unwrap(),
        written
    );
}

/// At moments all over the way the process ends, as seen by the disk: the files are
/// copied as they are then. And there the way ends too.
#[tokio::test]
async fn a_process_that_is_killed_on_the_way_leaves_one_version_whole() {
    let whole = killed();
    let steps = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&steps);
    let mut conn = Connection::open(whole.database()).unwrap();
    let count = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        false
    };
    conn.progress_handler(STEP, Some(count)).unwrap();
    crate::migrate::carry_over(&mut conn, None).unwrap();
    drop(conn);
    let steps = steps.load(Ordering::Relaxed);
    assert!(steps > 400, "{steps}");
    let (old, new) = (dump(&killed().database()), dump(&whole.database()));

    for end in (1..=steps).step_by(usize::try_from(steps / ENDS).unwrap()) {
        let bench = killed();
        let (from, seen) = (bench.path(), bench.dir.path().join("seen"));
        let (to, mut at) = (seen.clone(), 0);
        let failed = Arc::new(Mutex::new(None));
        let told = Arc::clone(&failed);
        let stop = move || {
            at += 1;
            if at == end {
                copy(&from, &to);
                *told.lock().unwrap() = Some(at);
            }
            at >= end
        };
        let mut conn = Connection::open(bench.database()).unwrap();
        conn.progress_handler(STEP, Some(stop)).unwrap();
        assert!(
            crate::migrate::carry_over(&mut conn, None).is_err(),
            "{end}"
        );
        drop(conn);
        assert_eq!(*failed.lock().unwrap(), Some(end));
        for dir in [bench.path(), seen] {
            let database = dir.join("notify.db");
            assert_eq!(version(&database), 1, "{end}");
            assert_eq!(dump(&database), old, "{end}");
            drop(SqliteStore::open(&dir, options()).unwrap());
            let mut found = dump(&database);
            // The store has counted since.
            found.retain(|line| !line.starts_with("meta"));
            assert!(
                new.iter()
                    .filter(|line| !line.starts_with("meta"))
                    .eq(&found)
            );
        }
    }
}

/// Steps of SQLite's machine between two moments that are counted.
const STEP: i32 = 10;
/// How many ends are tried.
const ENDS: u64 = 50;

#[tokio::test]
async fn what_there_is_no_space_for_is_refused_and_left_as_it_is() {
    let bench = killed();
    let before = dump(&bench.database());
    let bytes = std::fs::metadata(bench.database()).unwrap().len();
    let mut conn = Connection::open(bench.database()).unwrap();
    let files = crate::files::Files::at(&bench.path());
    let free_bytes = Some(2 * bytes);
    let refused = crate::migrate::migrate(&mut conn, &files, None, free_bytes).unwrap_err();
    drop(conn);
    assert!(matches!(refused, OpenError::NoSpace { .. }), "{refused}");
    assert!(refused.to_string().contains("bytes of free space"));
    assert_eq!(dump(&bench.database()), before);
    assert!(!bench.path().join("notify.db.v1-backup").exists());
    bench.open();
}

/// As in a container, where a process has the same number again and again.
#[tokio::test]
async fn a_copy_that_was_never_finished_is_in_nobodys_way() {
    let bench = killed();
    let partial = format!("notify.db.v1-backup.partial-{}", std::process::id());
    let partial = bench.path().join(partial);
    std::fs::write(&partial, b"the beginning").unwrap();
    bench.open();
    assert!(!partial.exists());
}

#[tokio::test]
async fn a_table_that_is_not_of_version_1_is_refused() {
    let bench = killed();
    let conn = Connection::open(bench.database()).unwrap();
    conn.execute_batch("ALTER TABLE jobs ADD COLUMN more INTEGER")
        .unwrap();
    drop(conn);
    let refused = bench.refused().to_string();
    assert!(refused.contains("table jobs"), "{refused}");
    assert_eq!(version(&bench.database()), 1);
}

#[track_caller]
fn names<T: std::fmt::Debug>(row: &str, read: Result<T, StoreError>) {
    match read {
        Err(StoreError::Damaged(found)) => assert!(found.contains(row), "{found}"),
        other => panic!("{row}: {other:?}"),
    }
}

/// One of each table, and who needs it.
#[tokio::test]
async fn what_was_damaged_is_refused_by_name_afterwards() {
    let bench = tampered("UPDATE jobs SET created_at = 1 WHERE job_id = 'exhausted'");
    let store = bench.open();
    names("jobs exhausted", store.job(&job("exhausted")).await);
    assert!(store.job(&job("flips")).await.unwrap().is_some());
    drop(store);

    let bench = tampered(
        "UPDATE events SET json = x'7b7d' WHERE job = (SELECT id FROM jobs WHERE job_id = 'keyed')",
    );
    let store = bench.open();
    names("events", store.read(&job("keyed"), 0, 9).await);
    assert!(store.read(&job("flips"), 0, 9).await.is_ok());
    drop(store);

    let bench = tampered("UPDATE endpoints SET secret = 'another' WHERE secret IS NOT NULL");
    let store = bench.open();
    names("endpoints", store.endpoints(all()).await);
    drop(store);

    let of_overtaken = "job = (SELECT id FROM jobs WHERE job_id = 'overtaken')";
    for sql in [
        format!("UPDATE deliveries SET due_at = 0 WHERE {of_overtaken}"),
        format!("UPDATE attempts SET at = 0 WHERE attempt IS NOT NULL AND {of_overtaken}"),
    ] {
        let bench = tampered(&sql);
        let store = bench.open();
        let read = store.deliveries(&job("overtaken"), all()).await;
        let table = sql.split(' ').nth(1).unwrap();
        names(table, read);
        assert!(store.deliveries(&job("flips"), all()).await.is_ok());
    }

    let bench = tampered("UPDATE dead_letters SET died_at = 0 WHERE job_id = 'exhausted'");
    let store = bench.open();
    let letters = store.dead_letters(DeadFilter::default(), all()).await;
    names("dead_letters", letters);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_left_in_the_copy() {
    let bench = tampered("UPDATE jobs SET epoch = 'no epoch' WHERE job_id = 'flips'");
    let store = bench.open();
    assert!(store.job(&job("flips")).await.unwrap().is_none());
    assert!(store.job(&job("keyed")).await.unwrap().is_some());
    let copy = Connection::open(bench.path().join("notify.db.v1-backup")).unwrap();
    let kept = "SELECT count(*) FROM jobs WHERE job_id = 'flips'";
    assert_eq!(copy.query_row(kept, [], |row| row.get(0)), Ok(1));
}

/// Two endpoints without secrets of their own, to which deliveries wait.
const E: &str = "http://127.0.0.1:28765/e/500?token=hidden";
const F: &str = "http://127.0.0.1:28765/f/500";

/// Lower case, which is all that differs here.
fn canonical(text: &str) -> Result<EndpointUrl, UrlInvalid> {
    EndpointUrl::parse(&text.to_lowercase())
}

/// Spells two endpoints alike, and opens the directory.
fn united(bench: &Bench, first: &str, second: &str) -> SqliteStore {
    let mut conn = Connection::open(bench.database()).unwrap();
    let spell = conn.transaction().unwrap();
    for (place, url, enabled) in [
        (first, "http://A.example/", true),
        (second, "http://a.Example/", false),
    ] {
        let old = crate::migrate::respell(&spell, place, url, enabled);
        assert_eq!(old.unwrap(), 1, "{place}");
    }
    spell.commit().unwrap();
    drop(conn);
    let options = SqliteOptions {
        canonical: Some(canonical),
        ..options()
    };
    SqliteStore::open(bench.path(), options).unwrap()
}

#[tokio::test]
async fn endpoints_that_only_their_spelling_told_apart_become_one() {
    let bench = killed();
    let before = crate::check(bench.path()).unwrap();
    let store = united(&bench, E, F);
    let a = url_of("http://a.example/");
    let one = store.endpoint_at(&a).await.unwrap().unwrap();
    assert_eq!(store.endpoints(all()).await.unwrap().items.len(), 12);
    for of in ["retrying", "overtaken"] {
        let told = store.deliveries(&job(of), all()).await.unwrap().items;
        assert!(
            told.iter()
                .all(|view| view.endpoint_id == one.id && view.url == a),
            "{told:?}"
        );
    }
    let filter = DeadFilter {
        endpoint: Some(one.id),
        ..DeadFilter::default()
    };
    assert_eq!(
        store.dead_letters(filter, all()).await.unwrap().items.len(),
        1
    );
    assert!(!one.enabled, "one of them was not");
    drop(store);
    let after = crate::check(bench.path()).unwrap();
    assert!(after.is_sound(), "{after:?}");
    assert_eq!(after.pending_deliveries, before.pending_deliveries);
}

#[tokio::test]
async fn endpoints_with_different_secrets_stay_as_they_are_spelled() {
    let bench = killed();
    let conn = Connection::open(bench.database()).unwrap();
    let url = "SELECT url FROM endpoints WHERE secret IS NOT NULL LIMIT 1";
    let own: String = conn.query_row(url, [], |row| row.get(0)).unwrap();
    drop(conn);
    let store = united(&bench, "http://127.0.0.1:28765/410", &own);
    assert_eq!(store.endpoints(all()).await.unwrap().items.len(), 13);
    for spelled in ["http://A.example/", "http://a.Example/"] {
        assert!(store.endpoint_at(&url_of(spelled)).await.unwrap().is_some());
    }
}

fn url_of(text: &str) -> EndpointUrl {
    EndpointUrl::parse(text).unwrap()
}
