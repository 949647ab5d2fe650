//! Forgetting a job or an endpoint with all that it has, a step at a time.
//!
//! A step takes what is pending and dead letters. The row itself goes with the step that
//! leaves nothing of it, and only if nothing has happened to it in the same batch before:
//! then all that is known of it is what was fetched. So a step comes before the other
//! operations of its batch; what those ask finds it gone, or goes with it later.

use super::Deciding;
use super::lanes::Ending;
use super::rows::{DoomedLanes, Found};
use crate::delivery::LaneKey;
use crate::id::{EndpointId, JobId};
use crate::store::{Answer, Deletion, Doomed, Operation, Refusal, Sweep};

impl Deciding<'_> {
    /// Makes a step of the first deletion among `operations`; `None` if there is none.
    pub(super) fn delete_first(
        &mut self,
        operations: &[Operation],
    ) -> Option<Result<Answer, Refusal>> {
        let deletion = operations.iter().find_map(|operation| match operation {
            Operation::Delete(deletion) => Some(deletion),
            _ => None,
        })?;
        let rest = match deletion.what() {
            Doomed::Job { id, force } => self.delete_job(deletion, id, *force),
            Doomed::Endpoint(id) => self.delete_endpoint(deletion, *id),
        };
        Some(rest.map(|rest| Answer::Deleted { rest }))
    }

    /// It has its turn in another batch.
    pub(super) fn later(deletion: &Deletion) -> Answer {
        Answer::Deleted {
            rest: Some(deletion.clone()),
        }
    }

    fn delete_job(
        &mut self,
        deletion: &Deletion,
        id: &JobId,
        force: bool,
    ) -> Result<Option<Deletion>, Refusal> {
        let job = self.rows.job(id)?;
        let is_running = job.is_some_and(|job| !job.head.is_finished());
        if is_running && !force && !deletion.is_begun() {
            return Err(Refusal::JobRunning);
        }
        let is_known = job.is_some();
        let is_busy = self.rows.jobs.is_changed(id) || self.lanes.has_ended(|lane| lane.job == *id);
        let (count, is_all) = self.take_what_it_has(deletion);
        if !is_all || is_busy {
            return Ok(Some(deletion.rest(count > 0)));
        }
        if !is_known && count == 0 && !deletion.is_begun() {
            return Err(Refusal::NoJob);
        }
        self.lanes.begin_anew(|lane| lane.job == *id);
        if let Some(row) = self.rows.jobs.remove(id) {
            self.changes.jobs_gone.push(row);
        }
        if let Some(progress) = self.rows.progress.get_mut(id) {
            progress.clear();
        }
        for ((job, _), found) in &mut self.rows.keys {
            if job == id {
                *found = Found::Nothing;
            }
        }
        Ok(None)
    }

    /// Nothing more is sent to it from the first step on.
    fn delete_endpoint(
        &mut self,
        deletion: &Deletion,
        id: EndpointId,
    ) -> Result<Option<Deletion>, Refusal> {
        let is_known = self.rows.endpoint(id)?.is_some();
        let is_busy =
            self.rows.endpoints.is_changed(&id) || self.lanes.has_ended(|lane| lane.endpoint == id);
        let (count, is_all) = self.take_what_it_has(deletion);
        if !is_all || is_busy {
            self.alter_endpoint(id, |endpoint| endpoint.enabled = false);
            return Ok(Some(deletion.rest(count > 0)));
        }
        if !is_known && count == 0 && !deletion.is_begun() {
            return Err(Refusal::NoEndpoint);
        }
        self.lanes.begin_anew(|lane| lane.endpoint == id);
        if let Some(row) = self.rows.endpoints.remove(&id) {
            let url = row.endpoint.url.clone();
            self.rows.urls.insert(url, Found::Nothing);
            self.changes.endpoints_gone.push(row);
        }
        Ok(None)
    }

    /// Takes what was fetched of its pending deliveries and dead letters: how many those
    /// were, and whether they were all.
    fn take_what_it_has(&mut self, deletion: &Deletion) -> (usize, bool) {
        let doomed = self.rows.doomed.take();
        let Some(DoomedLanes { lanes, are_all, .. }) = doomed else {
            return (0, false);
        };
        let (mut count, mut is_all) = (0, are_all);
        for lane in lanes {
            let (taken, was_whole) = self.forget_lane(&lane);
            count += taken;
            is_all &= was_whole;
        }
        let (letters, rest) = self.step(&Sweep::within(deletion.letters()));
        count += letters.len();
        let gone = letters.into_iter().map(|letter| letter.number);
        self.changes.letters_gone.extend(gone);
        (count, is_all && rest.is_none())
    }

    /// Forgets what is in sight of a lane: how many those were, and whether nothing is
    /// left.
    fn forget_lane(&mut self, key: &LaneKey) -> (usize, bool) {
        let Some(lane) = self.lanes.get(key) else {
            return (0, true);
        };
        let (numbers, are_all) = lane.numbers();
        self.lanes.touch(key);
        for &number in &numbers {
            self.end(key, number, Ending::Forgotten);
        }
        (numbers.len(), are_all)
    }
}
