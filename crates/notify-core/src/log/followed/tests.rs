//! A followed log against examples, and against a store under which anything may
//! happen in between.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::event::{EventLimits, JobEvent};
use crate::job::{EventKind, JobHead};

/// A store with one id, under which jobs come and go; every event is kept.
#[derive(Clone, Default)]
struct Kept {
    head: Option<JobHead>,
    events: Vec<EventRecord>,
}

impl Kept {
    fn begin(&mut self, incarnation: u64) -> Epoch {
        let epoch = Epoch::from_random(incarnation.into());
        self.head = Some(JobHead::new(epoch));
        self.events.clear();
        epoch
    }

    fn append(&mut self) -> Option<EventRecord> {
        let draft = JobEvent::queued().draft(1, EventLimits::default()).unwrap();
        let accepted = self.head?.accept(draft.status).unwrap();
        self.head = Some(accepted.head);
        let record = EventRecord::new(accepted.id, EventKind::Lifecycle, &draft);
        self.events.push(record.clone());
        Some(record)
    }

    fn page(&self, after: u64, limit: usize) -> Option<Page> {
        let later = self.events.iter().filter(|one| one.sequence() > after);
        Some(Page {
            head: self.head?,
            events: later.take(limit).cloned().collect(),
        })
    }
}

fn sequences(log: &FollowedLog) -> Vec<u64> {
    let log = log.log().into_iter();
    log.flat_map(JobLog::records)
        .map(EventRecord::sequence)
        .collect()
}

fn read(log: &mut FollowedLog, kept: &Kept) -> usize {
    let mut reads = 0;
    while let Some(ask) = log.poll_read() {
        log.handle_page(ask, kept.page(ask.after, 2));
        reads += 1;
        assert!(reads < 100, "it reads in a circle");
    }
    reads
}

