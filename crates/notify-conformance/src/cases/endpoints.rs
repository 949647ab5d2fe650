//! Registrations: tokens, endpoints and their secrets.

use crate::Ask;
use notify_core::Archive;
use notify_core::endpoint::EventFilter;
use notify_core::store::{
    Batch, EndpointChange, Operation, Refusal, RegisterWebhook, Registration, StoreError,
};
use notify_core::{EndpointId, JobEvent, JobStatus, Keyring, Secret, Store};

use super::StoreFactory;
use super::rig::{Rig, job, paged, secs, telling, url};
use super::snapshot::{endpoint_lines, snapshot};

fn secret(text: &str) -> Secret {
    Secret::parse(text).unwrap()
}

/// A registration of a job that tells the endpoint `a`.
fn with_secrets<S: Store>(
    rig: &Rig<S>,
    of: &str,
    said: Option<&str>,
    if_new: Option<&str>,
) -> Registration {
    let webhook = RegisterWebhook {
        secret: said.map(secret),
        secret_if_new: if_new.map(secret),
        ..telling(&url("a"))
    };
    Registration {
        webhook: Some(webhook),
        ..rig.registration(of)
    }
}

async fn keyring<S: Store>(rig: &Rig<S>) -> Option<Keyring> {
    rig.store
        .endpoint_at(&url("a"))
        .await
        .unwrap()
        .unwrap()
        .keyring
        .clone()
}

pub async fn a_registration_makes_a_job_with_a_token(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    assert_eq!(rig.store.token(&job("job")).await, Ok(None));
    let registration = Registration {
        webhook: Some(RegisterWebhook {
            filter: EventFilter::only([JobStatus::Queued]),
            ..telling(&url("a"))
        }),
        ..rig.registration("job")
    };
    let (token, epoch) = (registration.token, registration.fresh.epoch);
    let registered = rig.register(registration).await.unwrap();
    assert_eq!(
        (registered.epoch, registered.used_new_secret),
        (epoch, false)
    );
    assert_eq!(rig.store.token(&job("job")).await, Ok(Some(token)));
    let view = rig.store.job(&job("job")).await.unwrap().unwrap();
    assert_eq!(
        (view.head.epoch, view.head.sequence, view.head.status),
        (epoch, 0, None)
    );
    assert_eq!(
        (view.registered, view.last, view.created_at),
        (true, None, rig.now())
    );
    assert_eq!(
        view.webhook,
        Some((url("a"), EventFilter::only([JobStatus::Queued])))
    );
    assert_eq!(
        rig.accept(rig.append("job", JobEvent::queued()))
            .await
            .record
            .id()
            .epoch(),
        epoch
    );
}

pub async fn a_registered_job_is_not_registered_again(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("a")).await;
    rig.wait(secs(1));
    let all = async || {
        (
            snapshot(&rig.store, rig.now(), &[]).await,
            endpoint_lines(&rig.store).await,
        )
    };
    let before = all().await;
    let webhook = Some(telling(&url("b")));
    let again = Registration {
        webhook,
        ..rig.registration("job")
    };
    assert!(matches!(rig.register(again).await, Err(Refusal::JobExists)));
    assert_eq!(all().await, before);
}

pub async fn a_token_is_replaced_on_demand(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let first = rig.tell("job", &url("a")).await;
    let again = Registration {
        replace_token: true,
        ..rig.registration("job")
    };
    let token = again.token;
    assert_eq!(rig.register(again).await.unwrap().epoch, first.epoch);
    assert_eq!(rig.store.token(&job("job")).await, Ok(Some(token)));
    // What the call does not speak of stays.
    let view = rig.store.job(&job("job")).await.unwrap().unwrap();
    assert_eq!(view.webhook, Some((url("a"), EventFilter::ALL)));
}

pub async fn a_job_that_an_event_made_can_be_registered(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let id = rig
        .accept(rig.append("job", JobEvent::queued()))
        .await
        .record
        .id();
    assert!(
        !rig.store
            .job(&job("job"))
            .await
            .unwrap()
            .unwrap()
            .registered
    );
    assert_eq!(rig.store.token(&job("job")).await, Ok(None));
    let registered = rig.register(rig.registration("job")).await.unwrap();
    assert_eq!(registered.epoch, id.epoch());
    assert!(
        rig.store
            .job(&job("job"))
            .await
            .unwrap()
            .unwrap()
            .registered
    );
    assert_eq!(rig.sequences("job").await, [1]);
}

pub async fn a_new_endpoint_takes_the_secret_for_new_ones(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let registered = rig
        .register(with_secrets(&rig, "one", None, Some("fresh")))
        .await
        .unwrap();
    assert!(registered.used_new_secret);
    assert_eq!(keyring(&rig).await, Some(Keyring::new(secret("fresh"))));
    // It is new only once.
    let registered = rig
        .register(with_secrets(&rig, "two", None, Some("other")))
        .await
        .unwrap();
    assert!(!registered.used_new_secret);
    assert_eq!(keyring(&rig).await, Some(Keyring::new(secret("fresh"))));
}

pub async fn a_secret_that_is_said_beats_the_one_for_new_endpoints(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let registered = rig
        .register(with_secrets(&rig, "one", Some("said"), Some("fresh")))
        .await
        .unwrap();
    assert!(!registered.used_new_secret);
    assert_eq!(keyring(&rig).await, Some(Keyring::new(secret("said"))));
    let registered = rig
        .register(with_secrets(&rig, "two", Some("said"), None))
        .await
        .unwrap();
    assert!(!registered.used_new_secret);
}

