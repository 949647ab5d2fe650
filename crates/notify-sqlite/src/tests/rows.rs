//! How many rows an event costs, and how many entries of indexes.
//!
//! SQLite counts the rows that it inserts, updates and deletes (`total_changes`), also
//! those of tables without row ids. The entries of indexes it does not count: here
//! what each index holds is compared before and after a batch, which is one
//! transaction. An entry that has come is one, and one that has gone is another. That
//! none is written anew as it was is to be read from the statements.

use std::collections::BTreeSet;

use rusqlite::{Connection, OpenFlags};

use super::*;

/// What every index holds: its name, the values, the row that has them.
fn entries(bench: &Bench) -> BTreeSet<String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let conn = Connection::open_with_flags(bench.database(), flags).unwrap();
    // The key of a table without row ids is the table itself.
    let mut indexes = conn
        .prepare(
            "SELECT m.name, i.name, (SELECT sql FROM sqlite_schema WHERE name = i.name)
             FROM sqlite_schema m JOIN pragma_index_list(m.name) i
             WHERE m.type = 'table' AND (i.origin <> 'pk' OR m.sql NOT LIKE '%WITHOUT ROWID')",
        )
        .unwrap();
    let indexes = indexes.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    let indexes: Result<Vec<(String, String, Option<String>)>, _> = indexes.unwrap().collect();
    let mut entries = BTreeSet::new();
    for (table, index, sql) in indexes.unwrap() {
        let columns: Vec<String> = conn
            .prepare("SELECT coalesce(name, 'rowid') FROM pragma_index_xinfo(?1)")
            .unwrap()
            .query_map([&index], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let only = sql.and_then(|sql| Some(sql.split_once(" WHERE ")?.1.to_owned()));
        let held = format!(
            "SELECT concat_ws(' ', '{index}', {}) FROM {table} WHERE {}",
            columns.join(", "),
            only.as_deref().unwrap_or("1")
        );
        let mut held = conn.prepare(&held).unwrap();
        let held = held.query_map([], |row| row.get::<_, String>(0)).unwrap();
        entries.extend(held.map(Result::unwrap));
    }
    entries
}

/// Rows that a batch writes and deletes, and entries of indexes that it does.
async fn cost(bench: &Bench, store: &SqliteStore, batch: Batch) -> ([u64; 2], Written) {
    let (rows, before) = (store.rows_written().await.unwrap(), entries(bench));
    let written = write(store, NOW, batch).await;
    let rows = store.rows_written().await.unwrap() - rows;
    let changed = entries(bench).symmetric_difference(&before).count();
    ([rows, changed as u64], written)
}

const JOBS: u64 = 64;

fn appends(bench: &Bench, url: &str, event: &JobEvent) -> Batch {
    let append = |round| {
        let to = format!("job-{round}");
        Operation::Append(bench.append_for(url, &to, event.clone()))
    };
    Batch {
        may_lease: plenty(),
        ..asking((0..JOBS).map(append))
    }
}

fn settles(leased: Vec<Leased>, outcome: Outcome, status: u16) -> Batch {
    let settles = leased.into_iter();
    Batch {
        settles: settles
            .map(|one| one.settle(outcome, Some(attempt(1, status))))
            .collect(),
        ..Batch::default()
    }
}

#[tokio::test]
async fn an_event_that_is_delivered_at_once_costs_at_most_four() {
    let bench = Bench::new();
    let store = bench.open();
    // A new job has three entries of indexes, by its id, its epoch and as one that is
    // open. Once there are the counters and the endpoint, with two entries.
    let ([rows, entries], written) =
        cost(&bench, &store, appends(&bench, "x", &JobEvent::queued())).await;
    assert_eq!([rows, entries], [3 * JOBS + 2, 3 * JOBS + 2]);
    // Its settle: the delivery's row, with the attempt.
    let delivered = settles(written.leased, Outcome::Delivered, 204);
    assert_eq!(cost(&bench, &store, delivered).await.0, [JOBS, 0]);

    // Job, event, delivery; and only the latter two if the status stays.
    for (percent, expected) in [(1, 4), (2, 3)] {
        store.claim(NOW, Room::default(), 0).await.unwrap();
        let event = JobEvent::processing(percent);
        let url = format!("{percent}");
        let batch = appends(&bench, &url, &event);
        let ([rows, entries], written) = cost(&bench, &store, batch).await;
        assert_eq!(written.leased.len() as u64, JOBS);
        let delivered = settles(written.leased, Outcome::Delivered, 204);
        let ([settled, settled_entries], _) = cost(&bench, &store, delivered).await;
        // Less the new endpoint with its two entries.
        let total = rows + entries + settled + settled_entries - 3;
        assert_eq!(total, expected * JOBS, "{percent} %");
    }

    // The end of a job costs its row once more, and that it is no longer open but
    // has ended at a time.
    let event = JobEvent::failed("");
    let ([rows, entries], written) = cost(&bench, &store, appends(&bench, "x", &event)).await;
    assert_eq!([rows, entries], [3 * JOBS, 0]);
    let delivered = settles(written.leased, Outcome::Delivered, 204);
    assert_eq!(
        cost(&bench, &store, delivered).await.0,
        [2 * JOBS, 2 * JOBS]
    );
}

