//! Seats for connections: as many as there may be, and none for good.
//!
//! A connection without a request under way is at rest. When all seats are taken
//! and somebody comes, the one that has been at rest longest leaves. Whoever has
//! shown credentials that hold is known and leaves after all strangers, who are
//! at rest even while they take what they were answered. So strangers can take
//! seats from each other, and from nobody else.
//!
//! Nobody leaves before [`REST_MIN`]: whoever has just come is yet to say what for,
//! and however fast others come, they wait that long for his seat.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// For how long a connection is at rest at least before it is asked to leave.
/// Its first request has mostly arrived before it is taken.
const REST_MIN: Duration = Duration::from_millis(100);

/// The seats of one listener.
pub(super) struct Seats(Arc<Shared>);

struct Shared {
    room: Mutex<Room>,
    /// A seat is free, or somebody is at rest who was not.
    changed: Notify,
}

struct Room {
    free: usize,
    /// Seats of those who are not known.
    of_strangers: usize,
    /// The next [`Place::ticket`].
    next: u64,
    /// Those at rest, by their tickets.
    strangers: BTreeMap<u64, Resting>,
    known: BTreeMap<u64, Resting>,
    /// Who was asked to leave, until he does or has got something to do.
    leaving: Option<u64>,
}

struct Resting {
    since: Instant,
    leave: Arc<Notify>,
}

impl Seats {
    pub(super) fn new(seats_max: usize) -> Self {
        let room = Room {
            free: seats_max.max(1),
            of_strangers: 0,
            next: AT_WORK + 1,
            strangers: BTreeMap::new(),
            known: BTreeMap::new(),
            leaving: None,
        };
        Self(Arc::new(Shared {
            room: Mutex::new(room),
            changed: Notify::new(),
        }))
    }

    /// A seat, as soon as one is free; if need be, one at rest is asked to leave.
    ///
    /// # Cancel safety
    /// Nothing is lost; at most somebody was asked to leave in vain.
    pub(super) async fn take(&self) -> Seat {
        loop {
            let ask_again = match self.try_take() {
                Ok(seat) => return seat,
                Err(ask_again) => ask_again,
            };
            let asking = async {
                match ask_again {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.0.changed.notified() => {}
                () = asking => {}
            }
        }
    }

    /// A seat; or when it is worth asking again, unless something changes first.
    fn try_take(&self) -> Result<Seat, Option<Instant>> {
        let mut room = self.0.room();
        let Some(free) = room.free.checked_sub(1) else {
            return Err(room.ask_one_to_leave(Instant::now()));
        };
        room.free = free;
        room.of_strangers += 1;
        Ok(Seat(Arc::new(Place {
            shared: Arc::clone(&self.0),
            leave: Arc::new(Notify::new()),
            ticket: AtomicU64::new(AT_WORK),
            is_known: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            is_unread: AtomicBool::new(false),
        })))
    }
}

impl Shared {
    fn room(&self) -> MutexGuard<'_, Room> {
        // Nothing that holds it can panic half way.
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    /// Asks whoever has been at rest longest; or says when he will have been so
    /// for long enough.
    fn ask_one_to_leave(&mut self, now: Instant) -> Option<Instant> {
        if self.leaving.is_some() {
            return None;
        }
        // A stranger at work will be at rest in no time.
        let resting = match self.of_strangers {
            0 => &mut self.known,
            _ => &mut self.strangers,
        };
        let longest = resting.first_entry()?;
        let may_leave_at = longest.get().since + REST_MIN;
        if may_leave_at > now {
            return Some(may_leave_at);
        }
        self.leaving = Some(*longest.key());
        longest.remove().leave.notify_one();
        None
    }

    /// Forgets that somebody was at rest.
    fn forget(&mut self, ticket: u64) {
        self.strangers.remove(&ticket);
        self.known.remove(&ticket);
        self.leaving = self.leaving.filter(|&leaving| leaving != ticket);
    }
}

/// A connection's seat. It is free again when its last handle is gone.
#[derive(Clone)]
pub(crate) struct Seat(Arc<Place>);

struct Place {
    shared: Arc<Shared>,
    leave: Arc<Notify>,
    /// Since when it is at rest, in the order of all; or [`AT_WORK`].
    ticket: AtomicU64,
    is_known: AtomicBool,
    /// Requests that have begun, and those whose answers are made.
    requests: AtomicU64,
    answered: AtomicU64,
    /// Whether some of the last request's body was left unread.
    is_unread: AtomicBool,
}

const AT_WORK: u64 = 0;

impl Seat {
    /// Whoever sits here has shown credentials that hold.
    pub(crate) fn is_now_known(&self) {
        if !self.0.is_known.swap(true, Relaxed) {
            self.0.shared.room().of_strangers -= 1;
            self.0.shared.changed.notify_one();
        }
    }

    /// A request has begun.
    pub(super) fn begin(&self) -> UnderWay {
        self.0.requests.fetch_add(1, Relaxed);
        self.0.is_unread.store(false, Relaxed);
        let ticket = self.0.ticket.swap(AT_WORK, Relaxed);
        if ticket != AT_WORK {
            self.0.shared.room().forget(ticket);
            self.0.shared.changed.notify_one();
        }
        UnderWay(self.clone())
    }

    /// It is decided what the request is answered.
    pub(super) fn is_decided(&self) {
        if !self.0.is_known.load(Relaxed) {
            self.rest();
        }
    }

