//! Names to addresses, and the place where addresses are to be judged.
//!
//! # Where the egress guard stands
//!
//! A URL comes from a customer and may point at what only we can reach: this
//! machine, the network around it, a cloud's metadata service. A policy has to
//! be enforced at three points, because no single one sees everything:
//!
//! 1. *the URL*: scheme, port and name, and literal addresses, which never reach
//!    a resolver. They are judged by [`Transport::vet`] and again before each
//!    request, on the host as the URL parser reads it; another spelling of an
//!    address (`0x7f.1`) has been refused by [`egress`](crate::egress) before;
//! 2. *the resolved addresses*: all that a name resolves to pass through
//!    [`Names`], and the connection is made to one of exactly these. Nothing asks
//!    for the name a second time, so an answer that changes between check and use
//!    (DNS rebinding) changes nothing;
//! 3. *redirects and proxies*, which would lead around both: there are none.
//!
//! A refusal leaves the resolver as an [`AddressRefused`] in the chain of causes
//! and becomes [`TransportError::Refused`].
//!
//! # Whose names cost whom
//!
//! A customer chooses the name and runs its name servers, so a look-up can be made
//! to hang, any number of them at once. Each is therefore
//!
//! - *dropped* at its deadline, half of the connect timeout: no thread waits on;
//! - *bounded* together with its zone's and with all others: see [`places`];
//! - *remembered* for [`FAILURE_KEPT`] if it failed, and not asked again until
//!   then. That is less than any wait before a retry, so each retry asks anew.
//!
//! What fails between us and our own name server is no customer's fault and
//! becomes [`TransportError::Internal`]: no socket, nobody there, no place in time.
//!
//! # What decides a name
//!
//! `/etc/hosts`, then the name servers of `/etc/resolv.conf` with its search
//! domains; see [`system`]. Other sources that the C library may be set up with
//! (`nsswitch.conf`) are not asked. IPv6 comes before IPv4, as RFC 6724 has it;
//! where one of them is answered and the other isn't for a quarter of a second,
//! the answered one has to do.
//!
//! [`Transport::vet`]: notify_core::Transport::vet
//! [`AddressRefused`]: notify_core::transport::AddressRefused
//! [`TransportError::Refused`]: notify_core::TransportError::Refused
//! [`TransportError::Internal`]: notify_core::TransportError::Internal

mod places;
mod system;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{BoxFuture, Either, select};
use hickory_resolver::TokioResolver;
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hyper_util::client::legacy::connect::dns::Name;
use tokio::time::{Instant, timeout};
use tower_service::Service;

use crate::no_answer::{NameFailed, OurOwn};
use places::Places;
use system::System;

/// How long a name that failed is not asked for again.
const FAILURE_KEPT: Duration = Duration::from_secs(1);

/// The most names of which it is remembered that they failed.
const FAILURES_MAX: usize = 4_096;

/// How much longer one address family may take than the other.
const FAMILY_PATIENCE: Duration = Duration::from_millis(250);

/// All names that are looked up. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Names {
    shared: Arc<Shared>,
}

struct Shared {
    system: System,
    places: Places,
    failures: Mutex<HashMap<String, Instant>>,
    /// How long a look-up may take once it has its place.
    deadline: Duration,
    /// How long it may wait for its place.
    patience: Duration,
}

impl Names {
    /// The names of this system. Whoever waits for a connection for
    /// `connect_timeout` has a quarter of it left when a name came at last.
    pub(crate) fn new(connect_timeout: Duration) -> Self {
        Self::of(System::new(), connect_timeout)
    }

    fn of(system: System, connect_timeout: Duration) -> Self {
        Self {
            shared: Arc::new(Shared {
                system,
                places: Places::new(),
                failures: Mutex::default(),
                deadline: connect_timeout / 2,
                patience: connect_timeout / 4,
            }),
        }
    }

