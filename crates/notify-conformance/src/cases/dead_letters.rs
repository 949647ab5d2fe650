//! Dead letters: what is kept of a delivery that was given up.

use crate::Ask;
use notify_core::Archive;
use notify_core::delivery::{DeadReason, DeliveryState, Outcome};
use notify_core::store::{DeadFilter, List};
use notify_core::{DeliveryId, JobId};

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
