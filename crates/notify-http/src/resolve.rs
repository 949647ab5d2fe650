//! Names to addresses that may be connected to.
//!
//! # Where the egress guard stands
//!
//! All addresses that a name resolves to pass through [`Names`], which leaves out
//! those that the [policy](crate::egress) does not allow, and the connection is made
//! to one of exactly these that are left. A name of which none is left is refused: an
//! [`AddressRefused`] leaves here in the chain of causes and becomes
//! [`TransportError::Refused`].
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
use notify_core::transport::AddressRefused;
use tokio::time::{Instant, timeout};
use tower_service::Service;

use crate::egress::Policy;
use crate::no_answer::{NameFailed, NoAnswer, OurOwn, Stage};
use places::Places;
use system::System;

/// How long a name that failed is not asked for again.
const FAILURE_KEPT: Duration = Duration::from_secs(1);

/// The most names of which it is remembered that they failed.
const FAILURES_MAX: usize = 4_096;

/// The most addresses of one family that a connection is tried to. They share its
/// time, so with thousands of them none would have enough.
const ADDRESSES_OF_A_FAMILY_MAX: usize = 8;

/// How much longer one address family may take than the other.
const FAMILY_PATIENCE: Duration = Duration::from_millis(250);

/// All names that are looked up. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Names {
    shared: Arc<Shared>,
}

struct Shared {
    system: System,
    policy: Arc<Policy>,
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
    pub(crate) fn new(connect_timeout: Duration, policy: Arc<Policy>) -> Self {
        Self::of(System::new(), connect_timeout, policy)
    }

    fn of(system: System, connect_timeout: Duration, policy: Arc<Policy>) -> Self {
        Self {
            shared: Arc::new(Shared {
                system,
                policy,
                places: Places::new(),
                failures: Mutex::default(),
                deadline: connect_timeout / 2,
                patience: connect_timeout / 4,
            }),
        }
    }

    /// The addresses of `host` that may be connected to, at least one.
    ///
    /// # Errors
    /// [`NoAnswer`] as a connection would fail of it.
    pub(crate) async fn resolve(&self, host: &str) -> Result<(), NoAnswer> {
        let found = self.look_up(host).await.map_err(into_cause);
        found
            .map(drop)
            .map_err(|cause| NoAnswer::of(Stage::Connect, &*cause))
    }

    /// The addresses of `host` that may be connected to, at least one.
    async fn look_up(&self, host: &str) -> Result<Vec<IpAddr>, LookUpFailed> {
        let found = self.look_up_all(host).await?;
        self.shared.permitted(found).map_err(LookUpFailed::Refused)
    }

    /// Every address of `host`, at least one.
    async fn look_up_all(&self, host: &str) -> Result<Vec<IpAddr>, LookUpFailed> {
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
    /// Of the addresses of a name those that may be connected to, and of each family
    /// no more than are tried.
    fn permitted(&self, found: Vec<IpAddr>) -> Result<Vec<IpAddr>, AddressRefused> {
        let mut refused = None;
        let mut room = [ADDRESSES_OF_A_FAMILY_MAX; 2];
        let mut permitted = found;
        permitted.retain(|&address| match self.policy.check_address(address) {
            Ok(()) => {
                let [ipv4, ipv6] = &mut room;
                let room = if address.is_ipv4() { ipv4 } else { ipv6 };
                let fits = *room > 0;
                *room = room.saturating_sub(1);
                fits
            }
            Err(error) => {
                refused = Some(error);
                false
            }
        });
        match refused {
            Some(refused) if permitted.is_empty() => Err(refused),
            _ => Ok(permitted),
        }
    }

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
    /// None that it has may be connected to.
    Refused(AddressRefused),
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
        LookUpFailed::Refused(refused) => refused.into(),
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
