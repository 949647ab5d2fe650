//! Finding what makes a decision panic, so that only that is refused.
//!
//! A decision changes nothing before it is carried out, so it can be tried as often
//! as it takes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::Fault;

/// What comes of `decide`; `None` if it panics.
pub(super) fn unless_it_panics<R>(
    decide: impl FnOnce() -> Result<R, Fault>,
) -> Result<Option<R>, Fault> {
    catch_unwind(AssertUnwindSafe(decide)).ok().transpose()
}

/// Decides over `parts` without those over which deciding panics, and says which
/// those are. The last part of the shortest beginning that panics is one: all before
/// it is in order. So each costs as many attempts as `parts` can be halved.
pub(super) fn without_culprits<T, R>(
    mut parts: Vec<T>,
    mut decide: impl FnMut(&[T]) -> Result<Option<R>, Fault>,
) -> Result<(R, Vec<T>), Fault> {
    let mut culprits = Vec::new();
    loop {
        if let Some(decided) = decide(&parts)? {
            return Ok((decided, culprits));
        }
        if parts.is_empty() {
            return Err(Fault::damaged("deciding over nothing panics"));
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
                Ok((!panics(parts)).then(|| parts.to_vec()))
            })
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
