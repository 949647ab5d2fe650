//! The one source of chance: a seed decides everything that happens.

/// SplitMix64 (Steele et al. 2014): small, and good enough to choose faults by.
#[derive(Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn wide(&mut self) -> u128 {
        u128::from(self.number()) << 64 | u128::from(self.number())
    }

    /// One of `least..=most`.
    pub(super) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.number() % (most - least + 1)
    }

    /// As [`Self::between`], for the settings that are `u32`.
    pub(super) fn small(&mut self, least: u32, most: u32) -> u32 {
        let drawn = self.between(u64::from(least), u64::from(most));
        u32::try_from(drawn).unwrap_or(most)
    }

    /// Whether something with this chance happens.
    pub(super) fn percent(&mut self, chance: u64) -> bool {
        self.number() % 100 < chance
    }

    /// An index below `length`, or `None` for 0.
    pub(super) fn index(&mut self, length: usize) -> Option<usize> {
        let drawn = self.number().checked_rem(length as u64)?;
        usize::try_from(drawn).ok()
    }

    /// One of `items`, unless there is none.
    pub(super) fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        self.index(items.len()).and_then(|index| items.get(index))
    }
}
