//! Whose dead letters have to leave, where there are too many.
//!
//! A dead letter is held by its endpoint, or by its job if it came to no endpoint. A
//! store tells [`Holders`] of each that comes and goes, and asks it which is
//! [next](Holders::next_to_leave); it keeps a few words a holder, and no letter.

use std::collections::{BTreeSet, HashMap};

use super::Retention;
use crate::delivery::Undelivered;
use crate::id::{EndpointId, JobId};

/// Who has a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Holder {
    /// The endpoint that it was for.
    Endpoint(EndpointId),
    /// Its job, as it came to no endpoint.
    Job(JobId),
}

impl Holder {
    /// Who has the dead letter of `of`.
    pub fn of(of: &Undelivered) -> Self {
        match of.endpoint {
            Some(endpoint) => Self::Endpoint(endpoint),
            None => Self::Job(of.job.clone()),
        }
    }
}

/// How much each holder has.
#[derive(Debug, Default)]
pub struct Holders {
    held: HashMap<Holder, Held>,
    by_letters: BTreeSet<(u64, Holder)>,
    by_bytes: BTreeSet<(u64, Holder)>,
    bytes: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    letters: u64,
    bytes: u64,
}

impl Holders {
    /// A dead letter of so many [bytes](Undelivered::bytes) has come.
    pub fn add(&mut self, holder: &Holder, bytes: u64) {
        self.change(holder, |held| Held {
            letters: held.letters + 1,
            bytes: held.bytes + bytes,
        });
    }

    /// One has gone.
    pub fn remove(&mut self, holder: &Holder, bytes: u64) {
        self.change(holder, |held| Held {
            letters: held.letters.saturating_sub(1),
            bytes: held.bytes.saturating_sub(bytes),
        });
    }

    /// The holder has none, whatever was thought.
    pub fn forget(&mut self, holder: &Holder) {
        self.change(holder, |_| Held::default());
    }

    /// Whose oldest dead letter has to leave, if there are more than may be kept: that
    /// of who has too many, or else of who has most bytes.
    pub fn next_to_leave(&self, retention: &Retention) -> Option<&Holder> {
        let (letters, holder) = self.by_letters.last()?;
        if *letters > retention.dead_letters_per_endpoint_max {
            return Some(holder);
        }
        let is_too_much = self.bytes > retention.dead_letter_bytes_max;
        let (_, holder) = self.by_bytes.last().filter(|_| is_too_much)?;
        Some(holder)
    }

    fn change(&mut self, holder: &Holder, change: impl FnOnce(Held) -> Held) {
        let old = self.held.get(holder).copied().unwrap_or_default();
        let new = change(old);
        self.by_letters.remove(&(old.letters, holder.clone()));
        self.by_bytes.remove(&(old.bytes, holder.clone()));
        self.bytes = self.bytes - old.bytes + new.bytes;
        if new.letters == 0 {
            self.bytes -= new.bytes;
            self.held.remove(holder);
            return;
        }
        self.by_letters.insert((new.letters, holder.clone()));
        self.by_bytes.insert((new.bytes, holder.clone()));
        self.held.insert(holder.clone(), new);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holder(number: u64) -> Holder {
        match number {
            0 => Holder::Job(JobId::from_random(0)),
            number => Holder::Endpoint(EndpointId::from_random(number.into())),
        }
    }

    proptest! {
        /// Letters come as `(holder, bytes)`; `take` drops one that came before.
        #[test]
        fn the_largest_holder_lets_go_until_all_fit(
            letters in proptest::collection::vec((0..4_u64, 1..50_u64), 0..60),
            taken in proptest::collection::vec(any::<proptest::sample::Index>(), 0..10),
            per_holder_max in 1..20_u64,
            bytes_max in 0..900_u64,
        ) {
            let retention = Retention {
                dead_letters_per_endpoint_max: per_holder_max,
                dead_letter_bytes_max: bytes_max,
                ..Retention::DEFAULT
            };
            let mut kept = Vec::new();
            let mut holders = Holders::default();
            for &(of, bytes) in &letters {
                kept.push((of, bytes));
                holders.add(&holder(of), bytes);
            }
            for index in taken {
                if !kept.is_empty() {
                    let (of, bytes) = kept.remove(index.index(kept.len()));
                    holders.remove(&holder(of), bytes);
                }
            }
            let sums = |kept: &[(u64, u64)], of: u64| {
                let of = kept.iter().filter(|letter| letter.0 == of);
                (of.clone().count() as u64, of.map(|letter| letter.1).sum::<u64>())
            };
            while let Some(leaves) = holders.next_to_leave(&retention).cloned() {
                let of = (0..4).find(|of| holder(*of) == leaves).unwrap();
                let (count, bytes) = sums(&kept, of);
                let all: u64 = kept.iter().map(|letter| letter.1).sum();
                let most = (0..4).map(|of| sums(&kept, of));
                prop_assert!(
                    count > per_holder_max
                        || all > bytes_max && most.clone().all(|most| most.1 <= bytes && most.0 <= per_holder_max)
                );
                let oldest = kept.iter().position(|letter| letter.0 == of).unwrap();
                let (_, bytes) = kept.remove(oldest);
                holders.remove(&leaves, bytes);
            }
            prop_assert!((0..4).all(|of| sums(&kept, of).0 <= per_holder_max));
            prop_assert!(kept.iter().map(|letter| letter.1).sum::<u64>() <= bytes_max);
        }
    }

    #[test]
    fn who_has_nothing_is_not_remembered() {
        let mut holders = Holders::default();
        holders.add(&holder(1), 10);
        holders.add(&holder(0), 10);
        holders.remove(&holder(1), 10);
        holders.forget(&holder(0));
        assert!(holders.held.is_empty() && holders.by_letters.is_empty());
        assert_eq!((holders.by_bytes.len(), holders.bytes), (0, 0));
    }
}
