//! Dead letters: what is kept of a delivery that was given up.

use crate::Ask;
use notify_core::Archive;
use notify_core::delivery::{DeadReason, DeliveryState, Outcome};
use notify_core::retention::Retention;
use notify_core::store::{DeadFilter, List, Store};
use notify_core::{DeliveryId, JobEvent, JobId};

use super::StoreFactory;
use super::rig::{Rig, completed, job, paged, secs, url};

use DeadReason::{AddressRefused, Exhausted, Expired, Gone};

pub(super) fn of(delivery: DeliveryId) -> DeadFilter {
    DeadFilter {
        delivery: Some(delivery),
        ..DeadFilter::default()
    }
}

/// A rig with dead letters of two jobs, two endpoints and four reasons, one a
/// second, and their ids, oldest first.
pub(super) async fn graveyard<F: StoreFactory>(factory: &F) -> (Rig<F::Store>, Vec<DeliveryId>) {
    let rig = Rig::fresh(factory).await;
    let mut ids = Vec::new();
    for (endpoint, job, reason) in [
        ("a", "one", Exhausted),
        ("b", "one", Expired),
        ("a", "two", AddressRefused),
        ("b", "two", Gone),
    ] {
        ids.push(rig.bury(&url(endpoint), job, reason).await);
        rig.wait(secs(1));
    }
    (rig, ids)
}

/// Filters, and which letters of the graveyard each of them means.
pub(super) fn filters(ids: &[DeliveryId], one: &JobId) -> [(DeadFilter, Vec<usize>); 4] {
    let all = DeadFilter::default;
    [
        (all(), vec![0, 1, 2, 3]),
        (of(ids[2]), vec![2]),
        (
            DeadFilter {
                job: Some(one.clone()),
                ..all()
            },
            vec![0, 1],
        ),
        (
            DeadFilter {
                reason: Some(Expired),
                ..all()
            },
            vec![1],
        ),
    ]
}

pub async fn a_dead_letter_keeps_its_own_copy(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let appended = rig
        .accept(rig.append_for(&url("a"), "job", completed()))
        .await;
    let leased = rig.claim_one().await;
    rig.retry_in(leased, secs(5)).await;
    rig.wait(secs(5));
    let leased = rig.claim_one().await;
    let id = leased.delivery().id;
    rig.settle(leased, Outcome::Dead { reason: Exhausted })
        .await;
    let letter = rig.dead(DeadFilter::default()).await.remove(0);
    assert_eq!(
        (letter.id, letter.job_id, letter.event_id),
        (id, job("job"), appended.record.id())
    );
    assert_eq!(
        (letter.endpoint_id, letter.url),
        (
            Some(appended.lanes[0].endpoint),
            url("a").as_str().to_owned()
        )
    );
    assert_eq!(
        (letter.reason, letter.attempts, letter.died_at),
        (Exhausted, 2, rig.now())
    );
    assert_eq!(letter.last_error, "HTTP status 500");
    let body = appended.record.webhook_body(&job("job"));
    assert_eq!(letter.body, body);
    assert_eq!(
        letter.payload,
        serde_json::from_slice::<serde_json::Value>(&body).unwrap()
    );
    let view = rig.delivery(id).await;
    assert_eq!(
        (view.state, &view.attempts),
        (DeliveryState::Dead, &letter.history)
    );
    assert_eq!(letter.history.len(), 2);
}

pub async fn dead_letters_are_found_by_each_field(factory: &impl StoreFactory) {
    let (rig, ids) = graveyard(factory).await;
    let b = rig.endpoint_id(&url("b")).await;
    let died_at = async |nth: usize| rig.dead(of(ids[nth])).await[0].died_at;
    let (second, last) = (died_at(1).await, died_at(3).await);
    let all = DeadFilter::default;
    let third = rig.dead(of(ids[2])).await[0].event_id;
    let mut cases = filters(&ids, &job("one")).to_vec();
    cases.extend([
        (
            DeadFilter {
                event: Some(third),
                ..all()
            },
            vec![2],
        ),
        (
            DeadFilter {
                endpoint: Some(b),
                ..all()
            },
            vec![1, 3],
        ),
        (
            DeadFilter {
                since: Some(second),
                ..all()
            },
            vec![1, 2, 3],
        ),
        (
            DeadFilter {
                until: Some(last),
                ..all()
            },
            vec![0, 1, 2],
        ),
        (
            DeadFilter {
                since: Some(second),
                until: Some(last),
                ..all()
            },
            vec![1, 2],
        ),
        (
            DeadFilter {
                endpoint: Some(b),
                job: Some(job("two")),
                ..all()
            },
            vec![3],
        ),
        (
            DeadFilter {
                reason: Some(Gone),
                job: Some(job("one")),
                ..all()
            },
            vec![],
        ),
        (
            DeadFilter {
                job: Some(job("none")),
                ..all()
            },
            vec![],
        ),
        (
            DeadFilter {
                reason: Some(Exhausted),
                ..of(ids[1])
            },
            vec![],
        ),
    ]);
    for (filter, expected) in cases {
        let expected: Vec<_> = expected.into_iter().rev().map(|nth| ids[nth]).collect();
        let found: Vec<_> = rig
            .dead(filter.clone())
            .await
            .iter()
            .map(|letter| letter.id)
            .collect();
        assert_eq!(found, expected, "{filter:?}");
        assert_eq!(
            rig.store.count_dead_letters(filter.clone()).await,
            Ok(expected.len() as u64)
        );
        let page = async |list| rig.store.dead_letters(filter.clone(), list).await.unwrap();
        let paged: Vec<_> = paged(1, page)
            .await
            .iter()
            .map(|letter| letter.id)
            .collect();
        assert_eq!(paged, expected, "{filter:?}");
    }
}

