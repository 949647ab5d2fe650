//! Dead letters for which there is no room.
//!
//! How much each holder has is not written down, which would be a row more for each
//! dead letter. It is found out once after opening, by a walk over all of them, a step
//! at a time between writes, and kept up from then on. Until the walk is through
//! nobody has to make room.

use notify_core::retention::{Holder, Holders, Retention};
use notify_core::store::{StoreError, Trimmed};

use super::Writer;
use super::staged::{LetterChange, Staged};
use super::trim::Bounds;
use crate::error::Fault;
use crate::rows::{DeadRow, number, unsigned};

/// What is known of who has how many.
#[derive(Debug, Default)]
pub(super) struct Letters {
    holders: Holders,
    walk: Walk,
}

/// How far the walk has come.
#[derive(Clone, Copy, Debug, Default)]
enum Walk {
    #[default]
    NotBegun,
    /// Up to the first number, of what there was up to the second.
    At(i64, i64),
    Through,
}

impl Letters {
    pub(super) fn handle(&mut self, change: &LetterChange) {
        self.apply(change, change.is_new);
    }

    /// The transaction was undone.
    pub(super) fn take_back(&mut self, changes: &[LetterChange]) {
        for change in changes.iter().rev() {
            self.apply(change, !change.is_new);
        }
    }

    fn apply(&mut self, change: &LetterChange, comes: bool) {
        let is_counted = match self.walk {
            Walk::NotBegun => false,
            Walk::At(seen, until) => change.number <= seen || change.number > until,
            Walk::Through => true,
        };
        if !is_counted {
            // The walk will see whether it is there.
        } else if comes {
            self.holders.add(&change.holder, change.bytes);
        } else {
            self.holders.remove(&change.holder, change.bytes);
        }
    }
}

impl Writer {
    pub(super) fn keep_letter(
        &mut self,
        letter: &DeadRow,
        staged: &mut Staged,
    ) -> Result<(), Fault> {
        letter.insert(&self.conn)?;
        staged.counts.dead_letters += 1;
        self.note_letter(letter, true, staged);
        Ok(())
    }

    /// A dead letter has come, or is one no more.
    pub(super) fn note_letter(&mut self, letter: &DeadRow, is_new: bool, staged: &mut Staged) {
        let change = LetterChange {
            number: letter.number,
            holder: Holder::of(&letter.of),
            bytes: letter.bytes,
            is_new,
        };
        self.letters.handle(&change);
        staged.letters.push(change);
    }

    pub(super) fn drop_letter(&mut self, number: i64, staged: &mut Staged) -> Result<(), Fault> {
        let Some((holder, bytes)) = DeadRow::delete(&self.conn, number)? else {
            return Ok(());
        };
        staged.counts.dead_letters -= 1;
        if let Some(holder) = holder {
            let change = LetterChange {
                number,
                holder,
                bytes,
                is_new: false,
            };
            self.letters.handle(&change);
            staged.letters.push(change);
        }
        Ok(())
    }

    /// Forgets dead letters that have to make room, after `dropped` others.
    pub(super) fn crowd_out(
        &mut self,
        retention: &Retention,
        bounds: &Bounds,
        mut dropped: usize,
        trimmed: &mut Trimmed,
        staged: &mut Staged,
    ) -> Result<(), Fault> {
        if !matches!(self.letters.walk, Walk::Through) {
            return Ok(());
        }
        while let Some(holder) = self.letters.holders.next_to_leave(retention).cloned() {
            if dropped > 0 && bounds.reached(dropped) {
                trimmed.more = true;
                break;
            }
            let oldest = match &holder {
                Holder::Endpoint(id) => number(&self.conn, OLDEST_AT, [id.to_string()])?,
                Holder::Job(id) => number(&self.conn, OLDEST_OF, [id.as_str()])?,
            };
            let Some(oldest) = oldest else {
                // One that could not be read has gone.
                self.letters.holders.forget(&holder);
                continue;
            };
            self.drop_letter(oldest, staged)?;
            dropped += 1;
            trimmed.crowded_out += 1;
            trimmed.forgotten += 1;
        }
        Ok(())
    }

    /// Goes on with the walk for a while; whether there is more to see.
    pub(super) fn walk_letters(&mut self, bounds: &Bounds) -> Result<bool, StoreError> {
        Ok(self.walk_on(bounds)?)
    }

    fn walk_on(&mut self, bounds: &Bounds) -> Result<bool, Fault> {
        let (mut after, until) = match self.letters.walk {
            Walk::Through => return Ok(false),
            Walk::At(after, until) => (after, until),
            Walk::NotBegun => {
                let newest = "SELECT coalesce(max(id), 0) FROM dead_letters";
                let newest = number(&self.conn, newest, [])?;
                (i64::MIN, newest.unwrap_or_default())
            }
        };
        let mut statement = self.conn.prepare_cached(NEXT)?;
        let mut seen = 0;
        while after < until {
            if seen > 0 && bounds.reached(seen) {
                self.letters.walk = Walk::At(after, until);
                return Ok(true);
            }
            let mut rows = statement.query([after, until])?;
            let before = after;
            while let Some(row) = rows.next()? {
                (seen, after) = (seen + 1, row.get(0)?);
                let is_letter: bool = row.get(1)?;
                let holder = DeadRow::holder(row, 2);
                // One that can't be read stays for an operator to look at.
                if let Some(holder) = holder.filter(|_| is_letter) {
                    self.letters.holders.add(&holder, unsigned(row.get(4)?));
                }
            }
            if before == after {
                break;
            }
        }
        self.letters.walk = Walk::Through;
        Ok(false)
    }
}

const NEXT: &str = "SELECT id, due_at IS NULL, endpoint, job_id, bytes FROM dead_letters \
    WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT 256";

const OLDEST_AT: &str = "SELECT id FROM dead_letters INDEXED BY dead_letters_by_endpoint \
    WHERE endpoint = ?1 AND due_at IS NULL ORDER BY id LIMIT 1";

const OLDEST_OF: &str = "SELECT id FROM dead_letters INDEXED BY dead_letters_by_job \
    WHERE job_id = ?1 AND endpoint = '' AND due_at IS NULL ORDER BY id LIMIT 1";
