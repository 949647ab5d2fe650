//! Events that come at a fixed rate, and when the sound endpoints hear of them.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use notify_core::transport::{
    Transport, TransportError, VetError, WebhookRequest, WebhookResponse,
};
use notify_core::{EndpointUrl, Span};
use notify_http::egress::Policy;
use notify_http::{HttpConfig, HttpTransport};
use notify_hub::{JobEvent, JobNotifier, NotifierConfig};
use notify_sqlite::{SqliteOptions, SqliteStore};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use super::{ENDPOINTS, Outcome, Trouble, url};

/// Who tells of events at once.
const CALLERS: u64 = 64;

/// How many webhooks may be on their way while the most is looked for.
const UNDELIVERED_MAX: usize = 1_024;

/// How long a name takes to be given up: half of what a connection may take.
const NAME_TIMEOUT: Duration = Duration::from_millis(2_500);

/// What the sound endpoints saw.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The lag that 99 of 100 webhooks keep to, in ms.
    pub p99_ms: f64,
    /// The lag in the middle, in ms.
    pub p50_ms: f64,
    /// Webhooks a second.
    pub per_second: f64,
}

/// Where receivers are, and where things are kept: in memory without a directory.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The receivers' port.
    pub port: u16,
    /// A directory.
    pub dir: Option<&'a Path>,
}

/// How long to warm up, and how long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Before it counts.
    pub warm_up: Duration,
    /// While it counts.
    pub measure: Duration,
}

/// The most webhooks a second that reach all endpoints, while all are well.
///
/// # Errors
/// If the product refuses something.
#[expect(clippy::cast_precision_loss, reason = "a figure for a person")]
pub async fn most(place: Place<'_>, times: Times) -> Outcome<f64> {
    let rig = Rig::new(place)?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for caller in 0..4 * CALLERS {
        let (rig, stop) = (Arc::clone(&rig), Arc::clone(&stop));
        callers.spawn(async move {
            let mut number = caller;
            while !stop.load(Ordering::Relaxed) {
                rig.probe.room.acquire().await?.forget();
                rig.tell(number).await?;
                number += 4 * CALLERS;
            }
            Outcome::Ok(())
        });
    }
    sleep(times.warm_up).await;
    let (before, began) = (rig.probe.delivered.load(Ordering::Relaxed), Instant::now());
    sleep(times.measure).await;
    let delivered = rig.probe.delivered.load(Ordering::Relaxed) - before;
    let most = delivered as f64 / began.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    rig.probe.room.add_permits(UNDELIVERED_MAX);
    for ended in callers.join_all().await {
        ended?;
    }
    rig.notifier.shutdown(Duration::from_secs(5)).await;
    Ok(most)
}

/// Has events come at this rate; after warming up `fall` is called, and from then on
/// it counts what the sound endpoints see.
///
/// # Errors
/// If the product refuses something, or `fall` fails.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for a person"
)]
pub async fn seen<F: Future<Output = Outcome<()>>>(
    place: Place<'_>,
    times: Times,
    per_second: f64,
    has_trouble: bool,
    fall: impl FnOnce() -> F,
) -> Outcome<Seen> {
    let rig = Rig::new(place)?;
    let events = ((times.warm_up + times.measure).as_secs_f64() * per_second) as u64;
    let counts_from = (times.warm_up.as_secs_f64() * per_second) as u64;
    let began = tokio::time::Instant::now();
    rig.probe.begin(began.into_std(), per_second, counts_from);
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let rig = Arc::clone(&rig);
        callers.spawn(async move {
            let mut number = caller;
            while number < events {
                sleep_until(began + rig.probe.comes_after(number)).await;
                rig.tell(number).await?;
                number += CALLERS;
            }
            Outcome::Ok(())
        });
    }
    sleep(times.warm_up).await;
    if has_trouble {
        fall().await?;
        rig.probe.in_trouble.store(true, Ordering::Relaxed);
    }
    for ended in callers.join_all().await {
        ended?;
    }
    // What came last has a little time too.
    sleep(Duration::from_millis(500)).await;
    let mut lags = std::mem::take(&mut *rig.probe.lags());
    lags.sort_unstable();
    let at = |share: f64| {
        let place = (lags.len() as f64 * share) as usize;
        let lag = lags.get(place).or(lags.last()).copied();
        lag.unwrap_or(Duration::MAX).as_secs_f64() * 1e3
    };
    let seen = Seen {
        p99_ms: at(0.99),
        p50_ms: at(0.5),
        per_second: lags.len() as f64 / times.measure.as_secs_f64(),
    };
    // What hangs is left hanging.
    rig.notifier.shutdown(Duration::from_millis(100)).await;
    Ok(seen)
}

