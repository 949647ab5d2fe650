//! Putting a notifier together from parts of one's own.

use std::sync::Arc;

use notify_core::transport::DynTransport;
use notify_core::{Store, Transport};

use super::JobNotifier;
use crate::clock::{Clock, SystemClock};
use crate::config::{ConfigInvalid, NotifierConfig, Settings};
use crate::engine::{Engine, Parts};
use crate::memory::{MemoryLimits, MemoryStore};

/// Builds a [`JobNotifier`] with any transport, store or clock.
pub struct Builder {
    config: NotifierConfig,
    transport: Option<Arc<dyn DynTransport>>,
    store: Option<Arc<dyn Store>>,
    clock: Arc<dyn Clock>,
    seed: Option<u64>,
}

impl Builder {
    pub(super) fn new(config: NotifierConfig) -> Self {
        Self {
            config,
            transport: None,
            store: None,
            clock: Arc::new(SystemClock),
            seed: None,
        }
    }

    /// Sends webhooks through `transport`, which has rules of its own about where
    /// they may go: those of the settings are for the default, which is HTTP, with
    /// feature `http`.
    #[must_use]
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Keeps everything in `store`. Default: a [`MemoryStore`].
    #[must_use]
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Keeps everything in the directory `path`, under the settings' bounds. The
    /// inner error names a setting that is wrong; the directory was left alone.
    #[cfg(all(feature = "http", feature = "sqlite"))]
    pub(super) fn data_dir(
        self,
        path: impl AsRef<std::path::Path>,
    ) -> Result<Result<Self, ConfigInvalid>, notify_sqlite::OpenError> {
        let settings = match Settings::new(&self.config) {
            Ok(settings) => settings,
            Err(invalid) => return Ok(Err(invalid)),
        };
        let options = notify_sqlite::SqliteOptions {
            pending_deliveries_max: settings.pending_deliveries_max,
            pending_per_endpoint_max: settings.pending_per_endpoint_max,
            progress_events_max: settings.progress_events_max,
            min_free_bytes: self.config.store.min_free_bytes,
            canonical: Some(notify_http::egress::canonical),
            ..notify_sqlite::SqliteOptions::default()
        };
        let store = notify_sqlite::SqliteStore::open(path, options)?;
        Ok(Ok(self.store(store)))
    }

    /// Reads the wall from `clock`. Default: the system's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Decides the jitter of retries. Default: a random number.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The notifier. It does nothing until its first call.
    ///
    /// # Errors
    /// [`ConfigInvalid`] names the setting that is wrong.
    pub fn build(self) -> Result<JobNotifier, ConfigInvalid> {
        Ok(JobNotifier {
            engine: Ok(self.engine()?),
        })
    }

    pub(super) fn engine(self) -> Result<Engine, ConfigInvalid> {
        let settings = Settings::new(&self.config)?;
        let transport = match self.transport {
            Some(transport) => {
                no_rules_for_another(&self.config)?;
                transport
            }
            None => default_transport(&self.config)?,
        };
        let store = self.store.unwrap_or_else(|| {
            Arc::new(MemoryStore::new(MemoryLimits {
                pending_deliveries_max: settings.pending_deliveries_max,
                pending_per_endpoint_max: settings.pending_per_endpoint_max,
                job_bytes_max: settings.memory_bytes_max,
                dead_letters_max: settings.dead_letters_max,
                progress_events_max: settings.progress_events_max,
            }))
        });
        let seed = self
            .seed
            .unwrap_or_else(|| getrandom::u64().unwrap_or_default());
        Ok(Engine::new(Parts {
            settings,
            transport,
            store,
            clock: self.clock,
            seed,
        }))
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// What a transport of one's own lets pass is its own affair. A setting that would
/// protect and then has no effect is refused: whoever sets it relies on it.
fn no_rules_for_another(config: &NotifierConfig) -> Result<(), ConfigInvalid> {
    let field = match &config.egress {
        egress if !egress.denied_cidrs.is_empty() => "egress.denied_cidrs",
        egress if egress.require_https => "egress.require_https",
        _ => return Ok(()),
    };
    Err(ConfigInvalid {
        field,
        rule: "has no effect on a transport that is given; leave it out".into(),
    })
}

#[cfg(feature = "http")]
fn default_transport(config: &NotifierConfig) -> Result<Arc<dyn DynTransport>, ConfigInvalid> {
    let mut http = notify_http::HttpConfig::default();
    http.egress = config.egress.policy()?;
    http.idle_connections_max = config.delivery.idle_connections_max;
    match notify_http::HttpTransport::new(http) {
        Ok(transport) => Ok(Arc::new(transport)),
        Err(error) => Err(ConfigInvalid {
            field: "transport",
            rule: error.to_string(),
        }),
    }
}

#[cfg(not(feature = "http"))]
fn default_transport(_config: &NotifierConfig) -> Result<Arc<dyn DynTransport>, ConfigInvalid> {
    Err(ConfigInvalid {
        field: "transport",
        rule: "must be given without feature \"http\"".into(),
    })
}
