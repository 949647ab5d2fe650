//! The notifier: the one type that services hold.

mod builder;
mod dead_letters;
mod deletion;
mod endpoints;
mod health;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use notify_core::event::{EventContent, EventInvalid};
use notify_core::store::{
    Answer, Append, Appended, Archive, JobView, Operation, Refusal, RegisterWebhook, Registered,
    Registration, TokenHash, Webhook,
};
use notify_core::{DeadReason, EventId, IdempotencyKey, JobEvent, JobId, JobStatus, Secret};

use crate::config::{ConfigInvalid, NotifierConfig};
use crate::engine::Engine;
use crate::error::{Failure, NotifyError};
use crate::metrics::Metrics;
use crate::random;
use crate::subscription::{StartFrom, Subscription};
use crate::token::{self, JobToken};

pub use builder::Builder;
use webhook::{judged, to_register};

/// Tells customers how their jobs go: one event log per job, behind webhooks
/// and streams.
///
/// Not `Clone`; share it in an [`Arc`]. Its tasks start at the first call that
/// needs them and end with [`shutdown`](Self::shutdown), or abruptly when it is
/// dropped.
#[derive(Debug)]
pub struct JobNotifier {
    engine: Result<Engine, ConfigInvalid>,
}

/// A job to register, for [`JobNotifier::create_job`].
#[derive(Clone, Debug, Default)]
pub struct JobSpec {
    /// The job's id; one is made up if there is none.
    pub job_id: Option<String>,
    /// Whom the job tells.
    pub webhook: Option<WebhookSpec>,
}

/// The endpoint that a job tells, for [`JobSpec`].
#[derive(Clone, Debug, Default)]
pub struct WebhookSpec {
    /// Where it is, as the customer gave it: however it is spelled, it is one
    /// endpoint.
    pub url: String,
    /// Its secret. Without one, a new endpoint uses the operator's secret, or
    /// gets one of its own if there is none.
    pub secret: Option<String>,
    /// Which statuses it asks for; all without. Terminal ones always come.
    pub events: Option<Vec<JobStatus>>,
}

/// A registered job.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CreatedJob {
    /// The job's id.
    pub job_id: JobId,
    /// Its token; this is the only time it can be seen.
    pub token: JobToken,
    /// The secret that was made for its new endpoint; this is the only time it
    /// can be seen.
    pub webhook_secret: Option<Secret>,
}

impl JobNotifier {
    /// A notifier that delivers over HTTP and keeps everything in memory.
    ///
    /// Can't fail: a wrong setting is [`NotifyError::ConfigInvalid`] from every
    /// call. [`JobNotifier::builder`] says so at once.
    #[cfg(feature = "http")]
    pub fn new(config: NotifierConfig) -> Self {
        Self {
            engine: Builder::new(config).engine(),
        }
    }

    /// A notifier that delivers over HTTP and keeps everything in the directory
    /// `path`, so that a restart loses nothing that was accepted.
    ///
    /// Reads what is not delivered yet, so it may block for a second or two after
    /// an outage of a busy receiver. Within a tokio runtime delivering goes on at
    /// once; elsewhere from the first call, such as [`start`](Self::start).
    ///
    /// # Errors
    /// [`OpenError`](crate::OpenError) if the directory can't be used. A wrong
    /// setting is no error here but [`NotifyError::ConfigInvalid`] from every
    /// call, as with [`JobNotifier::new`]; the directory is left alone then.
    #[cfg(all(feature = "http", feature = "sqlite"))]
    pub fn open(
        path: impl AsRef<std::path::Path>,
        config: NotifierConfig,
    ) -> Result<Self, crate::OpenError> {
        let notifier = Self {
            engine: match Builder::new(config).data_dir(path)? {
                Ok(builder) => builder.engine(),
                Err(invalid) => Err(invalid),
            },
        };
        if let (Ok(engine), Ok(_)) = (&notifier.engine, tokio::runtime::Handle::try_current()) {
            let _ = engine.start();
        }
        Ok(notifier)
    }

