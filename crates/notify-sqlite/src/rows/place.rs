//! Where deliveries stand.

use std::fmt;

use notify_core::DeliveryId;
use rusqlite::{Connection, Row, params};

use super::{Sum, signed};
use crate::error::Fault;

/// Where a delivery's rows are: its job's number, its event's sequence, and which of
/// those that the event is told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) job: i64,
    pub(crate) sequence: i64,
    pub(crate) target: i64,
}

impl Place {
    pub(crate) fn key(self) -> [i64; 3] {
        [self.job, self.sequence, self.target]
    }

    /// The first three columns.
    pub(crate) fn read(row: &Row<'_>) -> Result<Self, Fault> {
        Ok(Self {
            job: row.get(0)?,
            sequence: row.get(1)?,
            target: row.get(2)?,
        })
    }

    pub(super) fn sum(self, sum: Sum) -> Sum {
        sum.int(self.job).int(self.sequence).int(self.target)
    }

    /// The place that `id` names, if a delivery of a job that is known may be there.
    pub(crate) fn of(conn: &Connection, id: DeliveryId) -> Result<Option<Self>, Fault> {
        let (event, target) = id.place();
        // Two jobs may have one epoch, if hardly ever: then it is told by its place.
        let sql = "SELECT j.id FROM jobs j JOIN deliveries d
                     ON d.job = j.id AND d.sequence = ?2 AND d.target = ?3
                   WHERE j.epoch = ?1 AND j.told = 1 AND d.delivery IS NULL";
        let (sequence, target) = (signed(event.sequence()), i64::from(target));
        let key = params![event.epoch().to_string(), sequence, target];
        if let Some(job) = super::number(conn, sql, key)? {
            return Ok(Some(Self {
                job,
                sequence,
                target,
            }));
        }
        let mut old = conn
            .prepare_cached("SELECT job, sequence, target FROM delivery_ids WHERE delivery = ?1")?;
        let mut rows = old.query([id.to_string()])?;
        rows.next()?.map(Self::read).transpose()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.job, self.sequence, self.target)
    }
}
