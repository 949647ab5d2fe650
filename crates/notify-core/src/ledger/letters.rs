//! Dead letters: delivering them after all, and dropping them, a step at a time.

use super::Deciding;
use super::rows::{DeliveryRow, LetterRow};
use crate::delivery::{DeadReason, LaneKey};
use crate::endpoint::{Endpoint, EndpointUrl};
use crate::id::EndpointId;
use crate::store::{Refusal, Sweep, Swept};

impl Deciding<'_> {
    /// Each becomes a pending delivery of the next generation, in a lane of its own,
    /// due at once. What has no URL to be sent to stays, and so does what needs a row
    /// that is damaged; the latter is refused if it is all there is.
    pub(super) fn redeliver(&mut self, sweep: &Sweep) -> Result<Swept, Refusal> {
        let (letters, rest) = self.step(sweep);
        if self.bounds.pending + letters.len() as u64 > self.bounds.pending_max {
            return Err(Refusal::Full);
        }
        let (mut count, mut refused) = (0, None);
        for letter in letters {
            match self.redeliver_one(letter) {
                Ok(is_redelivered) => count += u64::from(is_redelivered),
                Err(refusal) => refused = Some(refusal),
            }
        }
        match refused {
            Some(refusal) if count == 0 && rest.is_none() => Err(refusal),
            _ => Ok(Swept { count, rest }),
        }
    }

    pub(super) fn drop_letters(&mut self, sweep: &Sweep) -> Result<Swept, Refusal> {
        let (letters, rest) = self.step(sweep);
        let count = letters.len() as u64;
        let gone = letters.into_iter().map(|letter| letter.number);
        self.changes.letters_gone.extend(gone);
        Ok(Swept { count, rest })
    }

    /// The dead letters of this step that no operation before has taken, and the
    /// rest of the walk.
    pub(super) fn step(&mut self, sweep: &Sweep) -> (Vec<LetterRow>, Option<Sweep>) {
        let fetched = self.rows.letters.iter().position(|(of, ..)| of == sweep);
        let Some(position) = fetched else {
            return (Vec::new(), None);
        };
        let (_, mut letters, newest) = self.rows.letters.swap_remove(position);
        let last = letters.last().map(|letter| letter.number);
        let is_full = letters.len() >= Sweep::STEP_MAX;
        let gone = &self.changes.letters_gone;
        letters.retain(|letter| !gone.contains(&letter.number));
        let rest = last
            .filter(|_| is_full)
            .map(|last| sweep.rest(last, newest));
        (letters, rest)
    }

    fn redeliver_one(&mut self, letter: LetterRow) -> Result<bool, Refusal> {
        let of = letter.of;
        let url = match letter.reason {
            DeadReason::UrlInvalid => return Ok(false),
            _ => EndpointUrl::parse(&of.url),
        };
        let Ok(url) = url else { return Ok(false) };
        // One that had come to no endpoint lends its own id to the new one.
        let id = of.endpoint.unwrap_or(EndpointId::first_of(of.id));
        let event = of.record.id();
        let job = self.rows.job(&of.job)?;
        // Another job that has begun under the same id is none of its business.
        let job = job.filter(|job| job.head.epoch == event.epoch());
        let number = job.map(|job| job.number);
        let endpoint = self.restore_endpoint(id, url)?;
        let lane = LaneKey {
            job: of.job,
            endpoint,
            redelivery: Some(of.id),
        };
        let Some(row) = self.new_row(0, endpoint, of.id) else {
            return Ok(false);
        };
        let row = DeliveryRow {
            // It keeps its place in its job's list, if it still has one.
            number: letter.listed.unwrap_or(row.number),
            job: number,
            generation: of.generation.saturating_add(1),
            sequence: event.sequence(),
            kind: of.record.kind(),
            json_bytes: of.record.json_bytes(),
            ..row
        };
        self.changes.letters_gone.push(letter.number);
        self.add(&lane, row, of.record);
        if number.is_some() && letter.listed.is_none() {
            self.list(&lane.job);
        }
        Ok(true)
    }

    /// The dead letter outlives its job, and so may outlive its endpoint, or never
    /// have come to one. One that has come to the same URL since then is that
    /// endpoint, with its secrets and its limits.
    fn restore_endpoint(
        &mut self,
        id: EndpointId,
        url: EndpointUrl,
    ) -> Result<EndpointId, Refusal> {
        if let Some(known) = self.rows.endpoint_at(&url)? {
            return Ok(known.endpoint.id);
        }
        if self.rows.endpoint(id)?.is_none() {
            self.add_endpoint(Endpoint::new(id, url));
        }
        Ok(id)
    }
}
