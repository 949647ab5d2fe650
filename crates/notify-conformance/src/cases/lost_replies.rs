//! Calls whose outcome is not known: whoever asks again finds them done once, or
//! not at all, but never by half.

use crate::Ask;
use crate::ask;
use notify_core::Archive;
use notify_core::delivery::{DeadReason, DeliveryState, Outcome};
use notify_core::retention::Retention;
use notify_core::store::{Append, Batch, DeadFilter, Refusal, Registration, StoreError, Webhook};
use notify_core::{JobEvent, Store};
use std::sync::Arc;
use std::time::Duration;

use super::rig::{PLENTY, Rig, completed, everywhere, job, secs, telling, url};
use super::snapshot::{endpoint_lines, snapshot};
use super::{Bounds, Draw, DurableFactory, Restart, StoreFactory};
use crate::flaky_store::FlakyStore;

/// How many of the calls that write are lost.
const LOST_PERCENT: u64 = 60;

/// Decides which.
const SEED: u64 = 11;

async fn flaky<F: StoreFactory>(factory: &F, lost_percent: u64) -> Rig<FlakyStore<F::Store>> {
    let store = factory.fresh(Bounds::default()).await;
    Rig::over(FlakyStore::new(store, SEED, lost_percent))
}

/// Makes a call again and again until its outcome is known.
async fn until_known<T>(call: impl AsyncFn() -> Result<T, StoreError>) -> T {
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(StoreError::OutcomeUnknown) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

pub async fn a_key_makes_one_event_of_many_tries(factory: &impl StoreFactory) {
    let rig = flaky(factory, LOST_PERCENT).await;
    let mut ids = [vec![], vec![], vec![]];
    for number in 0..120 {
        let which = number % 3;
        let append = rig.append_once(
            &format!("key-{number}"),
            &format!("job-{which}"),
            JobEvent::queued(),
        );
        let append = Append {
            webhook: Some(Webhook::To(url("a"))),
            ..append
        };
        let written = until_known(async || {
            let appends = vec![append.clone()];
            rig.store
                .write(
                    rig.now(),
                    Batch {
                        operations: ask::appends(appends),
                        ..Batch::default()
                    }
                    .into(),
                )
                .await
        })
        .await;
        ids[which].push(match ask::appended(&written).remove(0) {
            Ok(appended) => appended.record.id(),
            Err(Refusal::Duplicate {
                first,
                unsent: None,
            }) => first,
            Err(other) => panic!("{other:?}"),
        });
    }
    assert!(rig.store.lost() > 60, "{}", rig.store.lost());
    for (which, ids) in ids.iter().enumerate() {
        let events = rig.events(&format!("job-{which}")).await;
        let kept: Vec<_> = events.iter().map(|record| record.id()).collect();
        assert_eq!(&kept, ids);
        assert_eq!(
            rig.deliveries(&format!("job-{which}")).await.len(),
            ids.len()
        );
    }
}

pub async fn a_batch_is_there_or_absent_as_a_whole(factory: &impl StoreFactory) {
    let rig = flaky(factory, LOST_PERCENT).await;
    let names = ["a", "b", "c"];
    let mut written = 0;
    for _ in 0..60 {
        let appends = names.map(|name| rig.append_for(&url(name), name, JobEvent::queued()));
        let batch = Batch {
            operations: ask::appends(appends),
            may_lease: everywhere(),
            ..Batch::default()
        };
        let known = rig.store.write(rig.now(), Arc::new(batch)).await.is_ok();
        let head = rig
            .store
            .job(&job("a"))
            .await
            .unwrap()
            .map_or(0, |view| view.head.sequence);
        assert!(head == written || head == written + 1);
        assert!(head == written + 1 || !known);
        written = head;
        for name in names.iter().filter(|_| written > 0) {
            assert_eq!(rig.sequences(name).await, (1..=written).collect::<Vec<_>>());
            assert_eq!(rig.deliveries(name).await.len() as u64, written);
        }
        assert_eq!(rig.pending().await, 3 * written);
    }
    assert!((10..60).contains(&written), "{written}");
}

pub async fn a_settle_that_is_repeated_counts_once(factory: &impl StoreFactory) {
    let rig = flaky(factory, LOST_PERCENT).await;
    rig.store.lose(0);
    for number in 0..20 {
        rig.accept(rig.append_for(&url("a"), &format!("job-{number}"), completed()))
            .await;
    }
    let leased = rig.claim().await;
    rig.store.lose(LOST_PERCENT);
    let mut choices = [
        Outcome::Delivered,
        Outcome::Dead {
            reason: DeadReason::Exhausted,
        },
        Outcome::Retry {
            after: Duration::ZERO,
        },
    ]
    .into_iter()
    .cycle();
    for leased in leased {
        let (id, outcome) = (leased.delivery().id, choices.next().unwrap());
        let settle = rig.end(leased, outcome);
        until_known(async || {
            let settles = vec![settle.clone()];
            rig.store
                .write(
                    rig.now(),
                    Batch {
                        settles,
                        ..Batch::default()
                    }
                    .into(),
                )
                .await
        })
        .await;
        let view = rig.delivery(id).await;
        let state = match outcome {
            Outcome::Delivered => DeliveryState::Delivered,
            Outcome::Dead { .. } => DeliveryState::Dead,
            _ => DeliveryState::Pending,
        };
        assert_eq!((view.state, view.attempts.len()), (state, 1));
    }
    assert_eq!(rig.store.counters().await.unwrap().dead_letters, 7);
}

pub async fn a_redelivery_that_is_repeated_is_one_generation(factory: &impl StoreFactory) {
    let rig = flaky(factory, LOST_PERCENT).await;
    rig.store.lose(0);
    let id = rig.bury(&url("a"), "job", DeadReason::Exhausted).await;
    for generation in 1..9 {
        rig.store.lose(LOST_PERCENT);
        until_known(async || rig.store.redeliver(rig.now(), DeadFilter::default()).await).await;
        rig.store.lose(0);
        assert_eq!(rig.delivery(id).await.generation, generation);
        let leased = rig.claim_one().await;
        rig.settle(
            leased,
            Outcome::Dead {
                reason: DeadReason::Exhausted,
            },
        )
        .await;
    }
}

pub async fn a_registration_that_is_repeated_is_one(factory: &impl StoreFactory) {
    let rig = flaky(factory, LOST_PERCENT).await;
    for number in 0..20 {
        let name = format!("job-{number}");
        let registration = Registration {
            replace_token: true,
            webhook: Some(telling(&url(&name))),
            ..rig.registration(&name)
        };
        until_known(async || {
            let answer = rig.store.register(rig.now(), registration.clone()).await;
            answer.map(Result::unwrap)
        })
        .await;
        assert_eq!(
            rig.store.token(&job(&name)).await,
            Ok(Some(registration.token))
        );
        let view = rig.store.job(&job(&name)).await.unwrap().unwrap();
        assert_eq!(view.head.epoch, registration.fresh.epoch);
    }
    let counters = rig.store.counters().await.unwrap();
    assert_eq!(counters.jobs, 20);
    assert_eq!(endpoint_lines(&rig.store).await.len(), 20);
}

pub async fn tries_leave_no_trace(factory: &impl StoreFactory) {
    let (lossy, quiet) = (flaky(factory, LOST_PERCENT).await, flaky(factory, 0).await);
    let ended = (work(&lossy).await, work(&quiet).await);
    assert!(lossy.store.lost() > 50 && quiet.store.lost() == 0);
    assert_eq!(ended.0, ended.1);
}

/// A run of work in which every call is repeated until its outcome is known.
async fn work<S: Store>(rig: &Rig<FlakyStore<S>>) -> Vec<String> {
    let mut draw = Draw::new(SEED);
    let percent = rig.store.lost_percent();
    for step in 0..80 {
        let appends: Vec<Append> = (0..draw.below(4))
            .map(|nth| {
                let (key, of) = (
                    format!("key-{step}-{nth}"),
                    format!("job-{}", draw.below(5)),
                );
                let event = JobEvent::processing(u8::try_from(step).unwrap());
                let append = rig.append_once(&key, &of, event);
                Append {
                    webhook: draw
                        .chance(70)
                        .then(|| Webhook::To(url(draw.pick(&["a", "b"])))),
                    ..append
                }
            })
            .collect();
        // A lease whose answer is lost is lost, so that nobody could go on.
        rig.store.lose(0);
        let leased = rig.claim().await;
        rig.store.lose(percent);
        let settles: Vec<_> = leased
            .into_iter()
            .map(|leased| {
                let outcomes = [
                    Outcome::Delivered,
                    Outcome::Released,
                    Outcome::Dead {
                        reason: DeadReason::Exhausted,
                    },
                ];
                rig.end(leased, draw.pick(&outcomes))
            })
            .collect();
        until_known(async || {
            let (settles, appends) = (settles.clone(), appends.clone());
            rig.store
                .write(
                    rig.now(),
                    Batch {
                        settles,
                        operations: ask::appends(appends),
                        ..Batch::default()
                    }
                    .into(),
                )
                .await
        })
        .await;
        if draw.chance(10) {
            until_known(async || rig.store.redeliver(rig.now(), DeadFilter::default()).await).await;
        }
        if draw.chance(5) {
            until_known(async || {
                rig.store
                    .drop_dead_letters(rig.now(), DeadFilter::default())
                    .await
            })
            .await;
        }
        let retention = Retention {
            jobs: secs(3_600),
            dead_letters: secs(20),
            ..Retention::DEFAULT
        };
        until_known(async || rig.store.trim(rig.now(), retention, PLENTY).await).await;
        rig.wait(secs(1));
    }
    rig.store.lose(0);
    snapshot(&rig.store, rig.now(), &[]).await
}

pub async fn a_lease_whose_answer_was_lost_is_void_after_a_restart(factory: &impl DurableFactory) {
    for how in Restart::ALL {
        let rig = flaky(factory, 0).await;
        for name in ["a", "b"] {
            rig.accept(rig.append_for(&url(name), name, completed()))
                .await;
        }
        rig.store.lose(100);
        for _ in 0..5 {
            let lost = rig.store.claim(rig.now(), everywhere(), PLENTY).await;
            assert_eq!(lost.unwrap_err(), StoreError::OutcomeUnknown);
        }
        let rig = Rig::over(factory.restart(rig.store.into_inner(), how).await);
        assert_eq!(rig.claim().await.len(), 2);
    }
}
