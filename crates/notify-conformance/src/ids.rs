//! A supply of ids.

use std::cell::Cell;

use notify_core::store::{FreshIds, TokenHash};
use notify_core::{EndpointId, Epoch};

use super::Draw;

/// Ids that differ and come in no order, so that no store can lean on one.
#[derive(Default)]
pub(super) struct Ids(Cell<u64>);

impl Ids {
    pub(super) fn fresh(&self) -> FreshIds {
        FreshIds {
            epoch: Epoch::from_random(self.next()),
            endpoint: EndpointId::from_random(self.next()),
        }
    }

    pub(super) fn token(&self) -> TokenHash {
        let (first, second) = (self.next().to_le_bytes(), self.next().to_le_bytes());
        std::array::from_fn(|at| if at < 16 { first[at] } else { second[at - 16] })
    }

    fn next(&self) -> u128 {
        let number = self.0.get();
        self.0.set(number + 1);
        let mut draw = Draw::new(number);
        (u128::from(draw.number()) << 64) | u128::from(draw.number())
    }
}
