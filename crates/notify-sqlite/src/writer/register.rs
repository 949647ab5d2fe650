//! Registration: a job's token, and whom it tells.

use notify_core::job::JobHead;
use notify_core::store::{
    FreshIds, RegisterError, RegisterWebhook, Registered, Registration, StoreError,
};
use notify_core::{Keyring, Timestamp};

use super::{Writer, healthy};
use crate::error::Fault;

impl Writer {
    pub(crate) fn register(
        &mut self,
        now: Timestamp,
        registration: &Registration,
    ) -> Result<Registered, RegisterError> {
        healthy(&self.poison)?;
        let low = self.is_low();
        self.transact(|writer| writer.register_job(now, registration, low))?
    }

    fn register_job(
        &mut self,
        now: Timestamp,
        registration: &Registration,
        low: bool,
    ) -> Result<Result<Registered, RegisterError>, Fault> {
        let known = self.jobs.find(&self.conn, &registration.job)?;
        let has_token = known.as_ref().map(|job| job.row.token.is_some());
        if !registration.replace_token && has_token == Some(true) {
            return Ok(Err(RegisterError::JobExists));
        }
        if has_token.is_none() && low {
            return Ok(Err(RegisterError::Store(StoreError::Full)));
        }
        let mut used_new_secret = false;
        let mut webhook = None;
        if let Some(wanted) = &registration.webhook {
            match self.subscribe_endpoint(wanted, registration.fresh)? {
                Err(refused) => return Ok(Err(refused)),
                Ok((endpoint, used)) => {
                    used_new_secret = used;
                    webhook = Some((endpoint, wanted.filter));
                }
            }
        }
        let head = JobHead::new(registration.fresh.epoch);
        self.ensure_job(now, &registration.job, head)?;
        let Some(job) = self.jobs.change(&registration.job) else {
            return Err(Fault::damaged(format!("jobs {}: lost", registration.job)));
        };
        job.row.token = Some(registration.token);
        job.row.updated_at = now;
        let epoch = job.row.head.epoch;
        if let Some((endpoint, _)) = webhook {
            let replaced = std::mem::replace(&mut job.row.webhook, webhook);
            self.endpoints
                .change(&self.conn, endpoint, |row| row.named += 1)?;
            if let Some((replaced, _)) = replaced {
                self.endpoints.release(&self.conn, replaced)?;
            }
        }
        Ok(Ok(Registered {
            epoch,
            used_new_secret,
        }))
    }

    /// The number of the endpoint that a registration names, and whether the new
    /// secret was put to use.
    fn subscribe_endpoint(
        &mut self,
        webhook: &RegisterWebhook,
        fresh: FreshIds,
    ) -> Result<Result<(i64, bool), RegisterError>, Fault> {
        let known = self.endpoints.at(&self.conn, &webhook.url)?;
        let own = known.map(|row| &row.endpoint.keyring);
        match (own, &webhook.secret) {
            (Some(Some(keyring)), Some(secret)) if keyring.newest() != secret => {
                return Ok(Err(RegisterError::SecretConflict));
            }
            // Known and signed for with the operator's secret: its own must not
            // replace that behind its back.
            (Some(None), Some(_)) => return Ok(Err(RegisterError::SecretConflict)),
            _ => {}
        }
        let needs_secret = !matches!(own, Some(Some(_)));
        let new = webhook.secret.as_ref().or(webhook.secret_if_new.as_ref());
        let used_new_secret =
            needs_secret && webhook.secret.is_none() && webhook.secret_if_new.is_some();
        let keyring = new.filter(|_| needs_secret).cloned().map(Keyring::new);
        let (endpoint, _) = self.endpoint_for(&webhook.url, fresh, keyring)?;
        Ok(Ok((endpoint, used_new_secret)))
    }
}
