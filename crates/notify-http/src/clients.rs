//! Which idle connections are kept, over all hosts together.
//!
//! The client's own pool knows a bound for each host and none for all of them,
//! so an event for each of a thousand hosts would leave a thousand idle
//! connections, and with them no descriptor for the next one. Here every client
//! holds at most one connection, and which idle clients are kept is decided over
//! all of them: the newest [`Clients::new`]'s `idle_max`, and none for longer
//! than its connection lives. Dropping an idle client closes its connection.
//!
//! - A request takes its host's youngest idle client, or makes one. Over HTTP/1.1
//!   nobody else has it until the answer is read, so a connection in use is never
//!   among those that are closed.
//! - An answer over HTTP/2 says that the connection carries many requests: from
//!   then on its client is shared by all requests to that host, stays for as long
//!   as one of them is under way, and counts as one when none is.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Version;
use notify_core::EndpointUrl;
use reqwest::Client;
use tokio::time::Instant;

/// Makes a client with a pool of its own for one connection.
pub(crate) type Recipe = Box<dyn Fn() -> Result<Client, reqwest::Error> + Send + Sync>;

/// The clients of one transport.
pub(crate) struct Clients {
    recipe: Recipe,
    idle_max: usize,
    idle_timeout: Duration,
    state: Mutex<State>,
}

/// Who shares a connection: scheme, host and port.
type Origin = Arc<str>;

#[derive(Default)]
struct State {
    hosts: HashMap<Origin, Host>,
    /// Idle clients by when they became so, the oldest first.
    idle: BTreeMap<u64, (Origin, Instant)>,
    next_number: u64,
}

#[derive(Default)]
struct Host {
    /// Clients that nobody uses, the oldest first, by their numbers in
    /// [`State::idle`].
    idle: Vec<(u64, Client)>,
    shared: Option<Shared>,
}

/// A client whose connection carries many requests at once.
struct Shared {
    number: u64,
    client: Client,
    users: usize,
}

/// A client in use.
pub(crate) struct Lent<'a> {
    clients: &'a Clients,
    origin: Origin,
    client: Client,
    /// The number of the shared one that it is.
    shared: Option<u64>,
    answered: Option<Version>,
}

impl Clients {
    pub(crate) fn new(recipe: Recipe, idle_max: usize, idle_timeout: Duration) -> Self {
        Self {
            recipe,
            idle_max,
            idle_timeout,
            state: Mutex::default(),
        }
    }

    /// A client for a request to `url`; one with a connection if there is one.
    ///
    /// # Errors
    /// No client could be made.
    pub(crate) fn lend(&self, url: &EndpointUrl) -> Result<Lent<'_>, reqwest::Error> {
        let origin: Origin = origin(url).into();
        let (found, _outdated) = {
            let mut state = self.lock();
            let outdated = state.take_outdated(self.idle_timeout);
            (state.take(&origin), outdated)
        };
        let (client, shared) = match found {
            Some(found) => found,
            None => ((self.recipe)()?, None),
        };
        Ok(Lent {
            clients: self,
            origin,
            client,
            shared,
            answered: None,
        })
    }

    /// Closes all connections that nobody uses.
    pub(crate) fn close_idle(&self) {
        let _closed: Vec<Client> = {
            let mut state = self.lock();
            std::iter::from_fn(|| state.take_oldest()).collect()
        };
    }

    fn take_back(&self, lent: &mut Lent<'_>) {
        // Closing a connection is work that nobody should wait for with the lock.
        let _closed = {
            let mut state = self.lock();
            state.take_back(lent);
            let mut closed = state.take_outdated(self.idle_timeout);
            while state.idle.len() > self.idle_max {
                closed.extend(state.take_oldest());
            }
            closed
        };
    }

    /// The state is whole after each call, so a lock that another thread
    /// poisoned by panicking is still good.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The host's shared client, or else its youngest idle one, which probably
    /// still has its connection.
    fn take(&mut self, origin: &Origin) -> Option<(Client, Option<u64>)> {
        let host = self.hosts.get_mut(origin)?;
        if let Some(shared) = &mut host.shared {
            shared.users += 1;
            self.idle.remove(&shared.number);
            return Some((shared.client.clone(), Some(shared.number)));
        }
        let (number, client) = host.idle.pop()?;
        self.idle.remove(&number);
        self.forget_if_empty(origin);
        Some((client, None))
    }

    /// A request is over. Without an answer there is no connection to keep.
    fn take_back(&mut self, lent: &mut Lent<'_>) {
        let next_number = self.next_number;
        self.next_number += 1;
        let host = self.hosts.entry(Arc::clone(&lent.origin)).or_default();
        let is_shared = lent.answered == Some(Version::HTTP_2);
        let mut idle = false;
        match (lent.shared, &mut host.shared) {
            (Some(number), Some(shared)) if shared.number == number => {
                shared.users -= 1;
                if lent.answered.is_some() && !is_shared {
                    // It is another server that answers there now.
                    host.shared = None;
                } else if shared.users == 0 {
                    shared.number = next_number;
                    idle = true;
                }
            }
            (None, None) if is_shared => {
                host.shared = Some(Shared {
                    number: next_number,
                    client: lent.client.clone(),
                    users: 0,
                });
                idle = true;
            }
            (None, None) if lent.answered.is_some() => {
                host.idle.push((next_number, lent.client.clone()));
                idle = true;
            }
            // Its host is served by another connection, or it failed.
            _ => {}
        }
        if idle {
            let became_so = (Arc::clone(&lent.origin), Instant::now());
            self.idle.insert(next_number, became_so);
        }
        self.forget_if_empty(&lent.origin);
    }

    /// Every client that has been idle for longer than its connection lives.
    fn take_outdated(&mut self, timeout: Duration) -> Vec<Client> {
        let mut outdated = Vec::new();
        while let Some((_, (_, since))) = self.idle.first_key_value()
            && since.elapsed() > timeout
        {
            outdated.extend(self.take_oldest());
        }
        outdated
    }

    /// The client that has been idle for longest.
    fn take_oldest(&mut self) -> Option<Client> {
        let (number, (origin, _)) = self.idle.pop_first()?;
        let host = self.hosts.get_mut(&origin)?;
        let taken = match host.idle.iter().position(|&(idle, _)| idle == number) {
            Some(position) => Some(host.idle.remove(position).1),
            None => host.shared.take().map(|shared| shared.client),
        };
        self.forget_if_empty(&origin);
        taken
    }

    fn forget_if_empty(&mut self, origin: &Origin) {
        let is_empty = |host: &Host| host.idle.is_empty() && host.shared.is_none();
        if self.hosts.get(origin).is_some_and(is_empty) {
            self.hosts.remove(origin);
        }
    }
}

impl Lent<'_> {
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// An answer has come, over this version of HTTP: the connection is worth
    /// keeping.
    pub(crate) fn answered(&mut self, version: Version) {
        self.answered = Some(version);
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.clients.take_back(self);
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}

/// Scheme, host and port, as the URL spells them.
fn origin(url: &EndpointUrl) -> &str {
    let authority = url.authority().len();
    let scheme = url.as_str().find("://").map_or(0, |at| at + "://".len());
    url.as_str().get(..scheme + authority).unwrap_or_default()
}
