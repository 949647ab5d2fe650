//! Opening: whose directory it is, and which ones are refused.

use rusqlite::Connection;

use super::*;

#[tokio::test]
async fn a_directory_belongs_to_one_store() {
    let bench = Bench::new();
    let store = bench.open();
    assert!(matches!(bench.refused(), OpenError::InUse { .. }));
    drop(store);
    bench.open();
}

#[tokio::test]
async fn closing_leaves_one_whole_file() {
    let bench = Bench::new();
    let store = bench.open();
    accept(&store, bench.append("a", JobEvent::queued())).await;
    drop(store);
    let wal = std::fs::metadata(bench.path().join("notify.db-wal"));
    assert_eq!(wal.map_or(0, |wal| wal.len()), 0);
    assert!(bench.open().job(&job("a")).await.unwrap().is_some());
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_look() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    let store = bench.open();
    accept(&store, bench.append("a", JobEvent::queued())).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&bench.path()), 0o700);
    for entry in std::fs::read_dir(bench.path()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_later_version_is_refused_and_left_as_it_is() {
    let bench = Bench::new();
    drop(bench.open());
    let conn = Connection::open(bench.database()).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    drop(conn);
    let before = std::fs::read(bench.database()).unwrap();
    let refused = bench.refused();
    assert!(
        matches!(refused, OpenError::Newer { found: 99, .. }),
        "{refused}"
    );
    assert_eq!(std::fs::read(bench.database()).unwrap(), before);
}

#[test]
fn another_programs_database_is_refused() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path()).unwrap();
    let conn = Connection::open(bench.database()).unwrap();
    conn.execute_batch("CREATE TABLE theirs (a)").unwrap();
    drop(conn);
    check_damaged(&bench, "another program");
}

#[test]
fn a_changed_table_is_refused() {
    let bench = Bench::new();
    drop(bench.open());
    let conn = Connection::open(bench.database()).unwrap();
    conn.execute_batch("ALTER TABLE jobs ADD COLUMN more INTEGER")
        .unwrap();
    drop(conn);
    check_damaged(&bench, "table jobs");
}

#[test]
fn an_index_of_the_operators_does_not_matter() {
    let bench = Bench::new();
    drop(bench.open());
    let conn = Connection::open(bench.database()).unwrap();
    conn.execute_batch("CREATE INDEX theirs ON jobs (updated_at)")
        .unwrap();
    drop(conn);
    bench.open();
}

/// Jobs that have ended cost nothing at opening, nor do deliveries that were given up.
#[test]
fn opening_reads_by_the_indexes_of_what_is_open() {
    let bench = Bench::new();
    drop(bench.open());
    let conn = Connection::open(bench.database()).unwrap();
    for query in crate::writer::opening_queries() {
        let mut plan = conn
            .prepare(&format!("EXPLAIN QUERY PLAN {query}"))
            .unwrap();
        let steps = plan.query_map([], |row| row.get("detail")).unwrap();
        let steps: Vec<String> = steps.map(Result::unwrap).collect();
        for step in steps.iter().filter(|step| step.starts_with("SCAN")) {
            let index = step.split_once("INDEX ").map(|(_, index)| index);
            let index = index.unwrap_or_else(|| panic!("{steps:?}"));
            assert!(ONLY_OPEN.contains(&index), "{steps:?}");
        }
        assert!(
            !steps.iter().any(|step| step.contains("TEMP B-TREE")),
            "{steps:?}"
        );
    }
}

/// Indexes with an entry for what is not over.
const ONLY_OPEN: [&str; 3] = ["jobs_open", "dead_letters_redelivered", "endpoints_sick"];

#[test]
fn what_is_no_database_is_refused_and_left_as_it_is() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path()).unwrap();
    for bytes in [&b"not a database"[..], &[0; 8_192]] {
        std::fs::write(bench.database(), bytes).unwrap();
        check_damaged(&bench, "header");
        assert_eq!(std::fs::read(bench.database()).unwrap(), bytes);
    }
}

#[test]
fn a_log_without_its_database_is_not_thrown_away() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path()).unwrap();
    std::fs::write(bench.database(), b"").unwrap();
    let wal = bench.path().join("notify.db-wal");
    std::fs::write(&wal, b"what was accepted").unwrap();
    check_damaged(&bench, "empty");
    assert_eq!(std::fs::read(&wal).unwrap(), b"what was accepted");
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let bench = Bench::new();
    std::fs::write(bench.path(), b"a file").unwrap();
    let refused = bench.refused();
    assert!(matches!(&refused, OpenError::Io { file, .. } if *file == bench.path()));
    assert!(refused.to_string().contains("data"));
}

#[test]
fn a_scan_needs_no_lock_and_finds_nothing_new() {
    let bench = Bench::new();
    let store = bench.open();
    let report = crate::check(bench.path()).unwrap();
    assert!(report.is_sound(), "{report:?}");
    drop(store);
    assert!(crate::check(bench.path()).unwrap().is_sound());
    assert!(crate::check(bench.path().join("nowhere")).is_err());
}

#[track_caller]
fn check_damaged(bench: &Bench, what: &str) {
    let refused = bench.refused();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused:?}");
    assert!(refused.to_string().contains(what), "{refused}");
}
