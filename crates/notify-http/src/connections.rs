//! Which idle connections are kept, over all hosts together.
//!
//! A bound for each host would not do: an event for each of a thousand hosts would
//! leave a thousand idle connections, and with them no descriptor for the next one.
//! Kept are the newest [`Connections::new`]'s `idle_max`, and none for longer than
//! `idle_timeout`, which a task watches while there are any.
//!
//! - A request takes its host's youngest idle connection, if there is one. Over
//!   HTTP/1.1 nobody else has it until the answer is read, so a connection in use is
//!   never among those that are closed.
//! - A connection over HTTP/2 carries many requests: after its first answer it is
//!   shared by all requests to that host, stays for as long as one of them is under
//!   way, and counts as one when none is.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use crate::connection::{Connection, Http1};
use crate::target::Target;
use crate::tasks::Tasks;

/// The connections of one transport.
pub(crate) struct Connections {
    idle_max: usize,
    idle_timeout: Duration,
    tasks: Tasks,
    state: Mutex<State>,
}

/// Who shares a connection: scheme, host and port.
type Origin = Arc<str>;

#[derive(Default)]
struct State {
    hosts: HashMap<Origin, Host>,
    /// Idle connections by when they became so, the oldest first.
    idle: BTreeMap<u64, (Origin, Instant)>,
    next_number: u64,
    /// Closes those that have been idle for too long.
    watch: Option<AbortHandle>,
}

#[derive(Default)]
struct Host {
    /// Those that nobody uses, the oldest first, by their numbers in
    /// [`State::idle`].
    idle: Vec<(u64, Http1)>,
    shared: Option<Shared>,
}

/// One that carries many requests at once.
struct Shared {
    number: u64,
    sender: http2::SendRequest<Full<Bytes>>,
    users: usize,
}

/// The place of a request among those to its host. Without
/// [`keep`](Place::keep) its connection is not kept.
pub(crate) struct Place<'a> {
    connections: &'a Arc<Connections>,
    origin: Origin,
    /// The number of the shared connection that it uses.
    shared: Option<u64>,
    kept: Option<Connection>,
}

impl Connections {
    pub(crate) fn new(idle_max: usize, idle_timeout: Duration, tasks: Tasks) -> Self {
        Self {
            idle_max,
            idle_timeout,
            tasks,
            state: Mutex::default(),
        }
    }

    /// A connection for a request to `target`, if there is one.
    pub(crate) fn lend(self: &Arc<Self>, target: &Target) -> Option<(Connection, Place<'_>)> {
        let (connection, shared) = self.lock().take(&target.origin)?;
        let mut place = self.place(target);
        place.shared = shared;
        Some((connection, place))
    }

    /// The place of a request on a connection of its own.
    pub(crate) fn place(self: &Arc<Self>, target: &Target) -> Place<'_> {
        Place {
            connections: self,
            origin: Arc::clone(&target.origin),
            shared: None,
            kept: None,
        }
    }

    /// Closes all connections that nobody uses.
    pub(crate) fn close_idle(&self) {
        // Closing a connection is work that nobody should wait for with the lock.
        let _closed: Vec<Connection> = {
            let mut state = self.lock();
            std::iter::from_fn(|| state.take_oldest()).collect()
        };
    }

    fn take_back(self: &Arc<Self>, place: &mut Place<'_>) {
        let _closed = {
            let mut state = self.lock();
            if state.take_back(place) {
                self.see_watched(&mut state);
            }
            let excess = state.idle.len().saturating_sub(self.idle_max);
            (0..excess).map(|_| state.take_oldest()).collect::<Vec<_>>()
        };
    }

    /// There is something idle, so somebody has to see when it was so for too long.
    /// A watch may have ended with another runtime.
    fn see_watched(self: &Arc<Self>, state: &mut State) {
        if state.watch.as_ref().is_none_or(AbortHandle::is_finished)
            && let Some(until) = Instant::now().checked_add(self.idle_timeout)
        {
            let watch = watch(Arc::downgrade(self), until);
            state.watch = Some(self.tasks.spawn(watch));
        }
    }

    /// Closes what has been idle for too long; says when the next will have been.
    fn close_outdated(&self) -> Option<Instant> {
        let mut closed = Vec::new();
        let mut state = self.lock();
        while let Some((_, (_, since))) = state.idle.first_key_value() {
            let until = since.checked_add(self.idle_timeout)?;
            if until > Instant::now() {
                return Some(until);
            }
            closed.push(state.take_oldest());
        }
        // Whatever becomes idle from now on finds no watch.
        state.watch = None;
        None
    }

    /// The state is whole after each call, so a lock that another thread
    /// poisoned by panicking is still good.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.tasks.abort_all();
    }
}

/// Ends when nothing is idle, or with the connections.
async fn watch(connections: Weak<Connections>, mut until: Instant) {
    loop {
        sleep_until(until).await;
        let next = connections.upgrade().and_then(|all| all.close_outdated());
        let Some(next) = next else {
            return;
        };
        until = next;
    }
}

impl State {
    /// The host's shared connection, or else its youngest idle one, which probably
    /// still is one.
    fn take(&mut self, origin: &Origin) -> Option<(Connection, Option<u64>)> {
        let host = self.hosts.get_mut(origin)?;
        if let Some(shared) = &mut host.shared {
            self.idle.remove(&shared.number);
            if shared.sender.is_ready() {
                shared.users += 1;
                let sender = shared.sender.clone();
                return Some((Connection::Http2(sender), Some(shared.number)));
            }
            // It has died, or takes no more requests.
            host.shared = None;
        }
        let taken = host.idle.pop();
        if let Some((number, _)) = &taken {
            self.idle.remove(number);
        }
        self.forget_if_empty(origin);
        let (_, connection) = taken?;
        Some((Connection::Http1(connection), None))
    }

    /// A request is over; says whether that leaves a connection idle.
    fn take_back(&mut self, place: &mut Place<'_>) -> bool {
        let number = self.next_number;
        self.next_number += 1;
        let host = self.hosts.entry(Arc::clone(&place.origin)).or_default();
        let is_idle = match (place.shared, place.kept.take(), &mut host.shared) {
            (Some(used), _, Some(shared)) if shared.number == used => {
                shared.users -= 1;
                if shared.users == 0 {
                    shared.number = number;
                }
                shared.users == 0
            }
            (None, Some(Connection::Http2(sender)), shared @ None) => {
                *shared = Some(Shared {
                    number,
                    sender,
                    users: 0,
                });
                true
            }
            (None, Some(Connection::Http1(connection)), None) => {
                host.idle.push((number, connection));
                true
            }
            // Its host is served by another connection, or it failed.
            _ => false,
        };
        if is_idle {
            let became_so = (Arc::clone(&place.origin), Instant::now());
            self.idle.insert(number, became_so);
        }
        self.forget_if_empty(&place.origin);
        is_idle
    }

    /// The connection that has been idle for longest.
    fn take_oldest(&mut self) -> Option<Connection> {
        let (number, (origin, _)) = self.idle.pop_first()?;
        let host = self.hosts.get_mut(&origin)?;
        let taken = match host.idle.iter().position(|&(idle, _)| idle == number) {
            Some(position) => Some(Connection::Http1(host.idle.remove(position).1)),
            None => {
                let shared = host.shared.take();
                shared.map(|shared| Connection::Http2(shared.sender))
            }
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

impl Place<'_> {
    /// The request was answered, and its connection can take another.
    pub(crate) fn keep(mut self, connection: Connection) {
        self.kept = Some(connection);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.kept.is_some() || self.shared.is_some() {
            self.connections.take_back(self);
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}
