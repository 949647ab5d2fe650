//! The server: from its settings to its shutdown.
//!
//! **Flow.** `prepare` judges the settings without touching anything;
//! [`Prepared::open`] opens what everything is kept in and settles the API key;
//! `run` starts a [`Server`], says where it listens, waits for a signal and stops
//! it. The demo starts the same `Server`.
//!
//! **Shutdown.** Readiness goes off at once, while connections are still taken,
//! so that a load balancer sees it. Streams end; attempts in flight finish and
//! are written; then the connections are closed. A second signal ends the program
//! where it stands, which loses nothing either: whatever was acknowledged had
//! been stored before.

mod descriptors;
mod error;
mod key;
mod signals;
mod streams;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use notify_core::EventLimits;
use notify_hub::{JobNotifier, NotifierConfig};
use notify_sse::{ApiKeyHash, StreamConfig};
use tokio::net::TcpListener;

use crate::api;
use crate::connections::Connections;
use crate::print;
use crate::settings::{self, LogFormat, PublicUrl, ServerConfig};
use descriptors::Descriptors;
pub(crate) use error::{ServeError, ServeRefused};
use key::KeySource;
pub(crate) use key::MadeKey;
pub(crate) use signals::Signals;

/// How long what still runs on connections may take once the notifier has shut
/// down: a stream that says when to come back, an answer on its way.
const CONNECTIONS_CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// Where everything is kept.
#[derive(Debug)]
pub(crate) enum Keep {
    /// In memory; a restart forgets it.
    InMemory,
    /// In this directory.
    In(PathBuf),
}

/// Settings with which a server may start.
pub(crate) struct Prepared {
    pub(crate) log_format: Option<LogFormat>,
    listen: SocketAddr,
    public_url: Option<PublicUrl>,
    key: KeySource,
    keep: Keep,
    streams_open_max: usize,
    notifier: NotifierConfig,
}

/// Judges what single settings can't tell: who could reach the server, and with
/// what key.
pub(crate) fn prepare(
    mut config: ServerConfig,
    keep: Keep,
    allow_loopback: bool,
) -> Result<Prepared, ServeRefused> {
    let on_loopback = settings::is_loopback(config.listen.ip());
    if allow_loopback && !on_loopback {
        return Err(ServeRefused::AllowLoopback(config.listen));
    }
    let key = match &config.api_key {
        Some(key) => KeySource::Given(ApiKeyHash::of(key.expose())),
        None if on_loopback => KeySource::Made,
        None => return Err(ServeRefused::KeyMissing(config.listen)),
    };
    config.notifier.check().map_err(ServeRefused::Config)?;
    if allow_loopback {
        settings::allow_loopback(&mut config.notifier.egress);
    }
    Ok(Prepared {
        log_format: config.log_format,
        listen: config.listen,
        public_url: config.public_url,
        key,
        keep,
        streams_open_max: config.streams_open_max,
        notifier: config.notifier,
    })
}

/// A server that has all it needs but a socket.
pub(crate) struct Opened {
    public_url: Option<PublicUrl>,
    key: ApiKeyHash,
    /// The key, if it was made at this start.
    pub(crate) made_key: Option<MadeKey>,
    descriptors: Descriptors,
    config: NotifierConfig,
    notifier: JobNotifier,
}

impl Prepared {
    /// Divides the files that may be open, opens what everything is kept in, and
    /// settles the API key.
    pub(crate) fn open(self) -> Result<Opened, ServeError> {
        let mut config = self.notifier;
        let descriptors = divide_descriptors(&mut config, self.streams_open_max);
        let (notifier, dir) = match &self.keep {
            Keep::InMemory => (JobNotifier::new(config.clone()), None),
            Keep::In(dir) => {
                let notifier = JobNotifier::open(dir, config.clone());
                (notifier.map_err(ServeError::Open)?, Some(dir.as_path()))
            }
        };
        let (key, made_key) = self.key.settle(dir)?;
        Ok(Opened {
            public_url: self.public_url,
            key,
            made_key,
            descriptors,
            config,
            notifier,
        })
    }
}

/// Divides the files that may be open, and has the notifier keep to its part.
fn divide_descriptors(config: &mut NotifierConfig, streams_open_max: usize) -> Descriptors {
    let limit = descriptors::raise_limit();
    let delivery = &mut config.delivery;
    let wanted = usize::try_from(delivery.in_flight_max).unwrap_or(usize::MAX);
    let divided = Descriptors::divide(limit, wanted, streams_open_max);
    if divided.is_scaled {
        tracing::warn!(
            limit,
            in_flight_max = divided.in_flight_max,
            idle_connections_max = divided.idle_pooled_max,
            reserve = divided.reserve,
            connections_max = divided.connections_max,
            streams_max = divided.streams_max,
            "the limit on open files is small, so there is less of everything (ulimit -n)"
        );
    }
    delivery.in_flight_max = u32::try_from(divided.in_flight_max).unwrap_or(u32::MAX);
    delivery.idle_connections_max = divided.idle_pooled_max;
    divided
}

