//! The crash rig's short forms. The long ones: `cargo xtask crash`.

use std::path::Path;

use notify_sqlite::Synchronous;
use notify_tests::crash::{full, kills, power, syscalls};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_by_kill_9() {
    let kills = kills::run(5).await;
    assert!(kills.acknowledged > 50, "{kills:?}");
    assert_eq!(kills.lost, 0, "{kills:?}");
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