    /// Starts delivering what waits in the store. Every other call does so too,
    /// so this is for a notifier that may not get one for a while.
    ///
    /// # Errors
    /// [`NotifyError`] if a setting is wrong or it was shut down.
    pub async fn start(&self) -> Result<(), NotifyError> {
        self.engine()?.start()
    }

    /// A notifier with another transport, store or clock.
    pub fn builder(config: NotifierConfig) -> Builder {
        Builder::new(config)
    }

    /// Accepts an event and, if `webhook` is given, tells that URL of it, in
    /// addition to the endpoint that the job was registered with. However a URL is
    /// spelled, it is one endpoint. An unknown job is created.
    ///
    /// Returns when the event is in the store. What receivers do with it never
    /// fails this call: failures are retried and end as dead letters. Nor does what
    /// is wrong with `webhook`, which may be passed on as a customer typed it: that
    /// is logged, and a dead letter at once.
    ///
    /// # Errors
    /// [`NotifyError`] names the field and the rule; nothing was recorded then,
    /// except perhaps after [`NotifyError::OutcomeUnknown`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the event was accepted, but never
    /// half of it.
    pub async fn notify(
        &self,
        job: &str,
        event: JobEvent,
        webhook: Option<&str>,
    ) -> Result<EventId, NotifyError> {
        let limits = self.engine()?.settings().event_limits;
        let accepted = self.accept(job, || event.content(limits), webhook, None);
        Ok(accepted.await?.id)
    }

    /// As [`notify`](Self::notify), but a repetition with the same key and content
    /// returns the first call's event and emits nothing. A key is kept as long as
    /// its job.
    ///
    /// # Errors
    /// As [`notify`](Self::notify), and [`NotifyError::IdempotencyConflict`] if
    /// the key came with other content before.
    pub async fn notify_once(
        &self,
        job: &str,
        event: JobEvent,
        webhook: Option<&str>,
        idempotency_key: &str,
    ) -> Result<EventId, NotifyError> {
        let key = IdempotencyKey::parse(idempotency_key)?;
        let limits = self.engine()?.settings().event_limits;
        let accepted = self.accept(job, || event.content(limits), webhook, Some(key));
        Ok(accepted.await?.id)
    }

    /// As [`notify`](Self::notify), or [`notify_once`](Self::notify_once) if there
    /// is a key, for an event that came as JSON: its `result` is passed on as it
    /// was written, and what is wrong with it is refused by name.
    ///
    /// # Errors
    /// As [`notify_once`](Self::notify_once).
    pub async fn notify_json(
        &self,
        job: &str,
        event: &[u8],
        webhook: Option<&str>,
        idempotency_key: Option<&str>,
    ) -> Result<Accepted, NotifyError> {
        let key = idempotency_key.map(IdempotencyKey::parse).transpose()?;
        let limits = self.engine()?.settings().event_limits;
        let content = || EventContent::from_json(event, limits);
        self.accept(job, content, webhook, key).await
    }

    async fn accept(
        &self,
        job: &str,
        content: impl FnOnce() -> Result<EventContent, EventInvalid>,
        webhook: Option<&str>,
        key: Option<IdempotencyKey>,
    ) -> Result<Accepted, NotifyError> {
        let engine = self.engine()?;
        let job = JobId::parse(job)?;
        let content = content()?;
        let webhook = webhook.map(|url| judged(engine, url));
        let named = webhook.as_ref().map(|webhook| match webhook {
            Webhook::To(url) => url.as_str(),
            Webhook::Refused { url, .. } => url,
        });
        let idempotency = key.map(|key| (key, content.fingerprint(named)));
        let draft = content.draft(engine.wall_now().as_secs());
        let bytes = draft.json.len();
        let append = Append {
            job: job.clone(),
            draft,
            idempotency,
            webhook,
            has_global_secret: engine.settings().keyring.is_some(),
            progress_min_interval: engine.settings().progress_min_interval,
            fresh: engine.fresh_ids()?,
        };
        let (id, unsent) = match engine.submit(Operation::Append(append), bytes).await? {
            Ok(Answer::Appended(Appended { record, unsent, .. })) => (record.id(), unsent),
            Err(Refusal::Duplicate { first, unsent }) => (first, unsent),
            Ok(_) => return Err(NotifyError::Internal),
            Err(refusal) => return Err(refusal.into()),
        };
        if let Some(reason) = unsent {
            tracing::warn!(%job, event = %id, %reason, "an event was accepted, but its webhook can't be sent");
        }
        Ok(Accepted { id, unsent })
    }

