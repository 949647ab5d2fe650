//! Small random differences, so that readers who came together don't come back
//! together.

use std::time::Duration;

/// Draws random waits; one for each stream.
///
/// The system is asked once for a seed; the rest is SplitMix64 (Steele, Lea and
/// Flood, 2014), since nothing here has to be hard to guess.
#[derive(Clone, Debug)]
pub(crate) struct Jitter {
    state: u64,
}

impl Jitter {
    /// Seeded by the system.
    pub(crate) fn from_system() -> Self {
        // Without randomness, streams beat in step, which is no reason to fail.
        Self::seeded(getrandom::u64().unwrap_or_default())
    }

    /// The same waits for the same seed.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self { state: seed }
    }

    /// `around` ±20 %.
    pub(crate) fn spread(&mut self, around: Duration) -> Duration {
        let permille = 800 + self.next() % 401;
        // At most 1,200, so it fits.
        around * u32::try_from(permille).unwrap_or(1_000) / 1_000
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_spread_over_a_fifth_to_each_side() {
        let around = Duration::from_secs(15);
        let mut jitter = Jitter::seeded(7);
        let waits: Vec<Duration> = (0..10_000).map(|_| jitter.spread(around)).collect();
        assert_eq!(waits.iter().min(), Some(&Duration::from_secs(12)));
        assert_eq!(waits.iter().max(), Some(&Duration::from_secs(18)));
    }

    #[test]
    fn it_draws_the_published_numbers() {
        // The generator's reference output for this seed.
        let mut jitter = Jitter::seeded(1_234_567);
        assert_eq!(jitter.next(), 6_457_827_717_110_365_317);
        assert_eq!(jitter.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn two_streams_differ() {
        let (mut one, mut other) = (Jitter::from_system(), Jitter::from_system());
        assert_ne!(one.next(), other.next());
    }
}