pub async fn dead_letters_of_one_moment_are_paged_once_each(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    for number in 0..10 {
        rig.bury(&url("a"), &format!("job-{number}"), Exhausted)
            .await;
    }
    let page = async |list: List| {
        rig.store
            .dead_letters(DeadFilter::default(), list)
            .await
            .unwrap()
    };
    let mut ids: Vec<_> = paged(3, page)
        .await
        .iter()
        .map(|letter| letter.id)
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 10);
}

pub async fn dropping_forgets_what_matches(factory: &impl StoreFactory) {
    for which in 0..4 {
        let (rig, ids) = graveyard(factory).await;
        let (filter, matching) = filters(&ids, &job("one"))[which].clone();
        let count = matching.len() as u64;
        assert_eq!(
            rig.store.drop_dead_letters(rig.now(), filter.clone()).await,
            Ok(count)
        );
        assert_eq!(
            rig.store.drop_dead_letters(rig.now(), filter.clone()).await,
            Ok(0)
        );
        assert_eq!(
            rig.store.count_dead_letters(DeadFilter::default()).await,
            Ok(4 - count)
        );
        assert_eq!(rig.store.redeliver(rig.now(), filter).await, Ok(0));
    }
}

/// So many may be kept of an endpoint.
fn of_one(per_endpoint_max: u64) -> Retention {
    Retention {
        dead_letters_per_endpoint_max: per_endpoint_max,
        ..Retention::DEFAULT
    }
}

/// Whose dead letters are left, oldest first.
async fn left<S: Store>(rig: &Rig<S>) -> Vec<String> {
    let letters = rig.dead(DeadFilter::default()).await;
    let jobs = letters.iter().rev().map(|letter| letter.job_id.to_string());
    jobs.collect()
}

/// A rig with dead letters of five jobs at one endpoint, and of two at another.
async fn crowded<F: StoreFactory>(factory: &F) -> Rig<F::Store> {
    let rig = Rig::fresh(factory).await;
    for number in 0..5 {
        if number < 2 {
            let of = format!("b-{number}");
            rig.bury(&url("b"), &of, Exhausted).await;
        }
        rig.bury(&url("a"), &format!("a-{number}"), Exhausted).await;
    }
    rig
}

pub async fn of_an_endpoint_with_too_many_the_oldest_make_room(factory: &impl StoreFactory) {
    let rig = crowded(factory).await;
    assert_eq!(rig.trim(of_one(5)).await, 0);
    let trimmed = rig.store.trim(rig.now(), of_one(3), 9).await.unwrap();
    assert_eq!(
        (trimmed.forgotten, trimmed.crowded_out, trimmed.more),
        (2, 2, false)
    );
    assert_eq!(left(&rig).await, ["b-0", "b-1", "a-2", "a-3", "a-4"]);
    assert_eq!(rig.store.counters().await.unwrap().dead_letters, 5);
    assert_eq!(rig.trim(of_one(3)).await, 0);
}

pub async fn making_room_for_dead_letters_keeps_to_its_limit(factory: &impl StoreFactory) {
    let rig = crowded(factory).await;
    let mut steps = Vec::new();
    for _ in 0..4 {
        let trimmed = rig.store.trim(rig.now(), of_one(2), 1).await.unwrap();
        steps.push((trimmed.crowded_out, trimmed.more));
    }
    assert_eq!(steps, [(1, true), (1, true), (1, false), (0, false)]);
}

pub async fn of_the_largest_endpoint_the_oldest_make_room(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    for (of, at, bytes) in [
        ("many-0", "a", 1_000),
        ("large-0", "b", 5_000),
        ("many-1", "a", 1_000),
        ("large-1", "b", 3_000),
        ("many-2", "a", 1_000),
    ] {
        let event = JobEvent {
            error: Some("x".repeat(bytes)),
            ..JobEvent::queued()
        };
        rig.accept(rig.append_for(&url(at), of, event)).await;
        let leased = rig.claim_one().await;
        let reason = Exhausted;
        rig.settle(leased, Outcome::Dead { reason }).await;
    }
    let within = |bytes_max| Retention {
        dead_letter_bytes_max: bytes_max,
        ..Retention::DEFAULT
    };
    assert_eq!(rig.trim(within(20_000)).await, 0);
    // The largest, though it is neither the oldest nor one of many.
    assert_eq!(rig.trim(within(11_000)).await, 1);
    assert_eq!(left(&rig).await, ["many-0", "many-1", "large-1", "many-2"]);
    // From now on the many are larger together.
    assert_eq!(rig.trim(within(8_500)).await, 1);
    assert_eq!(left(&rig).await, ["many-1", "large-1", "many-2"]);
    assert_eq!(rig.trim(within(0)).await, 3);
}

pub async fn what_is_redelivered_or_dropped_takes_no_room(factory: &impl StoreFactory) {
    let rig = crowded(factory).await;
    assert_eq!(rig.trim(of_one(5)).await, 0);
    let of_job = |name: &str| DeadFilter {
        job: Some(job(name)),
        ..DeadFilter::default()
    };
    let again = rig.store.redeliver(rig.now(), of_job("a-0")).await;
    let dropped = rig.store.drop_dead_letters(rig.now(), of_job("a-1")).await;
    assert_eq!((again, dropped), (Ok(1), Ok(1)));
    assert_eq!(rig.trim(of_one(3)).await, 0);
    // Given up again, it is the newest.
    let leased = rig.claim_one().await;
    let reason = Exhausted;
    rig.settle(leased, Outcome::Dead { reason }).await;
    assert_eq!(rig.trim(of_one(3)).await, 1);
    assert_eq!(left(&rig).await, ["b-0", "b-1", "a-3", "a-4", "a-0"]);
}