    /// How many requests have begun, if none of them is under way.
    pub(super) fn idle_after(&self) -> Option<u64> {
        let requests = self.0.requests.load(Relaxed);
        (self.0.answered.load(Relaxed) == requests).then_some(requests)
    }

    /// Nothing is under way: the seat may be taken away.
    pub(super) fn rest(&self) {
        if self.0.ticket.load(Relaxed) != AT_WORK {
            return;
        }
        let mut room = self.0.shared.room();
        let ticket = room.next;
        room.next += 1;
        let resting = Resting {
            since: Instant::now(),
            leave: Arc::clone(&self.0.leave),
        };
        match self.0.is_known.load(Relaxed) {
            true => room.known.insert(ticket, resting),
            false => room.strangers.insert(ticket, resting),
        };
        self.0.ticket.store(ticket, Relaxed);
        drop(room);
        self.0.shared.changed.notify_one();
    }

    /// Waits until another needs the seat more.
    pub(super) async fn asked_to_leave(&self) {
        loop {
            self.0.leave.notified().await;
            // A request may have come in between.
            let ticket = self.0.ticket.load(Relaxed);
            if self.0.shared.room().leaving == Some(ticket) {
                return;
            }
        }
    }

    /// Some of the request's body is left unread.
    pub(super) fn leaves_unread(&self) {
        self.0.is_unread.store(true, Relaxed);
    }

    /// Whether some of the last request's body was left unread.
    pub(super) fn is_unread(&self) -> bool {
        self.0.is_unread.load(Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut room = self.shared.room();
        room.forget(self.ticket.load(Relaxed));
        room.free += 1;
        if !self.is_known.load(Relaxed) {
            room.of_strangers -= 1;
        }
        drop(room);
        self.shared.changed.notify_one();
    }
}

/// A request is under way until this is dropped.
pub(super) struct UnderWay(Seat);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.answered.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a future says when it is asked once.
    macro_rules! once {
        ($future:expr) => {
            tokio::select! {
                biased;
                said = $future => Some(said),
                () = std::future::ready(()) => None,
            }
        };
    }

    /// Whether there is a seat for a newcomer, once everybody's time is up.
    async fn finds_one(seats: &Seats) -> bool {
        tokio::time::advance(REST_MIN).await;
        once!(seats.take()).is_some()
    }

    async fn leaves(seat: &Seat) -> bool {
        once!(seat.asked_to_leave()).is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_been_at_rest_longest_leaves() {
        let seats = Seats::new(2);
        let (first, second) = (seats.take().await, seats.take().await);
        second.rest();
        first.rest();
        assert!(!finds_one(&seats).await);
        assert!(!leaves(&first).await && leaves(&second).await);
        drop(second);
        assert!(finds_one(&seats).await);
        assert!(!leaves(&first).await, "one newcomer, one who leaves");
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_leave_before_those_who_are_known() {
        let seats = Seats::new(2);
        let (known, stranger) = (seats.take().await, seats.take().await);
        known.is_now_known();
        known.rest();
        stranger.rest();
        assert!(!finds_one(&seats).await);
        assert!(!leaves(&known).await && leaves(&stranger).await);
        drop(stranger);
        let last = seats.take().await;
        last.is_now_known();
        assert!(!finds_one(&seats).await);
        assert!(leaves(&known).await, "no stranger is left to go");
    }

    #[tokio::test(start_paused = true)]
    async fn no_known_one_leaves_for_want_of_a_stranger_at_rest() {
        let seats = Seats::new(2);
        let (known, stranger) = (seats.take().await, seats.take().await);
        known.is_now_known();
        known.rest();
        let _judged = stranger.begin();
        assert!(!finds_one(&seats).await);
        assert!(!leaves(&known).await);
        stranger.is_decided();
        assert!(!finds_one(&seats).await);
        assert!(!leaves(&known).await && leaves(&stranger).await);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_leaves_in_the_middle_of_a_request() {
        let seats = Seats::new(1);
        let seat = seats.take().await;
        seat.rest();
        assert!(!finds_one(&seats).await);
        let under_way = seat.begin();
        assert!(!leaves(&seat).await && seat.idle_after().is_none());
        assert!(!finds_one(&seats).await);
        assert!(!leaves(&seat).await);
        drop(under_way);
        assert_eq!(seat.idle_after(), Some(1));
        seat.rest();
        assert!(!finds_one(&seats).await);
        assert!(leaves(&seat).await);
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_stranger_is_at_rest_before_he_has_taken_his_answer() {
        let seats = Seats::new(2);
        let (known, stranger) = (seats.take().await, seats.take().await);
        known.is_now_known();
        let (_under_way, answered) = (known.begin(), stranger.begin());
        known.is_decided();
        stranger.is_decided();
        assert!(!finds_one(&seats).await);
        assert!(leaves(&stranger).await && !leaves(&known).await);
        drop((stranger, answered));
        let _last = seats.take().await;
        assert!(!finds_one(&seats).await);
        assert!(!leaves(&known).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_the_seat_of_whoever_comes_to_rest() {
        let seats = Seats::new(1);
        let seat = seats.take().await;
        let newcomer = seats.take();
        tokio::pin!(newcomer);
        assert!(once!(newcomer.as_mut()).is_none());
        seat.rest();
        assert!(once!(newcomer.as_mut()).is_none());
        assert!(!leaves(&seat).await, "he has only just come to rest");
        tokio::time::advance(REST_MIN).await;
        assert!(once!(newcomer.as_mut()).is_none());
        assert!(leaves(&seat).await);
        drop(seat);
        newcomer.await;
    }
}