#[tokio::test]
async fn a_failed_attempt_costs_two() {
    let bench = Bench::new();
    let store = bench.open();
    let (_, written) = cost(&bench, &store, appends(&bench, "x", &JobEvent::queued())).await;
    let mut leased = written.leased;
    let after = Duration::ZERO;
    for _ in 0..2 {
        let retried = settles(leased, Outcome::Retry { after }, 500);
        assert_eq!(cost(&bench, &store, retried).await.0, [2 * JOBS, 0]);
        let before = store.rows_written().await.unwrap();
        leased = claim(&store, NOW).await;
        assert_eq!(leased.len() as u64, JOBS);
        // Being leased costs nothing.
        assert_eq!(store.rows_written().await.unwrap(), before);
    }
    let released = settles(leased, Outcome::Released, 0);
    let released = Batch {
        settles: released
            .settles
            .into_iter()
            .map(|settle| Settle {
                attempt: None,
                ..settle
            })
            .collect(),
        ..released
    };
    assert_eq!(cost(&bench, &store, released).await.0, [0, 0]);
}

#[tokio::test]
async fn progress_that_is_superseded_costs_what_it_says_of_itself() {
    let bench = Bench::new();
    let store = bench.open();
    for event in [JobEvent::queued(), JobEvent::processing(1)] {
        write(&store, NOW, appends(&bench, "x", &event)).await;
    }
    let twice = |round| {
        [2, 3].map(|percent| {
            let event = JobEvent::processing(percent);
            Operation::Append(bench.append_for("y", &format!("job-{round}"), event))
        })
    };
    let batch = asking((0..JOBS).flat_map(twice));
    let ([rows, entries], written) = cost(&bench, &store, batch).await;
    assert_eq!(written.superseded, JOBS);
    // Two events and two deliveries, of which one has ended; the new endpoint.
    assert_eq!([rows, entries], [4 * JOBS + 1, 2]);
}

/// An update names no column of an index, unless that is what changes.
#[test]
fn an_update_writes_no_entry_anew() {
    let bench = Bench::new();
    drop(bench.open());
    let conn = Connection::open(bench.database()).unwrap();
    for (sql, has_moved) in crate::rows::UPDATES_OF_A_JOB.into_iter().zip([false, true]) {
        let mut explained = conn.prepare(&format!("EXPLAIN {sql}")).unwrap();
        let nothing = [None::<i64>; 9];
        let steps = explained
            .query_map(nothing, |row| row.get("opcode"))
            .unwrap();
        let steps: Vec<String> = steps.map(Result::unwrap).collect();
        let writes = steps.iter().any(|step| step.starts_with("Idx"));
        assert_eq!(writes, has_moved, "{sql}: {steps:?}");
    }
}

/// Numbers are reserved in blocks, and the counters stand until the store is closed.
#[tokio::test]
async fn the_row_of_counters_is_seldom_written() {
    let bench = Bench::new();
    let store = bench.open();
    accept(&store, bench.append("a", JobEvent::queued())).await;
    for round in 0..100 {
        let before = store.rows_written().await.unwrap();
        accept(
            &store,
            bench.append(&format!("job-{round}"), JobEvent::queued()),
        )
        .await;
        assert_eq!(store.rows_written().await.unwrap() - before, 2);
    }
    let counted = store.counters().await.unwrap();
    let crashed = bench.dir.path().join("crashed");
    copy(&bench.path(), &crashed);
    drop(store);
    for dir in [bench.path(), crashed] {
        let store = SqliteStore::open(dir, options()).unwrap();
        assert_eq!(store.counters().await.unwrap(), counted);
    }
}
