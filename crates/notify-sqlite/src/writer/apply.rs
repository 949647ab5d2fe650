//! Writing what the ledger has decided: all tables but the deliveries' own.

use notify_core::delivery::LaneKey;
use notify_core::ledger::{Changed, Changes, Decided, DeliveryRow, JobRow};
use notify_core::store::Written;
use notify_core::{EndpointId, EventRecord, Timestamp};

use super::Writer;
use super::staged::Staged;
use crate::error::Fault;
use crate::rows::{self, AttemptRow, DeadRow, EventRow, KeyRow, signed};

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
        for job in &changes.jobs {
            self.put_job(job, changes, staged)?;
        }
        for event in &changes.events {
            EventRow::insert(&self.conn, signed(event.job), &event.record)?;
        }
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
        for &number in &changes.letters_gone {
            self.drop_letter(signed(number), staged)?;
        }
        for change in &changes.deliveries {
            self.put_delivery(now, change, changes, staged)?;
        }
        for new in &changes.letters {
            let letter = DeadRow::new(signed(new.number), new.of.clone(), new.reason, now, &[]);
            self.keep_letter(&letter, staged)?;
        }
        for &job in &changes.unlisted {
            if let Some(number) = AttemptRow::oldest_settled(&self.conn, signed(job))? {
                self.forget_settled(ONE, &[signed(job), number], staged)?;
            }
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
            job.insert(&self.conn)?;
            staged.meta.jobs += 1;
            if let Some(endpoint) = endpoint {
                staged.name(endpoint, 1);
            }
            return Ok(());
        };
        if before.webhook != row.webhook {
            if let Some(endpoint) = endpoint {
                staged.name(endpoint, 1);
            }
            if let Some(told) = before.webhook
                && let Some(endpoint) = self.endpoint_number(told.endpoint, changes)?
            {
                staged.name(endpoint, -1);
            }
        }
        let was = JobRow {
            pending: row.pending,
            ..before.clone()
        };
        if was != *row {
            job.update(&self.conn)?;
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
        row: &DeliveryRow,
    ) -> Result<EventRecord, Fault> {
        let stored = rows::DeliveryRow::known(&self.conn, row)?;
        let job = self.known.job(&self.conn, &lane.job);
        // A redelivery knows its job by itself, which may be another one by now.
        let epoch = match job {
            Ok(job) => job.map(|job| job.head.epoch),
            Err(_) if lane.redelivery.is_some() => None,
            Err(fault) => return Err(fault),
        };
        stored.record(&self.conn, epoch)
    }

    pub(super) fn keep_letter(&self, letter: &DeadRow, staged: &mut Staged) -> Result<(), Fault> {
        letter.insert(&self.conn)?;
        staged.meta.dead_letters += 1;
        Ok(())
    }

    pub(super) fn drop_letter(&self, number: i64, staged: &mut Staged) -> Result<(), Fault> {
        let gone = DeadRow::delete(&self.conn, number)?;
        staged.meta.dead_letters -= i64::try_from(gone).unwrap_or_default();
        Ok(())
    }
}

/// One delivery's attempts.
pub(super) const ONE: &str = "WHERE job = ?1 AND number = ?2";
