//! How many tests passed, failed and were skipped.

use std::fmt;
use std::ops::AddAssign;

/// Counts of tests, added up over test binaries and steps.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    /// One failure that no test binary counted, such as code that does not
    /// compile or a binary that crashed.
    pub(crate) const ONE_FAILED: Tally = Tally {
        passed: 0,
        failed: 1,
        skipped: 0,
    };

    /// One suite left out.
    pub(crate) const ONE_SKIPPED: Tally = Tally {
        passed: 0,
        failed: 0,
        skipped: 1,
    };

    /// Reads the closing line of one test binary; any other line is `None`.
    ///
    /// Its form is `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    pub(crate) fn from_line(line: &str) -> Option<Tally> {
        let mut tally = Tally::default();
        for part in line.strip_prefix("test result: ")?.split(';') {
            let mut words = part.split_whitespace().rev();
            let (kind, count) = (words.next(), words.next());
            let count = count.and_then(|count| count.parse::<u64>().ok());
            match (kind, count) {
                (Some("passed"), Some(count)) => tally.passed = count,
                (Some("failed"), Some(count)) => tally.failed = count,
                (Some("ignored"), Some(count)) => tally.skipped = count,
                _ => {}
            }
        }
        Some(tally)
    }

    /// These counts for a run that ended so: one that failed without a failed
    /// test counts as one failure.
    pub(crate) fn or_failed(mut self, succeeded: bool) -> Tally {
        if !succeeded && self.failed == 0 {
            self += Tally::ONE_FAILED;
        }
        self
    }

    /// Whether no test ran at all, as with a misspelt filter.
    pub(crate) fn is_empty(self) -> bool {
        self.passed == 0 && self.failed == 0
    }

    /// Whether the run as a whole succeeded. One in which no test ran has shown
    /// nothing, so it has not.
    pub(crate) fn is_success(self, require_all: bool) -> bool {
        !self.is_empty() && self.failed == 0 && !(require_all && self.skipped > 0)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, more: Tally) {
        self.passed += more.passed;
        self.failed += more.failed;
        self.skipped += more.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(passed: u64, failed: u64, skipped: u64) -> Tally {
        Tally {
            passed,
            failed,
            skipped,
        }
    }

    #[test]
    fn a_closing_line_is_counted() {
        let ok = "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 7 filtered out; finished in 0.02s";
        assert_eq!(Tally::from_line(ok), Some(tally(12, 0, 3)));
        let failed = "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s";
        assert_eq!(Tally::from_line(failed), Some(tally(1, 2, 0)));
    }

    #[test]
    fn other_lines_are_not() {
        assert_eq!(Tally::from_line("test lane::tests::order ... ok"), None);
        assert_eq!(Tally::from_line("    test result: 3 passed"), None);
        assert_eq!(Tally::from_line(""), None);
    }

    #[test]
    fn a_failed_run_counts_at_least_one_failure() {
        assert_eq!(tally(5, 0, 0).or_failed(false), tally(5, 1, 0));
        assert_eq!(tally(5, 2, 0).or_failed(false), tally(5, 2, 0));
        assert_eq!(tally(5, 0, 0).or_failed(true), tally(5, 0, 0));
    }

    #[test]
    fn a_skip_fails_only_a_run_that_requires_all() {
        assert!(tally(1, 0, 1).is_success(false));
        assert!(!tally(1, 0, 1).is_success(true));
        assert!(tally(1, 0, 0).is_success(true));
    }

    #[test]
    fn a_failure_or_an_empty_run_is_never_a_success() {
        assert!(!tally(9, 1, 0).is_success(false));
        assert!(!tally(0, 0, 0).is_success(false));
    }

    #[test]
    fn the_closing_line_names_the_three_counts() {
        let mut total = tally(3, 0, 0);
        total += Tally::ONE_FAILED;
        total += Tally::ONE_SKIPPED;
        assert_eq!(total.to_string(), "3 passed, 1 failed, 1 skipped");
    }
}
