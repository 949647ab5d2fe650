//! What a transaction changes of what is kept in memory. Until it is committed,
//! memory is as the last commit left it: a rollback has nothing to undo there.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use notify_core::delivery::LaneKey;
use notify_core::endpoint::Endpoint;
use notify_core::ledger::{Changed, Changes, Supply};
use notify_core::{JobId, Timestamp};

use super::Writer;
use crate::error::Fault;
use crate::rows::{EndpointRow, MetaRow, signed};

/// What is to be kept in memory once it is committed.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) meta: MetaRow,
    pub(super) supply: Supply,
    /// By how many more an endpoint is named, by its number.
    pub(super) named: BTreeMap<i64, i64>,
    /// What the ledger has decided, and when.
    pub(super) decided: Option<(Timestamp, Changes)>,
    /// Deliveries without which their lanes go on.
    pub(super) aside: Vec<(LaneKey, u64)>,
    pub(super) jobs_gone: Vec<JobId>,
    endpoints: Vec<EndpointRow>,
    endpoints_gone: Vec<EndpointRow>,
}

impl Staged {
    pub(super) fn new(meta: MetaRow, supply: Supply) -> Self {
        Self {
            meta,
            supply,
            named: BTreeMap::new(),
            decided: None,
            aside: Vec::new(),
            jobs_gone: Vec::new(),
            endpoints: Vec::new(),
            endpoints_gone: Vec::new(),
        }
    }

    /// So many more name the endpoint with this number.
    pub(super) fn name(&mut self, endpoint: i64, more: i64) {
        *self.named.entry(endpoint).or_default() += more;
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
        staged.meta.next_number = signed(staged.supply.number);
        if staged.meta != self.meta {
            staged.meta.store(&self.conn)?;
        }
        Ok(())
    }

    /// Writes endpoints that were changed, or are named by more or fewer. One about
    /// which nothing is to be remembered is forgotten once nothing names it.
    fn flush_endpoints(&mut self, staged: &mut Staged) -> Result<(), Fault> {
        let changed = staged.decided.iter();
        let changed = changed.flat_map(|(_, changes)| &changes.endpoints);
        let changed: HashMap<i64, (bool, &Arc<Endpoint>)> = changed
            .map(|Changed { before, row }| (signed(row.number), (before.is_none(), &row.endpoint)))
            .collect();
        let mut numbers: Vec<i64> = changed.keys().copied().collect();
        let named = staged.named.iter().filter(|(_, more)| **more != 0);
        numbers.extend(named.map(|(number, _)| *number));
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers {
            let change = changed.get(&number).copied();
            let known = if change.is_some_and(|(is_new, _)| is_new) {
                None
            } else {
                match self.known.endpoint_numbered(&self.conn, number) {
                    Ok(Some(known)) => Some(known.clone()),
                    Ok(None) => continue,
                    Err(Fault::Damaged(row)) => {
                        tracing::error!(row, "who names it is not counted");
                        continue;
                    }
                    Err(fault) => return Err(fault),
                }
            };
            let more = staged.named.get(&number).copied().unwrap_or_default();
            let Some(endpoint) = change
                .map(|(_, endpoint)| endpoint)
                .or(known.as_ref().map(|known| &known.endpoint))
            else {
                continue;
            };
            let row = EndpointRow {
                number,
                named: (known.as_ref().map_or(0, |known| known.named) + more).max(0),
                endpoint: Arc::clone(endpoint),
            };
            let is_kept = row.named > 0 || !row.endpoint.may_be_forgotten();
            match known {
                None if is_kept => row.insert(&self.conn)?,
                Some(known) if is_kept && known != row => row.update(&self.conn)?,
                Some(_) if !is_kept => row.delete(&self.conn)?,
                _ => {}
            }
            if is_kept {
                staged.endpoints.push(row);
            } else {
                staged.endpoints_gone.push(row);
            }
        }
        Ok(())
    }

    /// The transaction is committed.
    pub(super) fn keep(&mut self, staged: Staged) {
        self.meta = staged.meta;
        self.supply = staged.supply;
        for row in staged.endpoints {
            self.known.put_endpoint(row);
        }
        for row in &staged.endpoints_gone {
            self.known.forget_endpoint(row);
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
