//! Other processes at the same database: they read for long, or hold it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use notify_core::retention::Retention;
use rusqlite::{Connection, OpenFlags};

use super::*;

fn foreign(bench: &Bench, flags: OpenFlags) -> Connection {
    Connection::open_with_flags(bench.database(), flags).unwrap()
}

fn log_mib(bench: &Bench) -> u64 {
    let log = std::fs::metadata(bench.path().join("notify.db-wal"));
    log.unwrap().len() >> 20
}

/// Waits until the log has at most so many MiB, without asking the store for
/// anything.
#[track_caller]
fn await_log_of(bench: &Bench, mib_max: u64) {
    let begun = Instant::now();
    while log_mib(bench) > mib_max {
        assert!(begun.elapsed() < NOTICED_WITHIN, "{} MiB", log_mib(bench));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Writes so many MiB, in events of 900 kB; the longest wait for one, and the
/// most MiB that the log had.
async fn write_mib(bench: &Bench, store: &SqliteStore, mib: usize) -> (Duration, u64) {
    let limits = EventLimits {
        event_bytes_max: EventLimits::BYTES_CEILING,
    };
    let event = JobEvent::failed("x".repeat(900_000));
    let draft = event.draft(1_712_534_400, limits).unwrap();
    let (mut longest, mut largest) = (Duration::ZERO, 0);
    for round in 0..(mib << 20) / 900_000 {
        let append = Append {
            draft: draft.clone(),
            ..bench.append(&format!("job-{round}"), JobEvent::queued())
        };
        let asked = Instant::now();
        accept(store, append).await;
        longest = longest.max(asked.elapsed());
        largest = largest.max(log_mib(bench));
    }
    (longest, largest)
}

#[tokio::test]
async fn a_long_reader_slows_no_write_and_its_log_goes_when_it_ends() {
    let bench = Bench::new();
    let store = bench.open();
    accept(&store, bench.append("first", JobEvent::queued())).await;
    let reader = foreign(&bench, OpenFlags::SQLITE_OPEN_READ_ONLY);
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM events;")
        .unwrap();
    // Long enough for everything that is done about a long log.
    let (longest, largest) = write_mib(&bench, &store, 270).await;
    assert!(longest < Duration::from_secs(3), "{longest:?}");
    assert!(largest > 256, "{largest} MiB: the reader holds nothing");
    reader.execute_batch("COMMIT").unwrap();
    await_log_of(&bench, 63);
    // And it is one to go on with.
    accept(&store, bench.append("first", JobEvent::processing(1))).await;
    assert!(log_mib(&bench) < 2);
    drop(store);
    assert!(crate::check(bench.path()).unwrap().is_sound());
}

#[tokio::test]
async fn readers_that_take_turns_do_not_keep_the_log_for_ever() {
    let bench = Bench::new();
    let store = bench.open();
    accept(&store, bench.append("first", JobEvent::queued())).await;
    let (database, stop) = (bench.database(), Arc::new(AtomicBool::new(false)));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (database, stop) = (database.clone(), Arc::clone(&stop));
            std::thread::spawn(move || {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
                let reader = Connection::open_with_flags(database, flags).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    reader
                        .execute_batch("BEGIN; SELECT count(*) FROM jobs;")
                        .unwrap();
                    std::thread::sleep(Duration::from_millis(15));
                    reader.execute_batch("COMMIT").unwrap();
                }
            })
        })
        .collect();
    let (_, largest) = write_mib(&bench, &store, 200).await;
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().unwrap();
    }
    assert!(largest < 100, "{largest} MiB");
}

#[tokio::test]
async fn a_write_that_someone_else_holds_up_is_not_now_and_changes_nothing() {
    let bench = Bench::new();
    let store = bench.open();
    accept(&store, bench.append_for("x", "a", JobEvent::queued())).await;
    let leased = claim(&store, NOW).await.remove(0);
    let counted = store.counters().await.unwrap();
    let holder = foreign(&bench, OpenFlags::SQLITE_OPEN_READ_WRITE);
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();

    let delivered = leased.settle(Outcome::Delivered, Some(attempt(1, 204)));
    let batch = || {
        let append = bench.append("b", JobEvent::queued());
        Arc::new(Batch {
            settles: vec![delivered.clone()],
            ..asking([Operation::Append(append)])
        })
    };
    let retention = Retention {
        jobs: Duration::ZERO,
        dead_letters: Duration::ZERO,
        ..Retention::DEFAULT
    };
    let asked = Instant::now();
    for _ in 0..10 {
        let refused = store.write(NOW, batch()).await.unwrap_err();
        assert_eq!(refused, StoreError::NotNow);
    }
    // Only the first waits, or nobody else would be heard meanwhile.
    assert!(
        asked.elapsed() < Duration::from_millis(900),
        "{:?}",
        asked.elapsed()
    );
    let not_now = Some(StoreError::NotNow);
    assert_eq!(store.claim(NOW, plenty(), 9).await.err(), not_now);
    assert_eq!(store.trim(NOW, retention, 9).await.err(), not_now);
    // Reading goes on.
    assert_eq!(store.counters().await.unwrap(), counted);
    assert!(store.job(&job("a")).await.unwrap().is_some());
    assert!(store.job(&job("b")).await.unwrap().is_none());

    holder.execute_batch("ROLLBACK").unwrap();
    let written = store.write(NOW, batch()).await.unwrap();
    assert_eq!(written.settles, [Ok(())], "the lease is as before");
    assert!(written.answers[0].is_ok());
    drop(store);
    assert!(crate::check(bench.path()).unwrap().is_sound());
}

/// How soon after a reader's end its log must have gone.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);
