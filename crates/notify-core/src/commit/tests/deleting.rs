//! Deletions, which go on step by step.

use super::*;
use crate::store::{Deletion, Doomed};

#[test]
fn a_deletion_goes_on_until_there_is_no_rest_and_then_drops_what_is_ready() {
    let (mut committer, mut scheduler) = begun();
    scheduler.handle_ready(leased(1));
    let deletion = Deletion::of(Doomed::Endpoint(endpoint(0).id));
    committer.handle_operation(ms(0), Operation::Delete(deletion.clone()), 7);
    let mut expected = deletion;
    for is_last in [false, false, true] {
        let batch = check_writes(&mut committer, &mut scheduler, ms(0));
        let [Operation::Delete(step)] = &batch.operations[..] else {
            panic!("{batch:?}");
        };
        assert_eq!(*step, expected);
        assert_eq!((told(&mut committer).len(), scheduler.ready()), (0, 1));
        expected = expected.rest(true);
        let rest = (!is_last).then(|| expected.clone());
        let written = Written {
            answers: vec![Ok(Answer::Deleted { rest })],
            ..Written::default()
        };
        committer.handle_written(ms(0), written, &mut scheduler);
    }
    assert_eq!(told(&mut committer), [(7, None)]);
    assert_eq!(scheduler.ready(), 0);
}

#[test]
fn what_has_begun_under_a_deleted_ones_id_in_the_same_batch_is_kept() {
    let (mut committer, mut scheduler) = begun();
    scheduler.handle_ready(leased(1));
    let id = JobId::from_random(1);
    let deletion = Deletion::of(Doomed::Job { id, force: true });
    committer.handle_operation(ms(0), Operation::Delete(deletion), 7);
    check_writes(&mut committer, &mut scheduler, ms(0));
    let written = Written {
        answers: vec![Ok(Answer::Deleted { rest: None })],
        leased: vec![leased(1), leased(2)],
        ..Written::default()
    };
    committer.handle_written(ms(0), written, &mut scheduler);
    assert_eq!(scheduler.ready(), 2);
}
