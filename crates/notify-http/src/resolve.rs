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
//!    request, on the host as the URL parser reads it (`0x7f.1` is an address);
//! 2. *the resolved addresses*: all that a name resolves to pass through
//!    [`SystemResolver`], and the connection is made to one of exactly these.
//!    Nothing asks for the name a second time, so an answer that changes between
//!    check and use (DNS rebinding) changes nothing;
//! 3. *redirects and proxies*, which would lead around both: there are none.
//!
//! A refusal leaves the resolver as an [`AddressRefused`] in the chain of causes
//! and becomes [`TransportError::Refused`].
//!
//! [`Transport::vet`]: notify_core::Transport::vet
//! [`AddressRefused`]: notify_core::transport::AddressRefused
//! [`TransportError::Refused`]: notify_core::TransportError::Refused

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

/// The most names that are looked up at the same time.
///
/// The system's lookup blocks a thread until it is done, whether or not anyone
/// still waits. Without a limit, names whose servers never answer would fill the
/// runtime's pool of blocking threads, which belongs to the whole process.
const LOOKUPS_MAX: usize = 64;

/// The system's own resolver (`getaddrinfo`), so that `/etc/hosts`, search
/// domains and whatever else the machine is set up with are respected.
pub(crate) struct SystemResolver {
    lookups: Arc<Semaphore>,
}

impl SystemResolver {
    pub(crate) fn new() -> Self {
        Self {
            lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)),
        }
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let lookups = Arc::clone(&self.lookups);
        Box::pin(async move {
            let addresses = look_up(lookups, name.as_str().to_owned()).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Every address of `host`, at least one. Their port is 0, which stands for the
/// URL's.
async fn look_up(lookups: Arc<Semaphore>, host: String) -> Result<Vec<SocketAddr>, ResolveFailed> {
    // One who gives up waiting here leaves nothing behind. The permit goes with
    // the thread, which can't be stopped, and not with this future, which can.
    let permit = lookups
        .acquire_owned()
        .await
        .map_err(|closed| ResolveFailed(io::Error::other(closed)))?;
    let found = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        (host.as_str(), 0).to_socket_addrs().map(Vec::from_iter)
    })
    .await
    .unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
    .map_err(ResolveFailed)?;
    if found.is_empty() {
        return Err(ResolveFailed(io::ErrorKind::NotFound.into()));
    }
    Ok(found)
}

/// A name that did not resolve.
#[derive(Debug)]
pub(crate) struct ResolveFailed(io::Error);

impl fmt::Display for ResolveFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name could not be resolved")
    }
}

impl std::error::Error for ResolveFailed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    /// With one thread for lookups.
    fn runtime() -> tokio::runtime::Runtime {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.max_blocking_threads(1).build().unwrap()
    }

    fn resolve(resolver: &SystemResolver, host: &str) -> Resolving {
        resolver.resolve(host.parse().unwrap())
    }

    #[test]
    fn a_literal_resolves_to_itself() {
        let found = runtime().block_on(resolve(&SystemResolver::new(), "192.0.2.7"));
        let found: Vec<_> = found.ok().unwrap().collect();
        assert_eq!(found, ["192.0.2.7:0".parse().unwrap()]);
    }

    #[test]
    fn a_name_that_can_not_exist_does_not_resolve() {
        // A label has at most 63 bytes, so nobody has to be asked.
        let host = format!("{}.invalid", "a".repeat(64));
        let found = runtime().block_on(resolve(&SystemResolver::new(), &host));
        assert!(found.err().unwrap().is::<ResolveFailed>());
    }

    #[test]
    fn a_lookup_keeps_its_turn_though_nobody_waits() {
        let runtime = runtime();
        let _entered = runtime.enter();
        let (release, released) = std::sync::mpsc::channel::<()>();
        runtime.spawn_blocking(move || released.recv());

        let resolver = SystemResolver::new();
        let others = Arc::clone(&resolver.lookups)
            .try_acquire_many_owned(63)
            .unwrap();
        let mut context = Context::from_waker(Waker::noop());
        let mut abandoned = resolve(&resolver, "192.0.2.1");
        assert!(abandoned.as_mut().poll(&mut context).is_pending());
        drop(abandoned);
        assert_eq!(resolver.lookups.available_permits(), 0);

        let mut waiting = resolve(&resolver, "192.0.2.2");
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        drop(release);
        assert!(runtime.block_on(waiting).is_ok());
        drop(others);
        assert_eq!(resolver.lookups.available_permits(), LOOKUPS_MAX);
    }
}