/// A notifier and what its transport sees.
struct Rig {
    notifier: JobNotifier,
    probe: Arc<Probe>,
    urls: Vec<String>,
}

impl Rig {
    fn new(Place { port, dir }: Place<'_>) -> Outcome<Arc<Self>> {
        let mut config = NotifierConfig {
            signing_secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into(),
            ..NotifierConfig::default()
        };
        config.store.retention = Span(Duration::from_secs(5));
        let mut http = HttpConfig::default();
        http.egress = Policy::default()
            .allow_cidrs(["127.0.0.0/8"])?
            .allow_ports([port.to_string()])?;
        let probe = Arc::new(Probe::new());
        let transport = Watched {
            inner: HttpTransport::new(http)?,
            probe: Arc::clone(&probe),
        };
        let builder = JobNotifier::builder(config).transport(transport);
        let builder = match dir {
            Some(dir) => builder.store(SqliteStore::open(dir, SqliteOptions::default())?),
            None => builder,
        };
        Ok(Arc::new(Self {
            notifier: builder.build()?,
            probe,
            urls: (0..ENDPOINTS).map(|endpoint| url(endpoint, port)).collect(),
        }))
    }

    /// A job that begins and ends with this event.
    async fn tell(&self, number: u64) -> Outcome<()> {
        let place = usize::try_from(number % u64::from(ENDPOINTS))?;
        let url = self.urls.get(place).map(String::as_str);
        let event = JobEvent::completed(crate::store::result());
        self.notifier
            .notify(&number.to_string(), event, url)
            .await?;
        Ok(())
    }
}

/// What the transport sees.
struct Probe {
    room: Semaphore,
    delivered: AtomicU64,
    in_trouble: AtomicBool,
    schedule: Mutex<Schedule>,
    lags: Mutex<Vec<Duration>>,
}

/// When events come.
#[derive(Clone, Copy)]
struct Schedule {
    began: Instant,
    per_second: f64,
    /// The first that counts; none does while the most is looked for.
    counts_from: u64,
}

impl Probe {
    fn new() -> Self {
        Self {
            room: Semaphore::new(UNDELIVERED_MAX),
            delivered: AtomicU64::new(0),
            in_trouble: AtomicBool::new(false),
            schedule: Mutex::new(Schedule {
                began: Instant::now(),
                per_second: 1.0,
                counts_from: u64::MAX,
            }),
            lags: Mutex::default(),
        }
    }

    fn begin(&self, began: Instant, per_second: f64, counts_from: u64) {
        *self.schedule.lock().unwrap_or_else(PoisonError::into_inner) = Schedule {
            began,
            per_second,
            counts_from,
        };
    }

    fn schedule(&self) -> Schedule {
        *self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lags(&self) -> std::sync::MutexGuard<'_, Vec<Duration>> {
        self.lags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When an event comes.
    #[expect(clippy::cast_precision_loss, reason = "no more than millions")]
    fn comes_after(&self, number: u64) -> Duration {
        Duration::from_secs_f64(number as f64 / self.schedule().per_second)
    }

    fn delivered(&self, number: u64) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
        self.room.add_permits(1);
        let schedule = self.schedule();
        if number >= schedule.counts_from {
            let came = schedule.began + self.comes_after(number);
            self.lags().push(came.elapsed());
        }
    }
}

/// The product's own transport, watched, and blind for names that do not resolve.
struct Watched {
    inner: HttpTransport,
    probe: Arc<Probe>,
}

impl Transport for Watched {
    async fn send(&self, request: WebhookRequest) -> Result<WebhookResponse, TransportError> {
        let is_of = |trouble: Trouble| request.url.as_str().contains(trouble.path());
        let is_sound = is_of(Trouble::None);
        if is_of(Trouble::HasNoName) && self.probe.in_trouble.load(Ordering::Relaxed) {
            sleep(NAME_TIMEOUT).await;
            return Err(TransportError::Dns);
        }
        let job = request.headers.iter().find(|(name, _)| *name == "x-job-id");
        let number = job.and_then(|(_, job)| job.parse().ok());
        let outcome = self.inner.send(request).await;
        let is_delivered = outcome.as_ref().is_ok_and(|answer| answer.status == 204);
        if let (true, Some(number)) = (is_delivered, number) {
            match is_sound {
                true => self.probe.delivered(number),
                false => {
                    self.probe.delivered.fetch_add(1, Ordering::Relaxed);
                    self.probe.room.add_permits(1);
                }
            }
        }
        outcome
    }

    fn vet(&self, text: &str) -> Result<EndpointUrl, VetError> {
        Transport::vet(&self.inner, text)
    }
}
