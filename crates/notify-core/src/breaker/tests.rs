//! The breaker against examples and a naive model.

use proptest::prelude::*;

use super::*;

const OK: Option<Verdict> = Some(Verdict::Delivered);
const FAILED: Option<Verdict> = failed(Blame::Endpoint, None);
const NO: Option<Verdict> = failed(Blame::Message, None);

const fn failed(blame: Blame, retry_after: Option<Duration>) -> Option<Verdict> {
    Some(Verdict::Failed { retry_after, blame })
}

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn asked(secs: u64) -> Option<Duration> {
    Some(Duration::from_secs(secs))
}

fn after(ends: &[Option<Verdict>]) -> Breaker {
    let mut breaker = Breaker::new(OPEN_MAX);
    for &end in ends {
        breaker.handle_end(at(100), false, end);
    }
    breaker
}

#[test]
fn five_failures_in_a_row_open_it_for_half_a_minute() {
    let four = after(&[FAILED; 4]);
    assert_eq!(four.state(at(100)), BreakerState::Closed);
    let five = after(&[FAILED; 5]);
    assert_eq!(five.state(at(100)), BreakerState::Open);
    assert_eq!(five.state(at(129)), BreakerState::Open);
    assert_eq!(five.probe_at(), Some(at(130)));
    assert_eq!(five.state(at(130)), BreakerState::HalfOpen);
    assert_eq!(five.failures_in_a_row(), 5);
}

#[test]
fn whoever_answers_lives_and_what_says_nothing_of_it_counts_nothing() {
    for lives in [OK, NO, Some(Verdict::Gone)] {
        let mut ends = [FAILED; 8];
        ends[4] = lives;
        assert!(!after(&ends).is_sick(), "{lives:?}");
    }
    for nothing in [Some(Verdict::Ours), Some(Verdict::AddressRefused), None] {
        assert!(after(&[nothing; 50]).is_blank());
        let mut ends = [FAILED; 6];
        ends[3] = nothing;
        assert!(after(&ends).is_sick(), "{nothing:?}");
    }
}

#[test]
fn half_of_twenty_within_a_minute_open_it() {
    let pair = |n: u64| if n.is_multiple_of(2) { FAILED } else { OK };
    let mut breaker = Breaker::new(OPEN_MAX);
    for n in 0..19 {
        breaker.handle_end(at(100 + 3 * n), false, pair(n));
        assert!(!breaker.is_sick(), "{n}");
    }
    breaker.handle_end(at(158), false, OK);
    assert!(breaker.is_sick());
    // More slowly they never come together.
    let mut slow = Breaker::new(OPEN_MAX);
    for n in 0..200 {
        slow.handle_end(at(100 + 4 * n), false, pair(n));
    }
    assert!(!slow.is_sick());
    // Less than half is no reason.
    let third = [FAILED, OK, OK];
    assert!(!after(&third.repeat(40)).is_sick());
}

#[test]
fn a_probe_that_fails_doubles_the_wait_up_to_its_bound() {
    let mut breaker = after(&[FAILED; 5]);
    let mut now = at(100);
    for secs in [30, 60, 120, 240, 480, 900, 900] {
        let due = breaker.probe_at().unwrap();
        assert_eq!(due.since(now), Duration::from_secs(secs));
        now = due;
        breaker.handle_probe();
        assert_eq!(breaker.probe_at(), None);
        assert_eq!(breaker.state(now), BreakerState::HalfOpen);
        breaker.handle_end(now, true, FAILED);
    }
    let mut short = Breaker::new(Duration::from_secs(47));
    for _ in 0..5 {
        short.handle_end(at(0), false, FAILED);
    }
    short.handle_probe();
    short.handle_end(at(30), true, FAILED);
    assert_eq!(short.probe_at(), Some(at(77)));
}

