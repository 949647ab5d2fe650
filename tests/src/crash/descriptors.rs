//! Too few descriptors: strangers who hold connections, and more receiving hosts
//! than there are descriptors, cost nobody a delivery.

#![expect(
    clippy::expect_used,
    reason = "a rig that can't do its part has failed"
)]

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use notify_core::JobStatus;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::closing::{arrivals, duplicates, must_arrive};
use super::load::Load;
use super::server::{Server, comes_within, command, wait_until};
use super::{Ledger, Scratch, report};
use crate::program::under_shell;
use crate::receiver::Receiver;

/// Connections that strangers try to hold.
const STRANGERS: usize = 300;

/// How long everything may take to arrive.
const ARRIVES_WITHIN: Duration = Duration::from_secs(20);

/// How soon the operator must have an answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// After so many calls without an answer it is clear that there is none.
const UNANSWERED_MAX: usize = 3;

/// Our own failures must not use these up.
const RETRIES: (&str, &str) = ("NOTIFY_RETRY_SCHEDULE", r#"["200ms","200ms"]"#);

/// What the shortage came to.
#[derive(Clone, Copy, Debug)]
pub struct Descriptors {
    /// Hosts that were told of an event.
    pub hosts: usize,
    /// Events that were acknowledged.
    pub acknowledged: usize,
    /// Of those, how many are gone or were not delivered.
    pub lost: usize,
    /// How many deliveries were given up.
    pub dead: usize,
    /// Of the operator's calls meanwhile, how many got no answer in time.
    pub unanswered: usize,
    /// Webhooks that came again though they had been taken.
    pub duplicates: usize,
}

impl Descriptors {
    /// Whether nobody but the strangers noticed.
    pub fn is_sound(&self) -> bool {
        (self.lost, self.dead, self.unanswered) == (0, 0, 0)
    }
}

/// Runs a server that may open 256 files, under load: with twice as many hosts as
/// `hosts`, then with so many more and strangers.
///
/// # Panics
/// If something could not be set up, or a log breaks a rule.
pub async fn run(hosts: u8) -> Descriptors {
    let scratch = Scratch::new("descriptors");
    let everywhere = Receiver::at_every_address().await.expect("a free port");
    let receiver = Receiver::start().await.expect("a receiver on loopback");
    let server = Server::spawn(under_shell(
        "ulimit -n 256",
        command(scratch.path(), &[RETRIES]),
    ))
    .await;
    let load = Load::start(2, &receiver.url());
    load.send_to(Some(server.address));
    wait_until("events are accepted", || load.ledger().len() > 20).await;

    // First nobody does wrong: there are more hosts than descriptors.
    let mut ledger = Ledger::default();
    let mut unanswered = 0;
    for network in [1, 2] {
        unanswered += tell(&server, &everywhere, network, hosts, &mut ledger).await;
    }
    let mut strangers = JoinSet::new();
    for _ in 0..STRANGERS {
        strangers.spawn(hold(server.address));
    }
    unanswered += tell(&server, &everywhere, 3, hosts, &mut ledger).await;
    let asked = tokio::time::timeout(ANSWERED_WITHIN, server.get("/v1/jobs/host-1-1"));
    unanswered += usize::from(!asked.await.is_ok_and(|answer| answer.status == 200));
    ledger.absorb(load.stop().await);
    let wanted = must_arrive(&ledger);
    let mut missing = wanted.len();
    comes_within(ARRIVES_WITHIN, || {
        let mut arrived = arrivals(&receiver);
        arrived.extend(arrivals(&everywhere));
        missing = wanted
            .iter()
            .filter(|id| !arrived.contains_key(*id))
            .count();
        missing == 0
    })
    .await;
    strangers.shutdown().await;
    let ended = server.stop().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let dead = ended.stderr.matches("a delivery was given up").count();
    let descriptors = Descriptors {
        hosts: usize::from(hosts) * 3,
        acknowledged: ledger.len(),
        lost: ledger.count_lost(scratch.path()).await + missing,
        dead,
        unanswered,
        duplicates: duplicates(&receiver) + duplicates(&everywhere),
    };
    report(format_args!(
        "256 descriptors, {STRANGERS} strangers, {} hosts: {} events acknowledged, {} lost, \
         {} given up, {} calls unanswered, {} duplicates",
        descriptors.hosts,
        descriptors.acknowledged,
        descriptors.lost,
        descriptors.dead,
        descriptors.unanswered,
        descriptors.duplicates,
    ));
    descriptors
}

/// Posts an event for each host of a network, and says how many calls got no
/// answer in time; after a few it gives up.
async fn tell(
    server: &Server,
    everywhere: &Receiver,
    network: u8,
    hosts: u8,
    ledger: &mut Ledger,
) -> usize {
    let mut unanswered = 0;
    for host in 1..=hosts {
        let url = everywhere.url_at(Ipv4Addr::new(127, 0, network, host));
        let job = format!("host-{network}-{host}");
        let path = format!("/v1/jobs/{job}/events?webhook_url={url}");
        let posted = server.post(&path, r#"{"status":"completed"}"#);
        match tokio::time::timeout(ANSWERED_WITHIN, posted).await {
            Ok(answer) if answer.status == 202 => {
                let id = answer.text("/id").parse().expect("an event's id");
                ledger.note(&job, id, JobStatus::Completed);
            }
            _ => unanswered += 1,
        }
        if unanswered == UNANSWERED_MAX {
            break;
        }
    }
    unanswered
}

/// A stranger: a connection that says nothing, and comes back when it is closed.
async fn hold(address: SocketAddr) {
    loop {
        if let Ok(stream) = TcpStream::connect(address).await {
            // Closed by the server, or never.
            while stream.readable().await.is_ok() {
                match stream.try_read(&mut [0; 16]) {
                    Ok(0) => break,
                    Err(error) if error.kind() != ErrorKind::WouldBlock => break,
                    _ => {}
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
