//! How many names are looked up at once: altogether, and of one zone.
//!
//! A customer has as many names as he likes in a zone of his (`h1.hole.example`,
//! `h2.hole.example`), and all of them hang if its name servers do. So what is
//! counted is the zone: the last two labels of a name, or three where the second
//! one has at most three letters (`co.uk`, `com.au`), which tells customers apart
//! well enough without a list of the world's registries.
//!
//! - One zone has [`OF_A_ZONE_MAX`] look-ups at once.
//! - Zones that have hung within [`HUNG_KEPT`] share half of all places. So however
//!   many of them there are, and whatever they do, the other half is for names that
//!   answer and for those that nobody has asked for yet.
//! - All together have [`LOOK_UPS_MAX`]; each has two sockets.
//!
//! Whoever waits too long for places of zones that hung, his own among them, has
//! himself to blame. Anyone else has not: that is our shortage.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::LookUpFailed;
use crate::no_answer::OurOwn;

const LOOK_UPS_MAX: usize = 64;
const OF_A_ZONE_MAX: usize = 4;
const OF_HUNG_ZONES_MAX: usize = LOOK_UPS_MAX / 2;

/// How long it is remembered that a zone hung.
const HUNG_KEPT: Duration = Duration::from_secs(60);

/// The most zones of which it is remembered.
const HUNG_MAX: usize = 4_096;

pub(super) struct Places {
    all: Arc<Semaphore>,
    of_hung: Arc<Semaphore>,
    zones: Arc<Mutex<Zones>>,
}

#[derive(Default)]
struct Zones {
    /// Zones with somebody who looks up or waits, and how many there are.
    busy: HashMap<String, (Arc<Semaphore>, usize)>,
    /// When a zone last hung.
    hung: HashMap<String, Instant>,
}

/// The right to look one name up.
pub(super) struct Place {
    in_line: InLine,
    _permits: [Option<OwnedSemaphorePermit>; 3],
}

/// Stands at a zone; leaves when dropped.
struct InLine {
    zone: String,
    zones: Arc<Mutex<Zones>>,
}

impl Places {
    pub(super) fn new() -> Self {
        Self {
            all: Arc::new(Semaphore::new(LOOK_UPS_MAX)),
            of_hung: Arc::new(Semaphore::new(OF_HUNG_ZONES_MAX)),
            zones: Arc::default(),
        }
    }

    /// Waits for a place to look `host` up, for so long.
    ///
    /// # Cancel safety
    /// Dropping the future gives back all that it had.
    pub(super) async fn enter(&self, host: &str, wait: Duration) -> Result<Place, LookUpFailed> {
        let until = Instant::now() + wait;
        let zone = zone_of(host);
        let (own, has_hung) = lock(&self.zones).join(&zone);
        let in_line = InLine {
            zone,
            zones: Arc::clone(&self.zones),
        };
        let permit = async |from: &Arc<Semaphore>| {
            let permit = timeout_at(until, Arc::clone(from).acquire_owned()).await;
            permit.ok().and_then(Result::ok)
        };
        let crowded = OurOwn("too many names are being looked up");
        let own = match permit(&own).await {
            Some(own) => own,
            None if has_hung => return Err(LookUpFailed::Name),
            // Nobody has been asked, and a zone may be that of many customers.
            None => return Err(crowded.into()),
        };
        let of_hung = match has_hung {
            false => None,
            true => Some(permit(&self.of_hung).await.ok_or(LookUpFailed::Name)?),
        };
        let any = permit(&self.all).await.ok_or(crowded)?;
        Ok(Place {
            in_line,
            _permits: [Some(own), of_hung, Some(any)],
        })
    }

    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.all.available_permits() == LOOK_UPS_MAX && lock(&self.zones).busy.is_empty()
    }
}

impl Place {
    /// The zone's name servers have said something.
    pub(super) fn answered(&self) {
        lock(&self.in_line.zones).hung.remove(&self.in_line.zone);
    }

    /// They have said nothing in time.
    pub(super) fn hung(&self) {
        lock(&self.in_line.zones).remember(&self.in_line.zone);
    }
}