#[test]
fn a_log_is_read_page_by_page_and_once() {
    let mut kept = Kept::default();
    kept.begin(1);
    for _ in 0..5 {
        kept.append();
    }
    let mut log = FollowedLog::new(16);
    assert_eq!(read(&mut log, &kept), 3);
    assert!(log.is_whole());
    log.handle_published(&kept.append().unwrap());
    assert_eq!(read(&mut log, &kept), 0);
    assert_eq!(sequences(&log), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn what_was_let_go_is_read_again_for_who_comes_later() {
    let mut kept = Kept::default();
    kept.begin(1);
    for _ in 0..5 {
        kept.append();
    }
    let mut log = FollowedLog::new(16);
    read(&mut log, &kept);
    let all = log.memory_bytes();
    log.let_go(3);
    assert_eq!(sequences(&log), [4, 5]);
    assert!(log.memory_bytes() < all);
    log.handle_published(&kept.append().unwrap());
    assert_eq!((read(&mut log, &kept), sequences(&log)), (0, vec![4, 5, 6]));
    // The newest stays, whoever has passed it.
    log.let_go(99);
    assert_eq!(sequences(&log), [6]);
    assert!(log.handle_reader() && !log.is_whole());
    // What is published meanwhile is not lost, nor shown too early.
    log.handle_published(&kept.append().unwrap());
    assert_eq!(sequences(&log), [0_u64; 0]);
    read(&mut log, &kept);
    assert_eq!(sequences(&log), [1, 2, 3, 4, 5, 6, 7]);
    assert!(!log.handle_reader(), "nothing was let go since");
}

#[test]
fn a_jump_is_read_and_not_skipped() {
    let mut kept = Kept::default();
    kept.begin(1);
    let mut log = FollowedLog::new(16);
    read(&mut log, &kept);
    log.handle_published(&kept.append().unwrap());
    kept.append();
    log.handle_published(&kept.append().unwrap());
    log.handle_published(&kept.append().unwrap());
    assert!(!log.is_whole());
    assert_eq!(sequences(&log), [1]);
    read(&mut log, &kept);
    assert_eq!(sequences(&log), [1, 2, 3, 4]);
}

#[test]
fn a_page_from_before_a_jump_is_not_the_last_word() {
    let mut kept = Kept::default();
    kept.begin(1);
    kept.append();
    let mut log = FollowedLog::new(16);
    let ask = log.poll_read().unwrap();
    let page = kept.page(0, 9);
    kept.append();
    log.handle_published(&kept.append().unwrap());
    log.handle_page(ask, page);
    assert!(!log.is_whole());
    read(&mut log, &kept);
    assert_eq!(sequences(&log), [1, 2, 3]);
}

#[test]
fn a_job_that_nobody_knows_has_an_empty_log() {
    let mut log = FollowedLog::new(16);
    assert_eq!(read(&mut log, &Kept::default()), 1);
    assert!(log.is_whole() && log.log().is_none());
    let mut kept = Kept::default();
    log.handle_epoch(kept.begin(1));
    log.handle_published(&kept.append().unwrap());
    assert!(log.is_whole());
    assert_eq!(sequences(&log), [1]);
}

#[test]
fn an_old_page_is_not_the_successors() {
    let (mut old, mut new) = (Kept::default(), Kept::default());
    old.begin(1);
    old.append();
    let epoch = new.begin(2);
    // The page is read, then the job is forgotten and another registered.
    let mut log = FollowedLog::new(16);
    let ask = log.poll_read().unwrap();
    log.handle_epoch(epoch);
    log.handle_page(ask, old.page(0, 9));
    assert!(!log.is_whole() && log.log().is_none());
    read(&mut log, &new);
    assert!(log.is_whole() && log.log().is_none());
    // A log that was shown is at its end.
    let mut log = FollowedLog::new(16);
    read(&mut log, &old);
    log.handle_published(&new.append().unwrap());
    assert!(log.is_over() && log.poll_read().is_none());
    assert_eq!(log.log().unwrap().epoch(), old.head.unwrap().epoch);
}

/// What may happen, in any order.
#[derive(Clone, Copy, Debug)]
enum Step {
    Append,
    /// The next publication arrives.
    Publish,
    /// It gets lost.
    Lose,
    /// The job is forgotten, and another begins under its id.
    Succeed,
    Ask,
    Read,
    Answer,
}

enum News {
    Record(EventRecord),
    Epoch(Epoch),
}

impl News {
    fn arrive(self, log: &mut FollowedLog) {
        match self {
            Self::Epoch(epoch) => log.handle_epoch(epoch),
            Self::Record(record) => log.handle_published(&record),
        }
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Append),
        6 => Just(Step::Publish),
        1 => Just(Step::Lose),
        1 => Just(Step::Succeed),
        4 => Just(Step::Ask),
        4 => Just(Step::Read),
        4 => Just(Step::Answer),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn nothing_is_skipped_and_nothing_of_a_predecessor_shown(
        steps in proptest::collection::vec(any_step(), 0..60),
    ) {
        let mut kept = Kept::default();
        let mut incarnation = 0;
        let mut news: VecDeque<News> = VecDeque::new();
        let mut log = FollowedLog::new(16);
        let (mut asked, mut page) = (None, None);
        for step in steps {
            match step {
                Step::Append => news.extend(kept.append().map(News::Record)),
                Step::Succeed => {
                    incarnation += 1;
                    news.push_back(News::Epoch(kept.begin(incarnation)));
                }
                Step::Publish => if let Some(one) = news.pop_front() {
                    one.arrive(&mut log);
                },
                // An incarnation is always announced, by the registration's answer.
                Step::Lose => if let Some(News::Record(_)) = news.front() {
                    news.pop_front();
                },
                Step::Ask => asked = asked.or_else(|| log.poll_read()),
                Step::Read => if let (Some(ask), None) = (asked, &page) {
                    page = Some(kept.page(ask.after, 2));
                },
                Step::Answer => if let (Some(ask), Some(answer)) = (asked, page.take()) {
                    log.handle_page(ask, answer);
                    asked = None;
                },
            }
            let shown = sequences(&log);
            let dense: Vec<u64> = (1..=shown.len() as u64).collect();
            prop_assert_eq!(shown, dense);
            let current = kept.head.map(|head| head.epoch);
            if let (true, true, Some(shown)) = (log.is_whole(), news.is_empty(), log.log()) {
                prop_assert_eq!(Some(shown.epoch()), current);
            }
        }
        // All news arrive, and whoever asks now gets everything.
        news.into_iter().for_each(|one| one.arrive(&mut log));
        if let Some(last) = kept.append() {
            log.handle_published(&last);
        }
        read(&mut log, &kept);
        if !log.is_over() {
            let all: Vec<u64> = kept.events.iter().map(EventRecord::sequence).collect();
            prop_assert_eq!(sequences(&log), all);
        }
    }
}
