//! Randomness from outside: ids, epochs, tokens and secrets.

use std::sync::{Mutex, PoisonError};

use notify_core::store::FreshIds;
use notify_core::{EndpointId, Epoch};
use zeroize::Zeroizing;

use crate::error::NotifyError;

/// 32 random bytes, for a token or a secret.
pub(crate) fn secret_bytes() -> Result<Zeroizing<[u8; 32]>, NotifyError> {
    let mut bytes = Zeroizing::new([0; 32]);
    fill(&mut *bytes)?;
    Ok(bytes)
}

/// A random number, for an id.
pub(crate) fn number() -> Result<u128, NotifyError> {
    let mut bytes = [0; 16];
    fill(&mut bytes)?;
    Ok(u128::from_le_bytes(bytes))
}

/// Ids for whatever operations may create, drawn from the system many at a time: each
/// event needs some and uses few. They are names, not secrets.
#[derive(Default)]
pub(crate) struct FreshSupply(Mutex<Vec<FreshIds>>);

impl FreshSupply {
    /// Ids that nobody else is given.
    pub(crate) fn draw(&self) -> Result<FreshIds, NotifyError> {
        let mut drawn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ids) = drawn.pop() {
            return Ok(ids);
        }
        let mut numbers = [[0; 16]; 2 * DRAWN_AT_ONCE];
        fill(numbers.as_flattened_mut())?;
        drawn.extend(
            numbers
                .as_chunks()
                .0
                .iter()
                .map(|&[epoch, endpoint]| FreshIds {
                    epoch: Epoch::from_random(u128::from_le_bytes(epoch)),
                    endpoint: EndpointId::from_random(u128::from_le_bytes(endpoint)),
                }),
        );
        drawn.pop().ok_or(NotifyError::Internal)
    }
}

const DRAWN_AT_ONCE: usize = 128;

fn fill(bytes: &mut [u8]) -> Result<(), NotifyError> {
    getrandom::fill(bytes).map_err(|_| NotifyError::NotReady("the system gives no random bytes"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_id_is_given_twice() {
        let supply = FreshSupply::default();
        let mut seen = HashSet::new();
        for _ in 0..3 * DRAWN_AT_ONCE {
            let ids = supply.draw().unwrap();
            assert!(seen.insert(ids.epoch.to_string()));
            assert!(seen.insert(ids.endpoint.to_string()));
        }
    }
}