    /// Gives a job a token with which its customer may read it. Again: a new
    /// token; the old one stops and its streams end.
    ///
    /// # Errors
    /// [`NotifyError`] if the id is none or the store fails.
    pub async fn register_job(&self, job: &str) -> Result<JobToken, NotifyError> {
        let engine = self.engine()?;
        let job = JobId::parse(job)?;
        let token = JobToken::from_random(&*random::secret_bytes()?);
        register(engine, registration(engine, job, token.hash(), true, None)?).await?;
        Ok(token)
    }

    /// Registers a job: a token and, if asked, an endpoint that is told of every
    /// event.
    ///
    /// # Errors
    /// [`NotifyError::JobExists`] for a job that is registered; and refusals of
    /// the id, the URL, its address or its secret.
    pub async fn create_job(&self, spec: JobSpec) -> Result<CreatedJob, NotifyError> {
        let engine = self.engine()?;
        let job_id = match &spec.job_id {
            Some(text) => JobId::parse(text)?,
            None => JobId::from_random(random::number()?),
        };
        let webhook = spec
            .webhook
            .map(|webhook| to_register(engine, webhook))
            .transpose()?;
        let made = webhook
            .as_ref()
            .and_then(|webhook| webhook.secret_if_new.clone());
        let token = JobToken::from_random(&*random::secret_bytes()?);
        let registration = registration(engine, job_id.clone(), token.hash(), false, webhook)?;
        let registered = register(engine, registration).await?;
        let webhook_secret = made.filter(|_| registered.used_new_secret);
        Ok(CreatedJob {
            job_id,
            token,
            webhook_secret,
        })
    }

    /// Whether `token` is the job's. Looked up by its hash and compared in
    /// constant time; anything that goes wrong is `false`.
    pub async fn validate_job_token(&self, job: &str, token: &str) -> bool {
        self.is_token(job, token).await.unwrap_or(false)
    }

    async fn is_token(&self, job: &str, token: &str) -> Result<bool, NotifyError> {
        let Ok(job) = JobId::parse(job) else {
            return Ok(false);
        };
        let engine = self.engine()?;
        let hash = engine.heed(engine.archive().token(&job).await).await?;
        Ok(hash.is_some_and(|hash| token::matches(token, &hash)))
    }

    /// Follows a job: what was, then what comes. A job that is not known yet may
    /// be followed too.
    ///
    /// # Errors
    /// [`NotifyError`] if the id is none, there are too many subscriptions, or
    /// the store fails.
    pub async fn subscribe(&self, job: &str) -> Result<Subscription, NotifyError> {
        self.subscribe_from(job, StartFrom::Beginning).await
    }

    /// Follows a job from a chosen position.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe). A bad cursor is no error but
    /// [`Subscription::gap`].
    pub async fn subscribe_from(
        &self,
        job: &str,
        from: StartFrom,
    ) -> Result<Subscription, NotifyError> {
        let engine = self.engine()?;
        let reader = engine.attach(&JobId::parse(job)?).await?;
        Ok(Subscription::new(reader, from, None))
    }

