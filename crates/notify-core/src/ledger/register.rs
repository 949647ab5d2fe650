//! Registering a job: its token, and whom it tells.

use super::{Bounds, Deciding};
use crate::endpoint::{Endpoint, Subscriber};
use crate::id::EndpointId;
use crate::signing::Keyring;
use crate::store::{FreshIds, Refusal, RegisterWebhook, Registered, Registration};

impl Deciding<'_> {
    pub(super) fn register(&mut self, registration: &Registration) -> Result<Registered, Refusal> {
        let known = self.rows.job(&registration.job)?;
        if !registration.replace_token && known.is_some_and(|job| job.token.is_some()) {
            return Err(Refusal::JobExists);
        }
        if known.is_none() {
            if Bounds::JOB_BYTES > self.bounds.bytes_left {
                return Err(Refusal::Full);
            }
            if self.bounds.is_low {
                return Err(Refusal::NoSpace);
            }
            self.bounds.bytes_left -= Bounds::JOB_BYTES;
        }
        let told = match &registration.webhook {
            None => None,
            Some(webhook) => {
                let (endpoint, used) = self.subscribe(webhook, registration.fresh)?;
                let filter = webhook.filter;
                Some((Subscriber { endpoint, filter }, used))
            }
        };
        self.ensure_job(&registration.job, registration.fresh);
        let Some(job) = self.rows.jobs.change(&registration.job) else {
            return Err(Refusal::Internal);
        };
        job.token = Some(registration.token);
        job.updated_at = self.now;
        if let Some((subscriber, _)) = told {
            job.webhook = Some(subscriber);
        }
        Ok(Registered {
            epoch: job.head.epoch,
            used_new_secret: told.is_some_and(|(_, used)| used),
        })
    }

    /// The endpoint that a registration names, and whether the new secret was put
    /// to use.
    fn subscribe(
        &mut self,
        webhook: &RegisterWebhook,
        fresh: FreshIds,
    ) -> Result<(EndpointId, bool), Refusal> {
        let known = self.rows.endpoint_at(&webhook.url)?;
        let known = known.map(|row| (row.endpoint.id, row.endpoint.keyring.clone()));
        match (&known, &webhook.secret) {
            (Some((_, Some(own))), Some(secret)) if own.newest() != secret => {
                return Err(Refusal::SecretConflict);
            }
            // Known and signed for with the operator's secret: its own must not
            // replace that behind its back.
            (Some((_, None)), Some(_)) => return Err(Refusal::SecretConflict),
            _ => {}
        }
        let id = known.as_ref().map_or(fresh.endpoint, |(id, _)| *id);
        if known.is_none() {
            self.add_endpoint(Endpoint::new(id, webhook.url.clone()));
        }
        let has_own = known.is_some_and(|(_, own)| own.is_some());
        let secret = webhook.secret.as_ref().or(webhook.secret_if_new.as_ref());
        let secret = secret.filter(|_| !has_own);
        if let Some(secret) = secret {
            let keyring = Keyring::new(secret.clone());
            self.alter_endpoint(id, |endpoint| endpoint.keyring = Some(keyring));
        }
        Ok((id, secret.is_some() && webhook.secret.is_none()))
    }
}
