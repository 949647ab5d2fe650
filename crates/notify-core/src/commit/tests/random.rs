//! Whatever happens in whatever order: every answer once, every settle once.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Ask,
    Settle,
    Pass(u64),
    Answer(Came),
    Lease,
    SetClock,
}

#[derive(Clone, Copy, Debug)]
enum Came {
    Done,
    Full,
    NotNow,
    Unknown,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Ask),
        4 => Just(Step::Settle),
        3 => (0u64..900).prop_map(Step::Pass),
        8 => prop_oneof![
            20 => Just(Came::Done),
            3 => Just(Came::Full),
            4 => Just(Came::NotNow),
            1 => Just(Came::Unknown),
        ].prop_map(Step::Answer),
        1 => Just(Step::Lease),
        1 => Just(Step::SetClock),
    ]
}

/// The driver, with what it has heard so far.
struct Rig {
    committer: Committer<u64>,
    scheduler: Scheduler,
    at: Duration,
    call: Option<Work>,
    asked: u64,
    answered: Vec<u64>,
    settled: u128,
    written: Vec<Lease>,
    /// Settles that the store did not take.
    owed: bool,
}

impl Rig {
    fn turn(&mut self) {
        if self.call.is_none() {
            let work = self.committer.poll_work(self.at, NOW, &mut self.scheduler);
            let is_claim = matches!(work, Work::Claim { .. });
            assert!(!(is_claim && self.owed), "it claims while it owes settles");
            if !matches!(work, Work::Wait(_) | Work::End) {
                self.call = Some(work);
            }
        }
        let done = std::iter::from_fn(|| self.committer.poll_done());
        self.answered.extend(done.map(|done| done.ticket));
    }

    fn answer(&mut self, came: Came) {
        let Some(call) = self.call.take() else { return };
        let error = match came {
            Came::Done => None,
            Came::Full => Some(StoreError::Full),
            Came::NotNow => Some(StoreError::NotNow),
            Came::Unknown => Some(StoreError::OutcomeUnknown),
        };
        let (committer, scheduler) = (&mut self.committer, &mut self.scheduler);
        match (call, error) {
            (Work::Write(batch), Some(error)) => {
                self.owed |= !batch.settles.is_empty();
                committer.handle_failed(self.at, error);
            }
            (_, Some(error)) => committer.handle_failed(self.at, error),
            (Work::Write(batch), None) => {
                self.owed = false;
                let leases = batch.settles.iter().map(|settle| settle.lease);
                self.written.extend(leases);
                committer.handle_written(self.at, carried_out(&batch), scheduler);
            }
            (Work::Claim { .. }, None) => {
                committer.handle_claimed(Written::default(), scheduler);
            }
            (Work::Trim { .. }, None) => committer.handle_trimmed(self.at, Trimmed::default()),
            (Work::Wait(_) | Work::End, None) => {}
        }
    }
}

proptest! {
    #[test]
    fn everyone_is_answered_once_and_every_settle_written_once(
        steps in proptest::collection::vec(any_step(), 0..200)
    ) {
        let (committer, scheduler) = new();
        let mut rig = Rig {
            committer,
            scheduler,
            at: ms(0),
            call: None,
            asked: 0,
            answered: Vec::new(),
            settled: 0,
            written: Vec::new(),
            owed: false,
        };
        for step in steps {
            match step {
                Step::Ask => {
                    let (n, at) = (rig.asked, rig.at);
                    rig.committer.handle_operation(at, operation(n.into()), n);
                    rig.asked += 1;
                }
                Step::Settle => {
                    settle_one(&mut rig.scheduler, rig.settled);
                    rig.settled += 1;
                }
                Step::Pass(millis) => rig.at += ms(millis),
                Step::Answer(came) => rig.answer(came),
                Step::Lease => rig.scheduler.handle_left_waiting(EndpointId::from_random(99)),
                Step::SetClock => {
                    let step = ClockStep { from: Timestamp::from_secs(9), to: Timestamp::EPOCH };
                    rig.committer.handle_clock_set(rig.at, step);
                }
            }
            rig.turn();
        }
        // What is left is written before it ends, and once more if need be.
        rig.answer(Came::NotNow);
        rig.committer.handle_phase(CommitPhase::Closing);
        for _ in 0..(rig.asked + 9) {
            rig.at += ms(1_000);
            rig.turn();
            rig.answer(Came::Done);
        }
        rig.turn();
        let ended = rig.committer.poll_work(rig.at, NOW, &mut rig.scheduler);
        prop_assert!(matches!(ended, Work::End), "{ended:?}");
        let mut answered = rig.answered.clone();
        answered.sort_unstable();
        prop_assert!(answered.iter().copied().eq(0..rig.asked), "{:?} of {}", rig.answered, rig.asked);
        let written = rig.written.iter().map(|lease| lease.token());
        if rig.committer.failure().is_none() {
            prop_assert!(written.eq(0..rig.settled), "in their order, each once");
        }
    }
}