    /// Every address of `host`, at least one.
    async fn look_up(&self, host: &str) -> Result<Vec<IpAddr>, LookUpFailed> {
        let shared = &self.shared;
        if let Ok(literal) = host.parse() {
            return Ok(vec![literal]);
        }
        let current = shared.system.current()?;
        let listed = current.listed(host);
        if !listed.is_empty() {
            return Ok(listed);
        }
        if shared.has_failed(host) {
            return Err(LookUpFailed::Name);
        }
        let place = shared.places.enter(host, shared.patience).await?;
        let answered = timeout(shared.deadline, ask(current.resolver(), host)).await;
        let found = match answered {
            Ok(found) => {
                place.answered();
                found
            }
            Err(_elapsed) => {
                place.hung();
                Err(LookUpFailed::Name)
            }
        };
        if matches!(found, Err(LookUpFailed::Name)) {
            shared.remember_failure(host);
        }
        found
    }
}

impl Shared {
    fn has_failed(&self, host: &str) -> bool {
        let failed_at = self.failures().get(host).copied();
        failed_at.is_some_and(|at| at.elapsed() < FAILURE_KEPT)
    }

    fn remember_failure(&self, host: &str) {
        let mut failures = self.failures();
        if failures.len() >= FAILURES_MAX {
            failures.retain(|_, at| at.elapsed() < FAILURE_KEPT);
        }
        if failures.len() < FAILURES_MAX {
            failures.insert(host.to_owned(), Instant::now());
        }
    }

    /// The map is whole after each call, so a lock that another thread poisoned
    /// by panicking is still good.
    fn failures(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service<Name> for Names {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Cause;
    type Future = BoxFuture<'static, Result<Self::Response, Cause>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let names = self.clone();
        Box::pin(async move {
            let found = names.look_up(name.as_str()).await.map_err(into_cause)?;
            // Port 0 stands for the URL's.
            let addresses = found.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(addresses.collect::<Vec<_>>().into_iter())
        })
    }
}

/// Asks for both address families at once.
async fn ask(resolver: &TokioResolver, host: &str) -> Result<Vec<IpAddr>, LookUpFailed> {
    let ipv6 = pin!(async { addresses(resolver.ipv6_lookup(host).await) });
    let ipv4 = pin!(async { addresses(resolver.ipv4_lookup(host).await) });
    let (ipv6, ipv4) = match select(ipv6, ipv4).await {
        Either::Left((ipv6, rest)) => {
            let ipv4 = wait_for(rest, &ipv6).await;
            (ipv6, ipv4)
        }
        Either::Right((ipv4, rest)) => {
            let ipv6 = wait_for(rest, &ipv4).await;
            (ipv6, ipv4)
        }
    };
    match (ipv6, ipv4) {
        (Ok(ipv6), Ok(ipv4)) => Ok([ipv6, ipv4].concat()),
        (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
        (Err(LookUpFailed::Name), failed) | (failed, _) => failed,
    }
}

/// The other family's answer, for which nobody waits long if the first will do.
async fn wait_for(
    other: impl Future<Output = Result<Vec<IpAddr>, LookUpFailed>>,
    first: &Result<Vec<IpAddr>, LookUpFailed>,
) -> Result<Vec<IpAddr>, LookUpFailed> {
    if first.is_err() {
        return other.await;
    }
    let answered = timeout(FAMILY_PATIENCE, other).await;
    answered.unwrap_or(Err(LookUpFailed::Name))
}

/// At least one address, or why there is none.
fn addresses(answer: Result<Lookup, NetError>) -> Result<Vec<IpAddr>, LookUpFailed> {
    let answer = answer.map_err(|error| match error {
        NetError::Io(_) | NetError::NoConnections | NetError::Busy => {
            LookUpFailed::Ours(OurOwn("the name server can't be asked"))
        }
        _ => LookUpFailed::Name,
    })?;
    let records = answer.answers().iter();
    let found: Vec<IpAddr> = records.filter_map(|record| record.data.ip_addr()).collect();
    if found.is_empty() {
        return Err(LookUpFailed::Name);
    }
    Ok(found)
}

/// Why a name has no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LookUpFailed {
    /// It has none, or nobody says so in time.
    Name,
    Ours(OurOwn),
}

impl From<OurOwn> for LookUpFailed {
    fn from(ours: OurOwn) -> Self {
        Self::Ours(ours)
    }
}

/// A cause of what a connection fails of.
type Cause = Box<dyn std::error::Error + Send + Sync>;

fn into_cause(failed: LookUpFailed) -> Cause {
    match failed {
        LookUpFailed::Ours(ours) => ours.into(),
        LookUpFailed::Name => NameFailed.into(),
    }
}

#[cfg(test)]
mod tests;
