//! A full disk: what is refused before it, what happens when it comes all the
//! same, and that all goes on afterwards.

#![expect(
    clippy::unwrap_used,
    reason = "a rig that can't do its part has failed"
)]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use super::closing::{arrivals, must_arrive};
use super::load::Load;
use super::power::Disk;
use super::server::{Server, command, wait_until};
use super::{Scratch, report};
use crate::receiver::Receiver;

/// What it came to.
#[derive(Clone, Copy, Debug)]
pub struct Full {
    /// Events that were acknowledged.
    pub acknowledged: usize,
    /// Calls that were refused because there was too little space.
    pub refused: u64,
    /// Of the acknowledged, how many are gone or were not delivered.
    pub lost: usize,
}

/// Fills a small disk under a server, first visibly, then behind its back, and
/// frees it again. `None` where mounting is not allowed.
///
/// # Panics
/// If something could not be set up, the server gives up, or a log breaks a rule.
pub async fn run() -> Option<Full> {
    let scratch = Scratch::new("full");
    let disk = Disk::make(scratch.path(), 64)?;
    let data = disk.path().join("data");
    let receiver = Receiver::start().await.expect("a receiver on loopback");
    let load = Load::start(4, &receiver.url());
    let settings = [("NOTIFY_STORE__MIN_FREE_BYTES", "8388608")];
    let server = Server::spawn(command(&data, &settings)).await;
    load.send_to(Some(server.address));
    wait_until("events are accepted", || load.ledger().len() > 50).await;

    // Less than the reserve is left: refused in time, and deliveries go on.
    let filler = disk.path().join("filler");
    fill(&filler, 6 * 1024 * 1024);
    let refused = load.refused();
    wait_until("events are refused", || load.refused() > refused + 10).await;
    let accepted = must_arrive(&load.ledger());
    wait_until("deliveries go on", || {
        let arrived = arrivals(&receiver);
        accepted.iter().all(|id| arrived.contains_key(id))
    })
    .await;
    fs::remove_file(&filler).unwrap();
    let before = load.ledger().len();
    wait_until("events are accepted again", || {
        load.ledger().len() > before + 50
    })
    .await;

    // All of it goes at once, behind the server's back.
    fill(&filler, 0);
    let refused = load.refused();
    wait_until("events are refused", || load.refused() > refused + 10).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    fs::remove_file(&filler).unwrap();
    let before = load.ledger().len();
    wait_until("nothing is poisoned", || load.ledger().len() > before + 50).await;

    let refused = load.refused();
    let ledger = load.stop().await;
    let wanted = must_arrive(&ledger);
    let mut missing = wanted.len();
    wait_until("the backlog drains", || {
        let arrived = arrivals(&receiver);
        missing = wanted
            .iter()
            .filter(|id| !arrived.contains_key(*id))
            .count();
        missing == 0
    })
    .await;
    let ended = server.stop().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let lost = ledger.count_lost(&data).await + missing;
    let full = Full {
        acknowledged: ledger.len(),
        refused,
        lost,
    };
    report(format_args!(
        "full disk: {} events acknowledged, {} calls refused, {} lost",
        full.acknowledged, full.refused, full.lost
    ));
    Some(full)
}

/// Writes until only so many bytes are left.
fn fill(filler: &Path, left: u64) {
    let mut file = fs::File::create(filler).unwrap();
    let chunk = vec![0x5a; 64 * 1024];
    while rustix::fs::statvfs(filler).unwrap().f_bavail * 4096 > left {
        if file.write_all(&chunk).is_err() {
            break;
        }
    }
    let _ = file.sync_all();
}