    /// Follows a job on behalf of whoever shows its token; ends when the token is
    /// replaced. `None` if the token is not the job's, or there is no such job.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub async fn subscribe_authorized(
        &self,
        job: &str,
        token: &str,
        from: StartFrom,
    ) -> Result<Option<Subscription>, NotifyError> {
        let engine = self.engine()?;
        if !self.is_token(job, token).await? {
            return Ok(None);
        }
        let reader = engine.attach(&JobId::parse(job)?).await?;
        // Looked at again now that a replacement would be noticed.
        let generation = reader.token_generation();
        if !self.is_token(job, token).await? {
            return Ok(None);
        }
        Ok(Some(Subscription::new(reader, from, Some(generation))))
    }

    /// One job as it stands, or `None` if it is not known.
    ///
    /// # Errors
    /// [`NotifyError`] if the id is none or the store fails.
    pub async fn job(&self, job: &str) -> Result<Option<JobView>, NotifyError> {
        Ok(self.engine()?.archive().job(&JobId::parse(job)?).await?)
    }

    /// What was counted since it began, and how things stand.
    ///
    /// # Errors
    /// [`NotifyError`] if a setting is wrong or the store fails.
    pub async fn metrics(&self) -> Result<Metrics, NotifyError> {
        self.engine()?.metrics().await
    }

    /// How many unfinished jobs have a subscription.
    pub async fn active_channels(&self) -> usize {
        self.engine().map_or(0, |engine| engine.live().unfinished())
    }

    /// What is kept in memory of followed jobs' logs, in bytes.
    pub fn live_log_bytes(&self) -> usize {
        self.engine().map_or(0, |engine| engine.live().bytes())
    }

    /// Whether calls are taken: not after a wrong setting, during shutdown, or
    /// after the store has failed.
    pub fn is_ready(&self) -> bool {
        self.engine.as_ref().is_ok_and(Engine::is_ready)
    }

    /// Waits until the notifier has failed, and says why: nothing is accepted or
    /// delivered any more. After a failure of the store only a new notifier on a
    /// mended disk helps.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn failed(&self) -> Failure {
        match &self.engine {
            Ok(engine) => engine.failed().await,
            Err(_) => std::future::pending().await,
        }
    }

    /// What is kept, for reading what has no method here.
    ///
    /// # Errors
    /// [`NotifyError::ConfigInvalid`] if there is none.
    pub fn archive(&self) -> Result<&Arc<dyn Archive>, NotifyError> {
        Ok(self.engine()?.archive())
    }

    /// Takes no more calls, ends subscriptions, lets attempts in flight finish
    /// and be written, for at most `deadline`. What is pending stays in the
    /// store.
    pub async fn shutdown(&self, deadline: Duration) {
        if let Ok(engine) = &self.engine {
            engine.shutdown(deadline).await;
        }
    }

    fn engine(&self) -> Result<&Engine, NotifyError> {
        self.engine
            .as_ref()
            .map_err(|invalid| invalid.clone().into())
    }
}

/// An accepted event, for [`JobNotifier::notify_json`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accepted {
    /// The event's id.
    pub id: EventId,
    /// Why its webhook is not sent, if it isn't: it is a dead letter then, unless it is
    /// progress. Streams and polling show the event all the same.
    pub unsent: Option<DeadReason>,
}

async fn register(engine: &Engine, registration: Registration) -> Result<Registered, NotifyError> {
    match engine
        .submit(Operation::Register(Box::new(registration)), 0)
        .await?
    {
        Ok(Answer::Registered(registered)) => Ok(registered),
        Ok(_) => Err(NotifyError::Internal),
        Err(refusal) => Err(refusal.into()),
    }
}

fn registration(
    engine: &Engine,
    job: JobId,
    token: TokenHash,
    replace_token: bool,
    webhook: Option<RegisterWebhook>,
) -> Result<Registration, NotifyError> {
    Ok(Registration {
        job,
        token,
        replace_token,
        webhook,
        fresh: engine.fresh_ids()?,
    })
}
