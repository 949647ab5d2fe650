//! What happened, for the reader of a failure.
//!
//! A run is silent: writing lines would cost more than all the rest. The one
//! that fails is run again, with the same seed and with its trace.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The last lines, and a hash over all of them.
#[derive(Debug, Default)]
pub(super) struct Trace {
    kept: Option<VecDeque<String>>,
    hash: DefaultHasher,
}

impl Trace {
    /// How many lines a failure shows.
    const LINES_MAX: usize = 200;

    pub(super) fn new(enabled: bool) -> Self {
        Self {
            kept: enabled.then(VecDeque::new),
            hash: DefaultHasher::new(),
        }
    }

    pub(super) fn note(&mut self, now: u64, line: impl FnOnce() -> String) {
        let Some(kept) = &mut self.kept else { return };
        let line = format!("{:>10.3}  {}", seconds(now), line());
        line.hash(&mut self.hash);
        kept.push_back(line);
        if kept.len() > Self::LINES_MAX {
            kept.pop_front();
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash.finish()
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.kept.into_iter().flatten().collect()
    }
}

/// Simulated time as people read it.
fn seconds(millis: u64) -> f64 {
    std::time::Duration::from_millis(millis).as_secs_f64()
}
