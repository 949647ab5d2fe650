//! The look at the log, against what SQLite itself makes of it.

use proptest::prelude::*;
use rusqlite::Connection;

use super::*;
use crate::wal::{self, Log};

/// A log of several commits, after a round that left longer remains behind it.
fn written(bench: &Bench) -> PathBuf {
    let conn = Connection::open(bench.dir.path().join("notify.db")).unwrap();
    conn.execute_batch(
        "PRAGMA page_size = 512; PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
         CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB);",
    )
    .unwrap();
    let insert = |commits, bytes| {
        for _ in 0..commits {
            conn.execute("INSERT INTO t (b) VALUES (randomblob(?1))", [bytes])
                .unwrap();
        }
    };
    insert(12, 1_500);
    conn.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))
        .unwrap();
    insert(5, 900);
    let left = bench.path();
    copy(bench.dir.path(), &left);
    left
}

/// How many frames SQLite finds in the log of a directory.
fn found_by_sqlite(dir: &Path) -> u64 {
    let conn = Connection::open(dir.join("notify.db")).unwrap();
    let _ = conn.execute_batch("PRAGMA journal_mode = WAL; BEGIN; SELECT * FROM t; COMMIT;");
    let frames = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        row.get::<_, i64>(1)
    });
    u64::try_from(frames.unwrap()).unwrap()
}

#[test]
fn a_whole_log_is_kept_and_its_remains_do_not_count() {
    let bench = Bench::new();
    let dir = written(&bench);
    let log = wal::look(&dir.join("notify.db-wal")).unwrap();
    let bytes = std::fs::metadata(dir.join("notify.db-wal")).unwrap().len();
    assert!(log.kept > 5 && 32 + log.kept * 536 < bytes, "{log:?}");
    assert_eq!((log.cut, log.headless), (0, false));
    assert_eq!(found_by_sqlite(&dir), log.kept);
}

#[test]
fn no_log_is_an_empty_one() {
    let bench = Bench::new();
    let none = bench.dir.path().join("none");
    assert_eq!(wal::look(&none).unwrap(), Log::default());
    std::fs::write(&none, b"").unwrap();
    assert_eq!(wal::look(&none).unwrap(), Log::default());
}

#[test]
fn a_log_that_ends_in_the_middle_of_a_frame_is_not_damaged() {
    let bench = Bench::new();
    let dir = written(&bench);
    let file = dir.join("notify.db-wal");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..32 + 2 * 536 + 100]).unwrap();
    let log = wal::look(&file).unwrap();
    assert_eq!((log.cut, log.headless), (0, false));
    assert_eq!(found_by_sqlite(&dir), log.kept);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn wherever_a_byte_is_flipped_the_cut_is_where_sqlite_makes_it(
        position in any::<proptest::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let bench = Bench::new();
        let dir = written(&bench);
        let file = dir.join("notify.db-wal");
        let whole = wal::look(&file).unwrap();
        let mut bytes = std::fs::read(&file).unwrap();
        let used = usize::try_from(32 + whole.kept * 536).unwrap();
        let position = position.index(used);
        bytes[position] ^= 1_u8 << bit;
        std::fs::write(&file, bytes).unwrap();

        let log = wal::look(&file).unwrap();
        // With another salt, the last frame looks like what an earlier round left.
        let last = position >= used - 536;
        prop_assert!(log.headless || log.cut > 0 || last, "{:?}", log);
        let all = log.kept + log.cut;
        let salt = (8..16).contains(&(position.saturating_sub(32) % 536));
        prop_assert!(log.headless || all == whole.kept || salt, "{:?}", log);
        prop_assert!(log.kept < whole.kept);
        prop_assert_eq!(found_by_sqlite(&dir), log.kept);
    }
}
