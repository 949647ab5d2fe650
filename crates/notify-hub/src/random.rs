//! Randomness from outside: ids, epochs, tokens and secrets.

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

/// Ids for whatever an operation may create.
pub(crate) fn fresh_ids() -> Result<FreshIds, NotifyError> {
    let mut numbers = [[0; 16]; 2];
    fill(numbers.as_flattened_mut())?;
    let [epoch, endpoint] = numbers.map(u128::from_le_bytes);
    Ok(FreshIds {
        epoch: Epoch::from_random(epoch),
        endpoint: EndpointId::from_random(endpoint),
    })
}

fn fill(bytes: &mut [u8]) -> Result<(), NotifyError> {
    getrandom::fill(bytes).map_err(|_| NotifyError::NotReady("the system gives no random bytes"))
}
