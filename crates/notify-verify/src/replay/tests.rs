//! The guard against a naive model, and what it promises one by one.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_712_534_401);

fn later(secs: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(secs))
}

#[test]
fn an_event_is_handled_once() {
    let guard = MemoryReplayGuard::default();
    let claim = guard.claim("a-1", NOW).unwrap();
    assert_eq!(guard.claim("a-1", NOW).unwrap_err(), Seen::Underway);
    claim.handled();
    assert_eq!(guard.claim("a-1", later(3600)).unwrap_err(), Seen::Handled);
    assert!(guard.claim("a-2", NOW).is_ok());
}

#[test]
fn a_dropped_claim_is_given_up() {
    let guard = MemoryReplayGuard::default();
    drop(guard.claim("a-1", NOW).unwrap());
    guard.claim("a-1", NOW).unwrap().handled();
    assert_eq!(guard.begin("a-1", NOW), Err(Seen::Handled));
}

#[test]
fn a_panic_while_handling_gives_the_claim_up() {
    let guard = MemoryReplayGuard::default();
    let handling = std::panic::AssertUnwindSafe(|| {
        let _claim = guard.claim("a-1", NOW).unwrap();
        panic!("the handler failed");
    });
    assert!(std::panic::catch_unwind(handling).is_err());
    assert_eq!(guard.begin("a-1", NOW), Ok(()));
}

#[test]
fn what_is_handled_can_not_be_forgotten() {
    let guard = MemoryReplayGuard::default();
    guard.begin("a-1", NOW).unwrap();
    guard.handled("a-1");
    guard.forget("a-1");
    guard.forget("never-seen");
    guard.handled("never-seen");
    assert_eq!(guard.begin("a-1", NOW), Err(Seen::Handled));
    assert_eq!(guard.begin("never-seen", NOW), Ok(()));
}

#[test]
fn an_id_is_remembered_for_the_retention() {
    let guard = MemoryReplayGuard::new(10).retention(Duration::from_secs(600));
    guard.claim("a-1", NOW).unwrap().handled();
    assert_eq!(guard.begin("a-1", later(600)), Err(Seen::Handled));
    assert_eq!(guard.begin("a-1", later(601)), Ok(()));
}

#[test]
fn the_oldest_leaves_when_there_is_no_room() {
    let guard = MemoryReplayGuard::new(2);
    for id in ["a-1", "a-2", "a-3"] {
        guard.claim(id, NOW).unwrap().handled();
    }
    assert_eq!(guard.begin("a-3", NOW), Err(Seen::Handled));
    assert_eq!(guard.begin("a-2", NOW), Err(Seen::Handled));
    assert_eq!(guard.begin("a-1", NOW), Ok(()));
}

#[test]
fn a_shared_guard_is_a_guard() {
    let guard: Arc<dyn ReplayGuard> = Arc::new(MemoryReplayGuard::new(0));
    guard.claim("a-1", NOW).unwrap().handled();
    assert_eq!(guard.claim("a-1", NOW).unwrap_err(), Seen::Handled);
}

#[test]
fn of_many_at_once_one_gets_the_claim() {
    let guard = MemoryReplayGuard::default();
    let claims: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| guard.begin("a-1", NOW)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(claims.iter().filter(|claim| claim.is_ok()).count(), 1);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Begin(u8),
    Handled(u8),
    Forget(u8),
    Wait(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..12u8).prop_map(Step::Begin),
        2 => (0..12u8).prop_map(Step::Handled),
        2 => (0..12u8).prop_map(Step::Forget),
        1 => (0..5u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// The model: a list of (id, claimed at, handled), oldest first.
    #[test]
    fn the_guard_agrees_with_a_list(steps in proptest::collection::vec(any_step(), 0..120)) {
        let guard = MemoryReplayGuard::new(4).retention(Duration::from_secs(8));
        let mut model: VecDeque<(u8, u64, bool)> = VecDeque::new();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Wait(secs) => now += secs,
                Step::Begin(id) => {
                    model.retain(|(_, at, _)| now - at <= 8);
                    let expected = match model.iter().find(|entry| entry.0 == id) {
                        Some((_, _, true)) => Err(Seen::Handled),
                        Some((_, _, false)) => Err(Seen::Underway),
                        None => {
                            if model.len() == 4 {
                                model.pop_front();
                            }
                            model.push_back((id, now, false));
                            Ok(())
                        }
                    };
                    prop_assert_eq!(guard.begin(&id.to_string(), later(now)), expected);
                }
                Step::Handled(id) => {
                    guard.handled(&id.to_string());
                    model.iter_mut().filter(|entry| entry.0 == id).for_each(|entry| entry.2 = true);
                }
                Step::Forget(id) => {
                    guard.forget(&id.to_string());
                    model.retain(|entry| entry.0 != id || entry.2);
                }
            }
            let entries = guard.entries();
            prop_assert_eq!(entries.by_id.len(), entries.in_order.len());
            prop_assert!(entries.by_id.len() <= 4);
        }
    }
}
