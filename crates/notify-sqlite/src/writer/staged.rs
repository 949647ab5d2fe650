//! What a transaction changes of what is kept in memory. Until it is committed,
//! memory is as the last commit left it: a rollback has nothing to undo there.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use notify_core::delivery::LaneKey;
use notify_core::ledger::{Changed, Changes, Supply};
use notify_core::retention::Holder;
use notify_core::{JobId, Timestamp};

use super::Writer;
use crate::error::Fault;
use crate::rows::{Counts, EndpointRow, MetaRow, signed};

/// What is to be kept in memory once it is committed.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) meta: MetaRow,
    pub(super) counts: Counts,
    pub(super) supply: Supply,
    /// Endpoints that something has come to name, by their number.
    named: BTreeSet<i64>,
    /// What the ledger has decided, and when.
    pub(super) decided: Option<(Timestamp, Changes)>,
    /// Deliveries without which their lanes go on.
    pub(super) aside: Vec<(LaneKey, u64)>,
    pub(super) jobs_gone: Vec<JobId>,
    /// Dead letters that came or went. What is known of them has changed at once, so
    /// that the next one sees it.
    pub(super) letters: Vec<LetterChange>,
    endpoints: Vec<EndpointRow>,
    pub(super) endpoints_gone: Vec<EndpointRow>,
}

/// A dead letter that has come or gone.
#[derive(Debug)]
pub(super) struct LetterChange {
    pub(super) number: i64,
    pub(super) holder: Holder,
    pub(super) bytes: u64,
    pub(super) is_new: bool,
}

impl Staged {
    pub(super) fn new(meta: MetaRow, counts: Counts, supply: Supply) -> Self {
        Self {
            meta,
            counts,
            supply,
            named: BTreeSet::new(),
            decided: None,
            aside: Vec::new(),
            jobs_gone: Vec::new(),
            letters: Vec::new(),
            endpoints: Vec::new(),
            endpoints_gone: Vec::new(),
        }
    }

    /// Something has come to name the endpoint with this number.
    pub(super) fn name(&mut self, endpoint: i64) {
        self.named.insert(endpoint);
    }

    /// Nobody can go on with a delivery, so its lane goes on without it.
    pub(super) fn set_aside(&mut self, lane: &LaneKey, number: u64, why: &str) {
        tracing::error!(why, job = %lane.job, "a delivery is set aside");
        self.aside.push((lane.clone(), number));
    }
}

impl Writer {
    /// Writes the rows that are changed once in a transaction, at its end.
    pub(super) fn flush(&mut self, staged: &mut Staged) -> Result<(), Fault> {
        self.flush_endpoints(staged)?;
        let is_used_up = signed(staged.supply.number) > self.meta.next_number;
        if is_used_up || (self.meta.exact && staged.counts != self.counts) {
            staged.meta = MetaRow {
                next_number: signed(staged.supply.number).saturating_add(NUMBERS_RESERVED),
                counts: staged.counts,
                exact: false,
            };
            staged.meta.store(&self.conn)?;
        }
        Ok(())
    }

    /// Writes down, at the end, what is otherwise found out at opening.
    pub(super) fn sum_up(&self) -> Result<(), Fault> {
        let meta = MetaRow {
            next_number: signed(self.supply.number),
            counts: self.counts,
            exact: true,
        };
        if meta == self.meta {
            return Ok(());
        }
        meta.store(&self.conn)
    }

    /// Writes endpoints that were changed, or named for the first time in a while.
    fn flush_endpoints(&mut self, staged: &mut Staged) -> Result<(), Fault> {
        let Some((now, changes)) = &staged.decided else {
            return Ok(());
        };
        let changed = changes.endpoints.iter();
        let mut changed: BTreeMap<i64, &Changed<_>> = changed
            .map(|change| (signed(change.row.number), change))
            .collect();
        let mut written = Vec::new();
        let numbers: BTreeSet<i64> = changed.keys().chain(&staged.named).copied().collect();
        for number in numbers {
            let change = changed.remove(&number);
            if let Some(Changed { before: None, row }) = change {
                let row = EndpointRow {
                    number,
                    endpoint: Arc::clone(&row.endpoint),
                    named_at: *now,
                };
                row.insert(&self.conn)?;
                written.push(row);
                continue;
            }
            let known = match self.known.endpoint_numbered(&self.conn, number) {
                Ok(Some(known)) => known,
                Ok(None) => continue,
                Err(Fault::Damaged(row)) => {
                    tracing::error!(row, "that it is named is not noted");
                    continue;
                }
                Err(fault) => return Err(fault),
            };
            let mut row = known.clone();
            if let Some(change) = change {
                row.endpoint = Arc::clone(&change.row.endpoint);
            }
            if staged.named.contains(&number) && now.since(row.named_at) >= NAMED_AGAIN {
                row.named_at = *now;
            }
            if row != *known {
                row.update(&self.conn)?;
                written.push(row);
            }
        }
        staged.endpoints = written;
        Ok(())
    }

    /// The transaction is committed.
    pub(super) fn keep(&mut self, staged: Staged) {
        self.meta = staged.meta;
        self.counts = staged.counts;
        self.supply = staged.supply;
        self.unnamed.handle_named(&staged.named);
        for row in staged.endpoints {
            self.known.put_endpoint(row);
        }
        for row in &staged.endpoints_gone {
            self.known.forget_endpoint(row);
            self.pending.forget_endpoint(row.endpoint.id);
        }
        for id in &staged.jobs_gone {
            self.known.forget_job(id);
        }
        if let Some((now, changes)) = staged.decided {
            self.pending.apply(now, &changes);
            let mut progress: HashMap<u64, VecDeque<u64>> = changes.progress.into_iter().collect();
            for Changed { row, .. } in changes.jobs {
                let progress = progress.remove(&row.number);
                self.known.put_job(row, progress);
            }
            for (lane, number) in &staged.aside {
                self.pending.set_aside(now, lane, *number);
            }
        }
        self.known.forget_some();
        self.show();
    }
}

/// Numbers are reserved in blocks, so that the row of them is seldom written. After a
/// crash what is left of a block is not used.
const NUMBERS_RESERVED: i64 = 4_096;

/// That an endpoint is named is noted anew after so long.
pub(super) const NAMED_AGAIN: Duration = Duration::from_secs(3_600);
