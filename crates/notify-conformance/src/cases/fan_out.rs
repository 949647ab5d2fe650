//! Which endpoints an event is delivered to.

use crate::ask;
use notify_core::Archive;
use notify_core::delivery::{DeliveryState, Outcome};
use notify_core::endpoint::EventFilter;
use notify_core::store::{RegisterWebhook, Registration};
use notify_core::{EndpointUrl, JobEvent, JobStatus, Store};

use super::StoreFactory;
use super::rig::{Rig, completed, event, leased_sequences, telling, url};

/// Where a job's deliveries go, by the event's sequence.
async fn told<S: Store>(rig: &Rig<S>, job: &str) -> Vec<(u64, EndpointUrl)> {
    let deliveries = rig.deliveries(job).await.into_iter();
    let mut told: Vec<_> = deliveries
        .map(|view| (view.event_id.sequence(), view.url))
        .collect();
    told.sort();
    told
}

pub async fn the_jobs_endpoint_and_the_named_one_are_told(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("own")).await;
    let appended = rig
        .accept(rig.append_for(&url("named"), "job", JobEvent::queued()))
        .await;
    rig.accept(rig.append("job", completed())).await;
    let expected = [(1, url("named")), (1, url("own")), (2, url("own"))];
    assert_eq!(told(&rig, "job").await, expected);

    let mut lanes: Vec<_> = appended.lanes.iter().map(|lane| lane.endpoint).collect();
    let mut endpoints = vec![
        rig.endpoint_id(&url("own")).await,
        rig.endpoint_id(&url("named")).await,
    ];
    lanes.sort();
    endpoints.sort();
    assert_eq!(lanes, endpoints);
    assert!(
        appended
            .lanes
            .iter()
            .all(|lane| lane.redelivery.is_none() && lane.job == "job")
    );
}

pub async fn one_endpoint_is_told_once(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("own")).await;
    let appended = rig
        .accept(rig.append_for(&url("own"), "job", JobEvent::queued()))
        .await;
    assert_eq!(appended.lanes.len(), 1);
    assert_eq!(told(&rig, "job").await, [(1, url("own"))]);
}

pub async fn nobody_is_told_of_an_event_without_an_endpoint(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.register(rig.registration("job")).await.unwrap();
    assert!(
        rig.accept(rig.append("job", completed()))
            .await
            .lanes
            .is_empty()
    );
    assert!(rig.deliveries("job").await.is_empty());
    assert_eq!(rig.pending().await, 0);
}

pub async fn a_job_asks_for_some_statuses(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let webhook = RegisterWebhook {
        filter: EventFilter::only([JobStatus::Queued]),
        ..telling(&url("own"))
    };
    let registration = Registration {
        webhook: Some(webhook),
        ..rig.registration("job")
    };
    rig.register(registration).await.unwrap();
    for status in [JobStatus::Queued, JobStatus::Processing, JobStatus::Queued] {
        rig.accept(rig.append("job", event(status))).await;
    }
    // Whom the event itself names is told whatever the job asks for.
    rig.accept(rig.append_for(&url("own"), "job", JobEvent::processing(1)))
        .await;
    rig.accept(rig.append("job", JobEvent::cancelled())).await;
    let sequences: Vec<_> = told(&rig, "job")
        .await
        .into_iter()
        .map(|(sequence, _)| sequence)
        .collect();
    assert_eq!(sequences, [1, 3, 4, 5]);
}

pub async fn an_endpoint_is_one_by_its_url(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let first = rig
        .accept(rig.append_for(&url("a"), "one", JobEvent::queued()))
        .await;
    let second = rig
        .accept(rig.append_for(&url("a"), "two", JobEvent::queued()))
        .await;
    let other = rig
        .accept(rig.append_for(&url("b"), "one", JobEvent::queued()))
        .await;
    assert_eq!(first.lanes[0].endpoint, second.lanes[0].endpoint);
    assert_ne!(first.lanes[0].endpoint, other.lanes[0].endpoint);
    let endpoint = rig
        .store
        .endpoint(first.lanes[0].endpoint)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (
            endpoint.url.clone(),
            endpoint.enabled,
            endpoint.keyring.clone()
        ),
        (url("a"), true, None)
    );
    assert_eq!(rig.endpoint_id(&url("a")).await, endpoint.id);
}

pub async fn one_batch_makes_an_endpoint_once(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let jobs = ["one", "two", "three"];
    let appends = jobs.map(|job| rig.append_for(&url("a"), job, JobEvent::queued()));
    let written = rig.write(appends.into()).await;
    let endpoint = rig.endpoint_id(&url("a")).await;
    for append in ask::appended(&written) {
        assert_eq!(append.unwrap().lanes[0].endpoint, endpoint);
    }
}

pub async fn a_job_that_changes_its_endpoint_keeps_what_waits(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("old")).await;
    rig.accept(rig.append("job", JobEvent::queued())).await;
    rig.tell("job", &url("new")).await;
    rig.accept(rig.append("job", completed())).await;
    assert_eq!(told(&rig, "job").await, [(1, url("old")), (2, url("new"))]);
    let leased = rig.claim().await;
    assert_eq!(leased_sequences(&leased), [1, 2]);
    for leased in leased {
        rig.settle(leased, Outcome::Delivered).await;
    }
    assert!(
        rig.states("job")
            .await
            .iter()
            .all(|(_, state)| *state == DeliveryState::Delivered)
    );
}
