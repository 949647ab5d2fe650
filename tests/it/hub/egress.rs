//! The guard as a service sees it: the hub's own delivery over HTTP, real receivers on
//! this machine, and settings that let them be reached or not.

use std::net::Ipv4Addr;

use notify_core::DeadLetter;
use notify_hub::{DeadReason, EgressConfig, JobEvent, JobSpec, WebhookSpec};
use notify_tests::receiver::Receiver;

use super::*;

const LONG: Duration = Duration::from_secs(30);

/// Settings with which this machine may be reached, or one address of it.
fn allowing(cidr: &str) -> NotifierConfig {
    NotifierConfig {
        egress: EgressConfig {
            allow_cidrs: vec![cidr.to_owned()],
            allow_ports: vec!["1024-65535".to_owned()],
            ..Default::default()
        },
        retry_base_ms: 20,
        ..config()
    }
}

/// The only dead letter, once there is one.
async fn letter(notifier: &JobNotifier) -> DeadLetter {
    let letter = async {
        loop {
            let mut letters = notifier.dead_letters().await.unwrap();
            if let Some(letter) = letters.pop() {
                assert!(letters.is_empty());
                return letter;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, letter).await.unwrap()
}

#[tokio::test]
async fn by_default_nothing_of_this_machine_is_reached() {
    let receiver = Receiver::start().await.unwrap();
    let notifier = JobNotifier::new(config());
    let url = receiver.url();
    let (_, port) = url.rsplit_once(':').unwrap();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "10.0.0.1"] {
        let spec = JobSpec {
            job_id: None,
            webhook: Some(WebhookSpec {
                url: format!("http://{host}:{port}"),
                ..Default::default()
            }),
        };
        let refused = notifier.create_job(spec).await.unwrap_err();
        assert_eq!(refused.code(), "address_refused", "{host}");
        assert!(
            refused.to_string().contains("address not allowed: "),
            "{refused}"
        );
    }
    let told = notifier.notify("job", JobEvent::completed(1.into()), Some(&url));
    told.await.unwrap();
    let letter = letter(&notifier).await;
    assert_eq!(letter.reason, DeadReason::AddressRefused);
    assert_eq!((letter.attempts, &*letter.url), (0, &*url));
    notifier.shutdown(LONG).await;
    assert!(receiver.delivered().is_empty());
}

#[tokio::test]
async fn denied_wins_over_allowed() {
    let receiver = Receiver::at_every_address().await.unwrap();
    let mut settings = allowing("127.0.0.0/8");
    settings.egress.denied_cidrs = vec!["127.0.0.2/32".to_owned()];
    let notifier = JobNotifier::new(settings);
    for host in [2, 1] {
        let url = receiver.url_at(Ipv4Addr::new(127, 0, 0, host));
        let told = notifier.notify("job", JobEvent::queued(), Some(&url));
        told.await.unwrap();
    }
    receiver.wait_for(1).await;
    assert_eq!(letter(&notifier).await.reason, DeadReason::AddressRefused);
    notifier.shutdown(LONG).await;
    assert_eq!(receiver.delivered().len(), 1);
}

#[tokio::test]
async fn what_was_accepted_under_other_settings_is_judged_again() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::answering(|nth, _| if nth == 0 { 500 } else { 204 });
    let receiver = receiver.await.unwrap();
    let open = |settings| JobNotifier::open(dir.path(), settings).unwrap();

    let mut patient = allowing("127.0.0.0/8");
    // Not tried again before the restart.
    patient.retry_base_ms = 3_000;
    let notifier = open(patient);
    let url = receiver.url();
    let told = notifier.notify("job", JobEvent::queued(), Some(&url));
    told.await.unwrap();
    receiver.wait_for(1).await;
    notifier.shutdown(LONG).await;
    drop(notifier);

    let notifier = open(config());
    let refused = letter(&notifier).await;
    assert_eq!(refused.reason, DeadReason::AddressRefused);
    assert_eq!(refused.last_error, "address not allowed: port not allowed");
    assert_eq!(refused.url, url);
    assert_eq!(receiver.delivered().len(), 1, "nobody was connected to");
    // Redelivered, it is judged anew, and refused anew.
    assert_eq!(notifier.redeliver_all().await, Ok(1));
    assert_eq!(letter(&notifier).await.last_error, refused.last_error);
    notifier.shutdown(LONG).await;
    drop(notifier);

    let notifier = open(allowing("127.0.0.1/32"));
    assert_eq!(notifier.redeliver_all().await, Ok(1));
    let delivered = receiver.wait_for(2).await;
    assert_eq!(delivered[0].body, delivered[1].body);
    notifier.shutdown(LONG).await;
}

#[test]
fn a_transport_that_is_given_takes_no_rules_that_protect() {
    let build = |change: fn(&mut EgressConfig)| {
        let mut settings = config();
        change(&mut settings.egress);
        let sent = RecordingTransport::default();
        let built = JobNotifier::builder(settings).transport(sent).build();
        built.map(drop).map_err(|invalid| invalid.field)
    };
    let denied = build(|egress| egress.denied_cidrs = vec!["10.0.0.0/8".to_owned()]);
    assert_eq!(denied, Err("egress.denied_cidrs"));
    let https = build(|egress| egress.require_https = true);
    assert_eq!(https, Err("egress.require_https"));
    let allowed = build(|egress| egress.allow_cidrs = vec!["10.0.0.0/8".to_owned()]);
    assert_eq!(allowed, Ok(()));
}