#[test]
fn a_probe_that_is_answered_closes_it_at_once() {
    for lives in [OK, NO] {
        let mut breaker = after(&[FAILED; 5]);
        breaker.handle_probe();
        breaker.handle_end(at(130), true, lives);
        assert!(breaker.is_blank(), "{lives:?}");
        // All begins anew.
        for _ in 0..4 {
            breaker.handle_end(at(131), false, FAILED);
        }
        assert!(!breaker.is_sick());
        breaker.handle_end(at(131), false, FAILED);
        assert_eq!(breaker.probe_at(), Some(at(161)));
    }
}

#[test]
fn what_was_sent_before_it_opened_decides_nothing() {
    let mut breaker = after(&[FAILED; 5]);
    for end in [OK, FAILED, OK] {
        breaker.handle_end(at(105), false, end);
    }
    assert_eq!(breaker.probe_at(), Some(at(130)));
    breaker.handle_probe();
    breaker.handle_end(at(131), false, OK);
    assert_eq!(breaker.state(at(131)), BreakerState::HalfOpen);
    breaker.handle_end(at(132), true, FAILED);
    assert_eq!(breaker.probe_at(), Some(at(192)));
}

#[test]
fn a_probe_of_which_nothing_comes_is_made_again() {
    for nothing in [None, Some(Verdict::Ours), Some(Verdict::AddressRefused)] {
        let mut breaker = after(&[FAILED; 5]);
        breaker.handle_probe();
        breaker.handle_end(at(131), true, nothing);
        assert_eq!(breaker.probe_at(), Some(at(131)));
        breaker.handle_probe();
        breaker.handle_end(at(132), true, FAILED);
        assert_eq!(breaker.probe_at(), Some(at(192)), "it is no less sick");
    }
}

#[test]
fn a_receiver_that_asks_for_time_gets_it_up_to_a_quarter_of_an_hour() {
    for (secs, until) in [(7, 107), (900, 1_000), (86_400, 1_000)] {
        let mut breaker = after(&[failed(Blame::Message, asked(secs))]);
        assert_eq!(breaker.state(at(100)), BreakerState::Paced);
        assert_eq!(breaker.probe_at(), Some(at(until)));
        breaker.handle_probe();
        breaker.handle_end(at(until), true, failed(Blame::Message, asked(7)));
        assert_eq!(
            breaker.probe_at(),
            Some(at(until + 7)),
            "no longer than asked"
        );
    }
    assert!(!after(&[failed(Blame::Message, asked(0))]).is_sick());
    // It is heeded whoever brings it, and shortens nothing.
    let mut open = after(&[FAILED; 5]);
    open.handle_end(at(101), false, failed(Blame::Message, asked(5)));
    assert_eq!(open.probe_at(), Some(at(130)));
    open.handle_end(at(101), false, failed(Blame::Message, asked(60)));
    assert_eq!(open.probe_at(), Some(at(161)));
    assert_eq!(open.state(at(110)), BreakerState::Open);
}

#[test]
fn one_that_was_sick_begins_with_its_probe() {
    let mut breaker = Breaker::of_sick(OPEN_MAX, at(50));
    assert!(breaker.is_sick());
    assert_eq!(breaker.state(at(50)), BreakerState::HalfOpen);
    breaker.handle_probe();
    breaker.handle_end(at(60), true, FAILED);
    assert_eq!(breaker.probe_at(), Some(at(90)));
    assert_eq!(breaker.state(at(60)), BreakerState::Open);
}

#[test]
fn a_clock_that_is_set_changes_no_wait() {
    let mut breaker = after(&[FAILED; 5]);
    breaker.handle_clock_set(ClockStep {
        from: at(110),
        to: at(5_000),
    });
    assert_eq!(breaker.probe_at(), Some(at(5_020)));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Pass(u64),
    Probe,
    End {
        is_probe: bool,
        end: Option<Verdict>,
    },
}

