//! Retention: what is past it is forgotten in short steps between batches, so often
//! that it keeps up with any producer and no more.
//!
//! While there is more to forget, as much time goes into it as into nothing at all
//! when little is written, and half as much as into writing when much is. Then it
//! rests for [`INTERVAL`].

use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(1);

/// When to trim next.
#[derive(Debug, Default)]
pub(super) struct Trimming {
    pub(super) at: Duration,
    /// How long writing has taken since the last steps, and those steps so far.
    wrote: Duration,
    spent: Duration,
}

impl Trimming {
    pub(super) fn is_due(&self, at: Duration) -> bool {
        self.at <= at
    }

    /// A batch was written in this time.
    pub(super) fn handle_wrote(&mut self, took: Duration) {
        self.wrote = took;
    }

    /// A step has taken this time.
    pub(super) fn handle_step(&mut self, at: Duration, took: Duration, more: bool) {
        self.spent += took;
        let has_had_its_share = self.spent >= self.wrote / 2;
        if more && !has_had_its_share {
            return;
        }
        self.at = at + if more { self.spent } else { INTERVAL };
        (self.wrote, self.spent) = (Duration::ZERO, Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_there_is_more_it_takes_half_of_the_time_of_writing() {
        let ms = Duration::from_millis;
        let mut trimming = Trimming::default();
        trimming.handle_wrote(ms(40));
        trimming.handle_step(ms(100), ms(10), true);
        assert!(trimming.is_due(ms(100)), "it has had 10 of 20 ms");
        trimming.handle_step(ms(110), ms(10), true);
        assert!(!trimming.is_due(ms(129)) && trimming.is_due(ms(130)));
        trimming.handle_step(ms(140), ms(10), false);
        assert!(!trimming.is_due(ms(1_139)) && trimming.is_due(ms(1_140)));
    }
}