/// Serves until a signal asks to stop.
pub(crate) async fn run(prepared: Prepared) -> Result<(), ServeError> {
    // Before anything else, so that no signal comes too early.
    let mut signals = Signals::listen().map_err(ServeError::Signals)?;
    let listen = prepared.listen;
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| ServeError::Bind(listen, error))?;
    let in_memory = matches!(prepared.keep, Keep::InMemory);
    let opened = prepared.open()?;
    if let Some(made) = &opened.made_key {
        print::error(&format!("{}: {}", made.title(), made.expose()));
    }
    let server = Server::start(listener, opened)?;
    tracing::info!(address = %server.address, in_memory, "serving");
    print::error(&listening_on(server.address));

    tokio::select! {
        () = signals.next() => {}
        failure = server.notifier.failed() => {
            server.connections.close(CONNECTIONS_CLOSE_WITHIN).await;
            return Err(ServeError::Failed(failure));
        }
    }
    tracing::info!("shutting down; a second signal exits at once");
    tokio::select! {
        () = server.stop() => {
            tracing::info!("stopped");
            Ok(())
        }
        () = signals.next() => Err(ServeError::Interrupted),
    }
}

/// The line, fixed for scripts, that says where a command listens.
pub(crate) fn listening_on(address: SocketAddr) -> String {
    format!("listening on http://{address}")
}

/// A running server.
pub(crate) struct Server {
    address: SocketAddr,
    notifier: Arc<JobNotifier>,
    connections: Connections,
    /// How long attempts in flight may take.
    attempts_finish_within: Duration,
}

impl Server {
    /// Serves on `listener`.
    pub(crate) fn start(listener: TcpListener, opened: Opened) -> Result<Self, ServeError> {
        let address = listener.local_addr().map_err(ServeError::Address)?;
        let config = &opened.config;
        let attempts_finish_within = Duration::from_secs(config.timeout_secs.saturating_add(1));
        let event_limits = EventLimits {
            event_bytes_max: config.limits.event_bytes_max,
        };
        let base_url = match &opened.public_url {
            Some(url) => url.to_string(),
            None => format!("http://{address}"),
        };
        let notifier = Arc::new(opened.notifier);
        let streams = notify_sse::router_with(
            Arc::clone(&notifier),
            StreamConfig {
                api_key: Some(opened.key),
                ..StreamConfig::default()
            },
        );
        let routes = api::router(api::Parts {
            notifier: Arc::clone(&notifier),
            key: opened.key,
            base_url,
            event_limits,
            bodies: api::Bodies::default(),
        });
        let divided = opened.descriptors;
        let streams = streams::bounded(streams, divided.streams_max);
        let routes = api::with_fallbacks(routes.merge(streams));
        Ok(Self {
            address,
            notifier,
            connections: Connections::accept(listener, routes, divided.connections_max),
            attempts_finish_within,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops as the module's head says.
    pub(crate) async fn stop(self) {
        self.notifier.shutdown(self.attempts_finish_within).await;
        self.connections.close(CONNECTIONS_CLOSE_WITHIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Sources;

    fn config(env: &[(&str, &str)]) -> ServerConfig {
        let env = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        ServerConfig::load(Sources {
            env: env.collect(),
            ..Sources::default()
        })
        .unwrap()
    }

    #[test]
    fn beyond_loopback_a_key_must_be_given() {
        for listen in ["0.0.0.0:80", "[::]:80", "192.168.0.1:80"] {
            let keyless = prepare(config(&[("NOTIFY_LISTEN", listen)]), Keep::InMemory, false);
            assert!(
                matches!(keyless, Err(ServeRefused::KeyMissing(_))),
                "{listen}"
            );
            let env = [
                ("NOTIFY_LISTEN", listen),
                ("NOTIFY_API_KEY", "0123456789abcdef"),
            ];
            assert!(
                prepare(config(&env), Keep::InMemory, false)
                    .is_ok_and(|it| matches!(it.key, KeySource::Given(_)))
            );
            let open = prepare(config(&env), Keep::InMemory, true);
            assert!(
                matches!(open, Err(ServeRefused::AllowLoopback(_))),
                "{listen}"
            );
        }
    }

    #[test]
    fn on_loopback_a_key_is_made() {
        let (first, second) = (config(&[]), config(&[]));
        let made = |config| {
            let prepared = prepare(config, Keep::InMemory, false).unwrap();
            prepared.open().unwrap().made_key.unwrap()
        };
        let (first, second) = (made(first), made(second));
        assert_ne!(first.expose(), second.expose());
        assert!(first.expose().len() >= settings::API_KEY_BYTES_MIN);
    }

    #[test]
    fn allowing_loopback_adds_to_what_is_allowed() {
        let env = [("NOTIFY_EGRESS__ALLOW_PORTS", r#"["81"]"#)];
        let egress = prepare(config(&env), Keep::InMemory, true)
            .unwrap()
            .notifier
            .egress;
        assert_eq!(egress.allow_cidrs, ["127.0.0.0/8", "::1/128"]);
        assert_eq!(egress.allow_ports, ["81", "1024-65535"]);
        assert_eq!(egress.allow_hosts, ["localhost"]);
        let egress = prepare(config(&[]), Keep::InMemory, false)
            .unwrap()
            .notifier
            .egress;
        assert!(egress.allow_cidrs.is_empty());
    }
}
