//! Registrations and endpoints, as they change.

use notify_core::store::{Answer, EndpointChange, Refusal, Registration};
use notify_core::{EndpointId, EndpointUrl};

use super::{Audit, Invariant, JobModel};

impl Audit {
    pub(super) fn register(
        &mut self,
        now: u64,
        registration: &Registration,
        answer: &Result<Answer, Refusal>,
    ) {
        let job = &registration.job;
        let Ok(Answer::Registered(registered)) = answer else {
            self.check(false, Invariant::I2, || {
                format!("{job} can't be registered: {answer:?}")
            });
            return;
        };
        let model = self.jobs.entry(job.clone());
        let model = model.or_insert_with(|| JobModel::new(registered.epoch, now));
        let same = model.epoch == registered.epoch;
        if let Some(webhook) = &registration.webhook {
            model.subscriber = Some((webhook.url.clone(), webhook.filter));
            if registered.used_new_secret {
                self.own_secrets.insert(webhook.url.as_str().to_owned());
            }
        }
        self.check(same, Invariant::I3, || format!("{job} changed its epoch"));
    }

    pub(super) fn change_endpoint(
        &mut self,
        now: u64,
        endpoint: EndpointId,
        change: &EndpointChange,
        answer: &Result<Answer, Refusal>,
    ) {
        let is_done = matches!(answer, Ok(Answer::Endpoint(_)));
        match change {
            EndpointChange::Enabled(true) if is_done => {
                self.changed_at = now;
                self.disabled.remove(&endpoint);
            }
            EndpointChange::Enabled(_) if is_done => {
                self.changed_at = now;
                self.disabled.insert(endpoint);
                self.fall_ill(now, endpoint);
            }
            // It was forgotten meanwhile.
            EndpointChange::Enabled(_) => {
                self.disabled.remove(&endpoint);
            }
            EndpointChange::Rotate { .. } => {
                let is_done = is_done || matches!(answer, Err(Refusal::RotationInProgress));
                self.check(is_done, Invariant::I11, || {
                    "an endpoint with secrets of its own was forgotten".to_owned()
                });
            }
        }
    }

    pub(super) fn has_secret(&self, url: &EndpointUrl) -> bool {
        self.own_secrets.contains(url.as_str())
    }
}