impl Zones {
    /// The zone's places, and whether it has hung lately.
    fn join(&mut self, zone: &str) -> (Arc<Semaphore>, bool) {
        let new = || (Arc::new(Semaphore::new(OF_A_ZONE_MAX)), 0);
        let (places, count) = self.busy.entry(zone.to_owned()).or_insert_with(new);
        *count += 1;
        let hung_at = self.hung.get(zone);
        let has_hung = hung_at.is_some_and(|at| at.elapsed() < HUNG_KEPT);
        (Arc::clone(places), has_hung)
    }

    fn leave(&mut self, zone: &str) {
        if let Some((_, count)) = self.busy.get_mut(zone) {
            *count -= 1;
            if *count == 0 {
                self.busy.remove(zone);
            }
        }
    }

    fn remember(&mut self, zone: &str) {
        if self.hung.len() >= HUNG_MAX {
            self.hung.retain(|_, at| at.elapsed() < HUNG_KEPT);
        }
        if self.hung.len() < HUNG_MAX || self.hung.contains_key(zone) {
            self.hung.insert(zone.to_owned(), Instant::now());
        }
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        lock(&self.zones).leave(&self.zone);
    }
}

/// Whom a name belongs to, as far as its labels tell.
fn zone_of(host: &str) -> String {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let mut labels = host.rsplit('.');
    let (Some(top), Some(second)) = (labels.next(), labels.next()) else {
        return host;
    };
    match labels.next() {
        Some(third) if second.len() <= 3 && top.len() == 2 => format!("{third}.{second}.{top}"),
        _ => format!("{second}.{top}"),
    }
}

/// What is behind the lock is whole after each call, so one that another thread
/// poisoned by panicking is still good.
fn lock(zones: &Mutex<Zones>) -> MutexGuard<'_, Zones> {
    zones.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_a_customers() {
        for (host, zone) in [
            ("h1.black.hole.example", "hole.example"),
            ("Hole.Example.", "hole.example"),
            ("hooks.customer.co.uk", "customer.co.uk"),
            ("co.uk", "co.uk"),
            ("h1.x7q.example", "x7q.example"),
            ("localhost", "localhost"),
            ("", ""),
        ] {
            assert_eq!(zone_of(host), zone);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_zone_has_four_places_and_waits_for_them_alone() {
        let places = Places::new();
        let wait = Duration::from_secs(1);
        let mut held = Vec::new();
        for n in 0..4 {
            held.push(
                places
                    .enter(&format!("h{n}.hole.example"), wait)
                    .await
                    .ok()
                    .unwrap(),
            );
        }
        let begun = Instant::now();
        let fifth = places.enter("h5.hole.example", wait).await;
        // Nobody was asked, so nobody is charged.
        assert!(matches!(fifth.err(), Some(LookUpFailed::Ours(_))));
        assert_eq!(begun.elapsed(), wait);
        assert!(places.enter("a.example", wait).await.is_ok());
        assert_eq!(begun.elapsed(), wait);
        held.pop();
        assert!(places.enter("h6.hole.example", wait).await.is_ok());
        held.clear();
        assert!(places.is_idle());
    }

    #[tokio::test(start_paused = true)]
    async fn zones_that_hung_leave_half_of_the_places() {
        let places = Places::new();
        let wait = Duration::from_secs(1);
        let hole = |n| format!("hole-{n}.example");
        for n in 0..100 {
            places.enter(&hole(n), wait).await.ok().unwrap().hung();
        }
        let mut held = Vec::new();
        for n in 0..100 {
            held.extend(places.enter(&hole(n), Duration::ZERO).await);
        }
        assert_eq!(held.len(), OF_HUNG_ZONES_MAX);
        for n in 0..OF_HUNG_ZONES_MAX {
            let place = places
                .enter(&format!("new-{n}.example"), Duration::ZERO)
                .await;
            held.push(place.ok().unwrap());
        }
        // All are taken: that is nobody's fault but ours.
        let crowded = places.enter("one-more.example", wait).await.err();
        assert!(
            matches!(crowded, Some(LookUpFailed::Ours(_))),
            "{crowded:?}"
        );
        held.clear();
        // An answer, or a minute, and it is as any other.
        places.enter(&hole(0), wait).await.ok().unwrap().answered();
        assert!(!lock(&places.zones).join(&hole(0)).1);
        assert!(lock(&places.zones).join(&hole(1)).1);
        tokio::time::advance(HUNG_KEPT).await;
        assert!(!lock(&places.zones).join(&hole(1)).1);
    }
}