fn any_step() -> impl Strategy<Value = Step> {
    let end = prop_oneof![
        3 => Just(OK),
        4 => Just(FAILED),
        1 => Just(NO),
        1 => Just(Some(Verdict::Ours)),
        1 => Just(None),
        1 => (0u64..1_500).prop_map(|secs| failed(Blame::Message, asked(secs))),
        1 => (0u64..90).prop_map(|secs| failed(Blame::Endpoint, asked(secs))),
    ];
    prop_oneof![
        2 => (0u64..40).prop_map(Step::Pass),
        1 => Just(Step::Probe),
        6 => (any::<bool>(), end).prop_map(|(is_probe, end)| Step::End { is_probe, end }),
    ]
}

/// The naive model: everything that ended since it was last closed, looked through
/// from one end to the other.
#[derive(Default)]
struct Model {
    ended: Vec<(u64, bool)>,
    /// Until when nothing is attempted, and for how long it was opened last.
    shut: Option<(u64, Option<u64>)>,
    is_probing: bool,
}

impl Model {
    fn is_too_bad(&self) -> bool {
        let row = self.ended.iter().rev().take_while(|(_, failed)| *failed);
        let mut span: Vec<(u64, bool)> = Vec::new();
        for &(at, failed) in &self.ended {
            if span.first().is_some_and(|(began, _)| at - began >= 60) {
                span.clear();
            }
            if failed || !span.is_empty() {
                span.push((at, failed));
            }
        }
        let failures = span.iter().filter(|(_, failed)| *failed).count();
        row.count() >= 5 || (span.len() >= 20 && 2 * failures >= span.len())
    }

    fn end(&mut self, now: u64, is_probe: bool, end: Option<Verdict>) {
        let (failed, pace) = match end {
            Some(Verdict::Delivered | Verdict::Gone) => (false, None),
            Some(Verdict::Failed { retry_after, blame }) => {
                let pace = retry_after
                    .map(|time| time.as_secs())
                    .filter(|&secs| secs > 0);
                (blame == Blame::Endpoint, pace.map(|secs| secs.min(900)))
            }
            _ if is_probe && self.is_probing => {
                self.is_probing = false;
                self.shut = Some((now, self.shut.and_then(|(_, opened)| opened)));
                return;
            }
            _ => return,
        };
        if is_probe && self.is_probing {
            self.is_probing = false;
            let opened = self.shut.and_then(|(_, opened)| opened);
            let again = opened.map_or(30, |last| (2 * last).min(900));
            self.ended.clear();
            self.shut = failed.then_some((now + again, Some(again)));
        } else if self.shut.is_none() {
            self.ended.push((now, failed));
            if self.is_too_bad() {
                self.ended.clear();
                self.shut = Some((now + 30, Some(30)));
            }
        }
        if let Some(pace) = pace.filter(|_| !self.is_probing) {
            let (until, opened) = self.shut.unwrap_or((0, None));
            self.shut = Some((until.max(now + pace), opened));
        }
    }
}

proptest! {
    #[test]
    fn the_breaker_agrees_with_all_that_ever_ended(steps in proptest::collection::vec(any_step(), 0..300)) {
        let mut breaker = Breaker::new(OPEN_MAX);
        let mut model = Model::default();
        let mut now = 1_000;
        for step in steps {
            match step {
                Step::Pass(secs) => now += secs,
                Step::Probe => {
                    if model.shut.is_some_and(|(until, _)| until <= now) {
                        model.is_probing = true;
                        breaker.handle_probe();
                    }
                }
                Step::End { is_probe, end } => {
                    model.end(now, is_probe, end);
                    breaker.handle_end(at(now), is_probe, end);
                }
            }
            let expected = match model.shut {
                None => BreakerState::Closed,
                Some((until, _)) if model.is_probing || until <= now => BreakerState::HalfOpen,
                Some((_, None)) => BreakerState::Paced,
                Some((_, Some(_))) => BreakerState::Open,
            };
            prop_assert_eq!(breaker.state(at(now)), expected);
            let probe_at = model.shut.filter(|_| !model.is_probing).map(|(until, _)| at(until));
            prop_assert_eq!(breaker.probe_at(), probe_at);
        }
    }
}