pub async fn another_secret_for_a_known_endpoint_is_a_conflict(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.register(with_secrets(&rig, "one", Some("first"), None))
        .await
        .unwrap();
    check_conflict(&rig, with_secrets(&rig, "two", Some("second"), None)).await;
    assert!(rig.store.job(&job("two")).await.unwrap().is_none());
}

pub async fn an_endpoint_without_its_own_secret_is_given_none(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("one", &url("a")).await;
    check_conflict(&rig, with_secrets(&rig, "one", Some("own"), None)).await;
    check_conflict(&rig, with_secrets(&rig, "two", Some("own"), Some("fresh"))).await;
}

async fn check_conflict<S: Store>(rig: &Rig<S>, registration: Registration) {
    let registration = Registration {
        replace_token: true,
        ..registration
    };
    let all = async || {
        (
            snapshot(&rig.store, rig.now(), &[]).await,
            endpoint_lines(&rig.store).await,
        )
    };
    let before = all().await;
    assert!(matches!(
        rig.register(registration).await,
        Err(Refusal::SecretConflict)
    ));
    assert_eq!(all().await, before);
}

/// Rotates the secret of `a`, the old one staying for a minute.
async fn rotate<S: Store>(rig: &Rig<S>, newest: &str) -> Result<Keyring, Refusal> {
    let id = rig.endpoint_id(&url("a")).await;
    let changed = rig.store.change_endpoint(rig.now(), id, rotation(newest));
    let changed = changed.await.unwrap()?;
    assert_eq!(keyring(rig).await, changed.keyring);
    Ok(changed.keyring.clone().unwrap())
}

pub(super) fn rotation(newest: &str) -> EndpointChange {
    EndpointChange::Rotate {
        secret: Box::new(secret(newest)),
        expire_old_after: secs(60),
    }
}

pub async fn a_rotated_secret_stays_active_for_a_while(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("a")).await;
    // Before it had one of its own, it was signed for with the operator's.
    let first = rotate(&rig, "é\"'é").await;
    assert_eq!(first, Ok(Keyring::new(secret("é\"'é"))));
    rig.wait(secs(1));
    let until = rig.now().plus(secs(60));
    let both = Keyring::rotating(secret("second"), secret("é\"'é"), Some(until));
    assert_eq!(rotate(&rig, "second").await, Ok(both.clone()));
    // A change whose reply was lost may be made again.
    rig.wait(secs(1));
    assert_eq!(rotate(&rig, "second").await, Ok(both));
    // The newest counts as the endpoint's secret.
    check_conflict(&rig, with_secrets(&rig, "two", Some("é\"'é"), None)).await;
}

pub async fn a_third_active_secret_is_refused(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("a")).await;
    rotate(&rig, "first").await.unwrap();
    rotate(&rig, "second").await.unwrap();
    let before = keyring(&rig).await;
    rig.wait(secs(59));
    let third = rotate(&rig, "third").await;
    assert_eq!(third, Err(Refusal::RotationInProgress));
    assert_eq!(keyring(&rig).await, before);
    rig.wait(secs(1));
    let until = rig.now().plus(secs(60));
    let later = Keyring::rotating(secret("third"), secret("second"), Some(until));
    assert_eq!(rotate(&rig, "third").await, Ok(later));
}

pub async fn rotations_at_one_moment_do_not_undo_each_other(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("a")).await;
    rotate(&rig, "first").await.unwrap();
    let endpoint = rig.endpoint_id(&url("a")).await;
    let changes = [rotation("second"), rotation("third")];
    let operations = changes.map(|change| Operation::ChangeEndpoint { endpoint, change });
    let written = rig
        .write_batch(Batch {
            operations: operations.into(),
            ..Batch::default()
        })
        .await;
    let outcomes: Vec<_> = written.answers.iter().map(Result::is_ok).collect();
    assert_eq!(outcomes, [true, false]);
    let kept = rig.store.endpoint(endpoint).await.unwrap().unwrap();
    let until = rig.now().plus(secs(60));
    let both = Keyring::rotating(secret("second"), secret("first"), Some(until));
    assert_eq!(kept.keyring.as_ref(), Some(&both));
}

pub async fn an_unknown_endpoint_is_not_changed(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let unknown = EndpointId::from_random(7);
    let change = EndpointChange::Enabled(false);
    for change in [change, rotation("new")] {
        let changed = rig.store.change_endpoint(rig.now(), unknown, change).await;
        assert_eq!(changed, Ok(Err(Refusal::NoEndpoint)));
    }
    let nothing: Result<_, StoreError> = Ok(None);
    assert_eq!(rig.store.endpoint(unknown).await, nothing);
    assert_eq!(rig.store.endpoint_at(&url("a")).await, nothing);
}

pub async fn endpoints_are_listed_newest_first(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let names = ["q", "c", "z", "a", "m"];
    for name in names {
        rig.tell(name, &url(name)).await;
        rig.wait(secs(1));
    }
    // Being named again makes an endpoint no newer.
    rig.accept(rig.append_for(&url("q"), "other", JobEvent::queued()))
        .await;
    let newest_first: Vec<_> = names.iter().rev().map(|name| url(name)).collect();
    for limit in [1, 2, 5, 6] {
        let listed = paged(limit, async |list| rig.store.endpoints(list).await.unwrap()).await;
        let urls: Vec<_> = listed
            .into_iter()
            .map(|endpoint| endpoint.url.clone())
            .collect();
        assert_eq!(urls, newest_first);
    }
}
