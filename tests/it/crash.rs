//! The crash rig's short forms. The long ones: `cargo xtask crash`.

use std::path::Path;
use std::time::Duration;

use notify_sqlite::Synchronous;
use notify_tests::crash::quiet::Quiet;
use notify_tests::crash::{
    backup, descriptors, full, holders, kills, power, quiet, readers, syscalls,
};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_by_kill_9() {
    let kills = kills::run(5).await;
    assert!(kills.acknowledged > 50, "{kills:?}");
    assert_eq!(kills.lost, 0, "{kills:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_is_whole() {
    let backups = backup::run(2).await;
    assert!(backups.acknowledged > 50, "{backups:?}");
    assert!(backups.is_sound(), "{backups:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_descriptors_cost_nobody_a_delivery() {
    let descriptors = descriptors::run(140).await;
    assert!(descriptors.acknowledged > 420, "{descriptors:?}");
    assert!(descriptors.is_sound(), "{descriptors:?}");
}

mod foreign {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn nobody_waits_for_a_long_reader() {
        let readers = readers::run(264 * 1024 * 1024, Duration::from_secs(2)).await;
        assert!(readers.is_sound(), "{readers:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_foreign_write_lock_is_not_the_end() {
        let holds = [1, 6].map(Duration::from_secs);
        let holders = holders::run(&holds, 3).await;
        assert!(holders.acknowledged > 50, "{holders:?}");
        assert!(holders.is_sound(), "{holders:?}");
    }
}

mod clock {
    use notify_tests::crash::clock::{EVERY_WHEN, EVERY_WRONG, run};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_wrong_clock_stalls_nothing_and_takes_nothing_young() {
        let clocks = run(&EVERY_WRONG, &EVERY_WHEN).await;
        let unsound: Vec<_> = clocks.iter().filter(|clock| !clock.is_sound()).collect();
        assert!(unsound.is_empty(), "{unsound:#?}");
    }
}

/// `strace` on a program that runs already, which takes root on many machines.
mod attach {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_disk_error_in_a_trim_ends_the_program() {
        let error = quiet::run(Quiet::Trim).await;
        assert!(error.is_sound(), "{error:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_disk_error_in_a_registration_ends_the_program() {
        let error = quiet::run(Quiet::Registration).await;
        assert!(error.is_sound(), "{error:?}");
    }
}

mod strace {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_acknowledged_is_lost_by_a_kill_at_any_system_call() {
        let swept =
            syscalls::kill_at(&["pwrite64", "fdatasync"], [9, 14, 21, 40].into_iter()).await;
        assert!(swept.killed >= 6 && swept.acknowledged > 0, "{swept:?}");
        assert_eq!(swept.lost, 0, "{swept:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_disk_error_ends_the_program_with_a_reason() {
        let error = syscalls::disk_error(25).await;
        assert_eq!((error.code, error.lost), (Some(4), 0), "{}", error.said);
        assert!(
            error.said.contains("the store has failed"),
            "{}",
            error.said
        );
    }
}

mod root {
    use super::*;

    fn crash() -> &'static Path {
        Path::new(env!("CARGO_BIN_EXE_crash"))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_acknowledged_is_lost_by_a_power_cut() {
        let cuts = power::run(crash(), 2, Synchronous::Full)
            .await
            .expect("mounting is allowed");
        assert!(cuts.acknowledged > 50, "{cuts:?}");
        assert_eq!(cuts.lost, 0, "{cuts:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_rig_sees_what_a_store_that_does_not_wait_for_the_disk_loses() {
        let cuts = power::run(crash(), 3, Synchronous::DangerousNormal).await;
        let cuts = cuts.expect("mounting is allowed");
        assert!(cuts.lost > 0, "{cuts:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_full_disk_refuses_in_time_and_goes_on_afterwards() {
        let full = full::run().await.expect("mounting is allowed");
        assert!(full.refused > 20, "{full:?}");
        assert_eq!(full.lost, 0, "{full:?}");
    }
}
