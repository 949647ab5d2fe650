//! Damaged files: what is refused, what is named, what is never served.

use std::collections::BTreeSet;

use notify_core::EventRecord;
use notify_core::store::DeadFilter;

use super::*;

/// Flips bytes all over the files and looks at what is served: it may be an
/// error, or less than there was, but never something that was not there.
#[tokio::test]
async fn flipped_bytes_are_never_served() {
    let bench = Bench::new();
    let store = bench.open();
    let mut truth = BTreeSet::new();
    fill(&bench, &store, 0..6, &mut truth).await;
    drop(store);
    let store = bench.open();
    fill(&bench, &store, 6..12, &mut truth).await;
    let whole = bench.dir.path().join("whole");
    copy(&bench.path(), &whole);
    drop(store);
    serve(&bench.open(), &mut truth).await;
    assert!(truth.len() > 40, "{}", truth.len());

    for file in ["notify.db", "notify.db-wal"] {
        let bytes = std::fs::read(whole.join(file)).unwrap();
        let stride = bytes.len() / FLIPS + 1;
        for (round, position) in (0..bytes.len()).step_by(stride).enumerate() {
            let case = bench.dir.path().join(format!("{file}-{position}"));
            copy(&whole, &case);
            let mut flipped = bytes.clone();
            flipped[position] ^= 1 << (round % 8);
            std::fs::write(case.join(file), flipped).unwrap();
            let mut served = BTreeSet::new();
            if let Ok(store) = SqliteStore::open(&case, options()) {
                serve(&store, &mut served).await;
            }
            let invented: Vec<_> = served.difference(&truth).collect();
            assert!(invented.is_empty(), "{file} at {position}: {invented:?}");
            let _ = crate::check(&case);
            std::fs::remove_dir_all(case).unwrap();
        }
    }
}

/// Makes every kind of row there is, and remembers what was to be sent.
async fn fill(
    bench: &Bench,
    store: &SqliteStore,
    rounds: std::ops::Range<u32>,
    truth: &mut BTreeSet<String>,
) {
    for round in rounds {
        let to = format!("job-{round}");
        let own = format!("own-{round}");
        let registration = bench.registration(&to, Some(&own));
        register(store, registration).await;
        let event = JobEvent::processing(1);
        let key = IdempotencyKey::parse("key").unwrap();
        let append = Append {
            idempotency: Some((key, fingerprint(&event))),
            ..bench.append_for("x", &to, event)
        };
        expect(store, append, truth).await;
        let leased = claim(store, NOW).await;
        let after = Duration::from_secs(1);
        let ends = leased.into_iter().enumerate().map(|(place, leased)| {
            match (place + round as usize) % 3 {
                0 => dead(leased, DeadReason::Exhausted),
                1 => leased.settle(Outcome::Delivered, Some(attempt(1, 204))),
                _ => leased.settle(Outcome::Retry { after }, Some(attempt(1, 503))),
            }
        });
        settle(store, NOW, ends.collect()).await;
        expect(store, bench.append(&to, JobEvent::processing(2)), truth).await;
        if round % 2 == 0 {
            let failed = bench.append_for("y", &to, JobEvent::failed("no"));
            expect(store, failed, truth).await;
        }
    }
}

/// All that a store hands out and that must be right, as text. States may be
/// those of an earlier commit, so they are left out.
async fn serve(store: &SqliteStore, served: &mut BTreeSet<String>) {
    for round in 0..12 {
        let id = job(&format!("job-{round}"));
        if let Ok(Some(page)) = store.read(&id, 0, 100).await {
            served.extend(
                page.events
                    .iter()
                    .map(|record| format!("{id} {}", String::from_utf8_lossy(&record.block()))),
            );
        }
        if let Ok(Some(token)) = store.token(&id).await {
            served.insert(format!("{id} {token:?}"));
        }
        if let Ok(deliveries) = store.deliveries(&id, all()).await {
            served.extend(deliveries.items.iter().map(|view| {
                format!(
                    "{} {} {} {}",
                    view.id,
                    view.job_id,
                    view.event_id,
                    view.url.as_str()
                )
            }));
        }
    }
    if let Ok(letters) = store.dead_letters(DeadFilter::default(), all()).await {
        served.extend(letters.items.iter().map(|letter| format!("{letter:?}")));
    }
    if let Ok(endpoints) = store.endpoints(all()).await {
        served.extend(endpoints.items.iter().map(|endpoint| {
            let secret = endpoint.keyring.as_ref().map(|ring| ring.newest().expose());
            format!("{} {} {secret:?}", endpoint.id, endpoint.url.as_str())
        }));
    }
    // As the hub does, also with what it reads.
    let later = NOW.plus(Duration::from_secs(10));
    if let Ok(written) = store.claim(later, plenty(), 1_000).await {
        let mut settles = Vec::new();
        for leased in written.leased {
            let delivery = leased.delivery();
            let (url, record) = (&delivery.endpoint.url, &delivery.record);
            served.insert(sent(url, &delivery.lane.job, record));
            settles.push(leased.settle(Outcome::Released, None));
        }
        let batch = Batch {
            settles,
            ..Batch::default()
        };
        let _ = store.write(later, Arc::new(batch)).await;
    }
}

/// Accepts an event, and remembers who is to be told of it.
async fn expect(store: &SqliteStore, append: Append, truth: &mut BTreeSet<String>) {
    let accepted = accept(store, append).await;
    for lane in accepted.lanes {
        let endpoint = store.endpoint(lane.endpoint).await.unwrap().unwrap();
        truth.insert(sent(&endpoint.url, &lane.job, &accepted.record));
    }
}

fn sent(url: &EndpointUrl, job: &JobId, record: &EventRecord) -> String {
    let body = record.webhook_body(job);
    format!("{} {}", url.as_str(), String::from_utf8_lossy(&body))
}

/// How many bytes of each file are flipped, one at a time.
const FLIPS: usize = 150;
