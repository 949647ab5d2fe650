//! Writing what the ledger has decided: all tables but the deliveries' own.

use notify_core::delivery::LaneKey;
use notify_core::ledger::{self, Changed, Changes, Decided, JobRow};
use notify_core::store::Written;
use notify_core::{EndpointId, EventRecord, Timestamp};

use super::Writer;
use super::redeliveries::is_redelivered;
use super::staged::Staged;
use crate::error::Fault;
use crate::rows::{self, DeadRow, DeliveryRow, EventRow, KeyRow, signed};

impl Writer {
    /// Writes what was decided, and puts together what is leased.
    pub(super) fn carry_out(
        &mut self,
        now: Timestamp,
        decided: Decided,
        staged: &mut Staged,
    ) -> Result<Written, Fault> {
        let Decided {
            mut changes,
            mut written,
        } = decided;
        let grants = std::mem::take(&mut changes.grants);
        self.apply(now, &changes, staged)?;
        for grant in grants {
            let record = match &grant.record {
                Some(record) => Ok(record.clone()),
                None => self.record_of(&grant.lane, &grant.row),
            };
            match record {
                Ok(record) => written.leased.push(grant.leased(record)),
                Err(Fault::Damaged(row)) => {
                    staged.set_aside(&grant.lane, grant.row.number, &row);
                }
                Err(fault) => return Err(fault),
            }
        }
        // What stands behind those is to be claimed now.
        for (lane, _) in &staged.aside {
            if !written.left_waiting.contains(&lane.endpoint) {
                written.left_waiting.push(lane.endpoint);
            }
        }
        staged.decided = Some((now, changes));
        Ok(written)
    }

    fn apply(
        &mut self,
        now: Timestamp,
        changes: &Changes,
        staged: &mut Staged,
    ) -> Result<(), Fault> {
        self.forget_deleted(changes, staged)?;
        for job in &changes.jobs {
            self.put_job(job, changes, staged)?;
        }
        self.put_events(now, changes)?;
        for &(job, sequence) in &changes.outdated {
            EventRow::delete(&self.conn, signed(job), sequence)?;
        }
        for new in &changes.keys {
            let key = KeyRow {
                job: signed(new.job),
                key: new.key.as_str().to_owned(),
                fingerprint: new.fingerprint,
                sequence: signed(new.sequence),
            };
            key.insert(&self.conn)?;
        }
        let redelivered = changes.deliveries.iter();
        for change in redelivered.filter(|change| is_redelivered(change)) {
            self.redeliver(change, staged)?;
        }
        // Those that are redelivered stay, and are dead letters no more.
        for &number in &changes.letters_gone {
            self.drop_letter(signed(number), staged)?;
        }
        let rest = changes.deliveries.iter();
        for change in rest.filter(|change| !is_redelivered(change)) {
            self.put_delivery(now, change, changes, staged)?;
        }
        for new in &changes.letters {
            let (number, of) = (signed(new.number), new.of.clone());
            let (_, target) = of.id.place();
            let letter = DeadRow::new(number, of, target.into(), new.reason, now, &[]);
            self.keep_letter(&letter, staged)?;
        }
        for &job in &changes.unlisted {
            if let Some(place) = DeliveryRow::oldest_settled(&self.conn, signed(job))? {
                self.forget_settled(place)?;
            }
        }
        Ok(())
    }

    fn put_events(&self, now: Timestamp, changes: &Changes) -> Result<(), Fault> {
        for event in &changes.events {
            let (job, lifecycle) = (signed(event.job), event.lifecycle_events);
            EventRow::accept(&self.conn, job, &event.record, lifecycle, now)?;
        }
        Ok(())
    }

    /// Writes a job that is new, or of which more has changed than what is counted
    /// in memory.
    fn put_job(
        &mut self,
        Changed { before, row }: &Changed<JobRow>,
        changes: &Changes,
        staged: &mut Staged,
    ) -> Result<(), Fault> {
        let endpoint = match row.webhook {
            None => None,
            Some(told) => self.endpoint_number(told.endpoint, changes)?,
        };
        let job = rows::JobRow::of(row, endpoint);
        let Some(before) = before else {
            job.insert(&self.conn, row.listed > 0 || row.webhook.is_some())?;
            staged.counts.jobs += 1;
            if let Some(endpoint) = endpoint {
                staged.name(endpoint);
            }
            return Ok(());
        };
        if let Some(endpoint) = endpoint.filter(|_| before.webhook != row.webhook) {
            staged.name(endpoint);
        }
        if before.listed == 0 && row.listed > 0 {
            rows::JobRow::tell(&self.conn, job.number)?;
        }
        let has_moved = before.ended_at != row.ended_at;
        // What the newest event says itself is not written here.
        let is_told = before.updated_at == row.updated_at || before.head != row.head;
        let is_as_written = before.head.status == row.head.status
            && before.token == row.token
            && before.webhook == row.webhook
            && is_told;
        if has_moved || !is_as_written {
            job.update(&self.conn, has_moved)?;
        }
        Ok(())
    }

    fn endpoint_number(&mut self, id: EndpointId, changes: &Changes) -> Result<Option<i64>, Fault> {
        if let Some(known) = self.known.endpoint(&self.conn, id)? {
            return Ok(Some(known.number));
        }
        let mut new = changes.endpoints.iter();
        let new = new.find(|changed| changed.row.endpoint.id == id);
        Ok(new.map(|changed| signed(changed.row.number)))
    }

    /// What a pending delivery of an earlier batch is to deliver.
    pub(super) fn record_of(
        &mut self,
        lane: &LaneKey,
        row: &ledger::DeliveryRow,
    ) -> Result<EventRecord, Fault> {
        if row.generation > 0 {
            return Ok(self.letter_of(row)?.of.record);
        }
        let stored = DeliveryRow::known(&self.conn, row)?;
        let job = self.known.job(&self.conn, &lane.job)?;
        let lacks = || Fault::damaged(format!("deliveries {}: its job is missing", row.id));
        let epoch = job.map(|job| job.head.epoch).ok_or_else(lacks)?;
        stored.record(&self.conn, epoch)
    }
}
