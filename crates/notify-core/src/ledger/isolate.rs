//! Finding what makes a decision panic, so that only that is refused.
//!
//! A decision changes nothing before it is carried out, so it can be tried as often
//! as it takes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Decided, Supply};
use crate::store::{Batch, Refusal, StaleLease};

/// Why a caller is refused whose wish brings a bug to light.
pub const BUG: &str = "deciding over it panics, which is a bug";

/// What comes of `decide`; `None` if it panics.
///
/// # Errors
/// Those of `decide`.
pub fn unless_it_panics<R, E>(decide: impl FnOnce() -> Result<R, E>) -> Result<Option<R>, E> {
    catch_unwind(AssertUnwindSafe(decide)).ok().transpose()
}

/// What was decided over a batch without its culprits.
#[derive(Debug)]
pub struct Isolated {
    /// What was decided; the culprits are refused.
    pub decided: Decided,
    /// Where numbers and leases go on.
    pub supply: Supply,
    /// The culprits: settles and operations by their places, counted in this order.
    pub culprits: Vec<usize>,
}

/// Decides over `batch`, without those of its settles and operations over which that
/// panics: those are refused. `None` if it panics over nothing at all.
///
/// # Errors
/// Those of `decide`.
pub fn decide_isolated<E>(
    batch: &Batch,
    mut decide: impl FnMut(&Batch) -> Result<Option<(Decided, Supply)>, E>,
) -> Result<Option<Isolated>, E> {
    if let Some((decided, supply)) = decide(batch)? {
        let culprits = Vec::new();
        return Ok(Some(Isolated {
            decided,
            supply,
            culprits,
        }));
    }
    let settles = batch.settles.len();
    let parts = (0..settles + batch.operations.len()).collect();
    let sound = without_culprits(parts, |parts| decide(&part_of(batch, parts)))?;
    let Some(((mut decided, supply), mut culprits)) = sound else {
        return Ok(None);
    };
    culprits.sort_unstable();
    for &culprit in &culprits {
        match culprit.checked_sub(settles) {
            None => decided.written.settles.insert(culprit, Err(StaleLease)),
            Some(place) => {
                let refused = Err(Refusal::Internal);
                decided.written.answers.insert(place, refused);
            }
        }
    }
    Ok(Some(Isolated {
        decided,
        supply,
        culprits,
    }))
}

/// Decides over `parts` without those over which deciding panics, and says which
/// those are; `None` if it panics over nothing at all. The last part of the shortest
/// beginning that panics is one: all before it is in order. So each costs as many
/// attempts as `parts` can be halved.
///
/// # Errors
/// Those of `decide`.
pub fn without_culprits<T, R, E>(
    mut parts: Vec<T>,
    mut decide: impl FnMut(&[T]) -> Result<Option<R>, E>,
) -> Result<Option<(R, Vec<T>)>, E> {
    let mut culprits = Vec::new();
    loop {
        if let Some(decided) = decide(&parts)? {
            return Ok(Some((decided, culprits)));
        }
        if parts.is_empty() {
            return Ok(None);
        }
        let (mut sound, mut panics) = (0, parts.len());
        while panics - sound > 1 {
            let middle = usize::midpoint(sound, panics);
            match decide(parts.get(..middle).unwrap_or_default())? {
                Some(_) => sound = middle,
                None => panics = middle,
            }
        }
        culprits.push(parts.remove(sound));
    }
}

/// The settles and operations of `batch` at these places, counted in this order.
fn part_of(batch: &Batch, places: &[usize]) -> Batch {
    let settles = batch.settles.len();
    let operation = |place: &usize| batch.operations.get(place.checked_sub(settles)?);
    Batch {
        settles: places
            .iter()
            .filter_map(|place| batch.settles.get(*place).cloned())
            .collect(),
        health: batch.health.clone(),
        operations: places.iter().filter_map(operation).cloned().collect(),
        may_lease: batch.may_lease.clone(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_culprits_are_left_out_and_nothing_else(
            parts in proptest::collection::vec(0..20_u32, 0..40),
        ) {
            // One kind panics always, another one only if a third came before it.
            let panics = |parts: &[u32]| {
                let at = |kind| parts.iter().position(|part| *part == kind);
                let last = parts.iter().rposition(|part| *part == 2);
                at(1).is_some() || at(3).is_some_and(|third| last.is_some_and(|last| last > third))
            };
            let mut tried = 0;
            let (rest, culprits) = without_culprits(parts.clone(), |parts| {
                tried += 1;
                Ok::<_, ()>((!panics(parts)).then(|| parts.to_vec()))
            })
            .unwrap()
            .unwrap();
            let third = parts.iter().position(|part| *part == 3).unwrap_or(parts.len());
            let is_sound = |(place, part): (usize, &u32)| {
                (*part != 1 && (*part != 2 || place < third)).then_some(*part)
            };
            let sound: Vec<u32> = parts.iter().enumerate().filter_map(is_sound).collect();
            prop_assert_eq!(rest, sound);
            prop_assert!(tried <= 7 * culprits.len() + 1);
        }
    }
}
