//! Receivers, with their own secrets.

use std::sync::Arc;

use notify_core::endpoint::Endpoint;
use notify_core::ledger;
use notify_core::{EndpointId, EndpointUrl, Keyring, Secret, Timestamp};
use rusqlite::{Connection, Row, params};

use super::{Record, Sum, maybe_time, millis, parsed, time, unsigned};
use crate::error::Fault;

/// A row of `endpoints`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EndpointRow {
    pub(crate) number: i64,
    pub(crate) endpoint: Arc<Endpoint>,
    /// When a job or a delivery last came to name it; noted once an hour.
    pub(crate) named_at: Timestamp,
}

impl EndpointRow {
    pub(crate) fn numbered(conn: &Connection, number: i64) -> Result<Option<Self>, Fault> {
        Self::one(conn, "WHERE id = ?1", [number])
    }

    pub(crate) fn with_id(conn: &Connection, id: EndpointId) -> Result<Option<Self>, Fault> {
        Self::one(conn, "WHERE endpoint = ?1", [id.to_string()])
    }

    pub(crate) fn at(conn: &Connection, url: &EndpointUrl) -> Result<Option<Self>, Fault> {
        Self::one(conn, "WHERE url = ?1", [url.as_str()])
    }

    /// Those of whose health something is noted and that can be read.
    pub(crate) fn noted(conn: &Connection) -> Result<Vec<Self>, Fault> {
        let noted = "WHERE sick_since IS NOT NULL OR well_since IS NOT NULL";
        let mut statement = conn.prepare(&Self::select(noted))?;
        let mut rows = statement.query([])?;
        let mut sound = Vec::new();
        while let Some(row) = rows.next()? {
            match Self::checked(row) {
                Ok(row) => sound.push(row),
                Err(Fault::Damaged(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(sound)
    }

    /// What the ledger looks at, with how many deliveries to it are pending.
    pub(crate) fn row(&self, pending: u64) -> ledger::EndpointRow {
        ledger::EndpointRow {
            number: unsigned(self.number),
            endpoint: Arc::clone(&self.endpoint),
            pending,
        }
    }

    pub(crate) fn insert(&self, conn: &Connection) -> Result<(), Fault> {
        let (secret, previous, until) = self.secrets();
        conn.prepare_cached(
            "INSERT INTO endpoints
               (id, endpoint, url, secret, previous_secret, previous_until, enabled, named_at,
                sick_since, well_since, crc)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            self.number,
            self.endpoint.id.to_string(),
            self.endpoint.url.as_str(),
            secret,
            previous,
            until,
            self.endpoint.enabled,
            millis(self.named_at),
            self.endpoint.sick_since.map(millis),
            self.endpoint.well_since.map(millis),
            self.sum()
        ])?;
        Ok(())
    }

    pub(crate) fn update(&self, conn: &Connection) -> Result<(), Fault> {
        let (secret, previous, until) = self.secrets();
        conn.prepare_cached(
            "UPDATE endpoints SET secret = ?2, previous_secret = ?3, previous_until = ?4,
               enabled = ?5, named_at = ?6, sick_since = ?7, well_since = ?8, crc = ?9
             WHERE id = ?1",
        )?
        .execute(params![
            self.number,
            secret,
            previous,
            until,
            self.endpoint.enabled,
            millis(self.named_at),
            self.endpoint.sick_since.map(millis),
            self.endpoint.well_since.map(millis),
            self.sum()
        ])?;
        Ok(())
    }

    pub(crate) fn delete(&self, conn: &Connection) -> Result<(), Fault> {
        conn.prepare_cached("DELETE FROM endpoints WHERE id = ?1")?
            .execute([self.number])?;
        Ok(())
    }

    /// The newest secret, the one before it, and until when that is active.
    fn secrets(&self) -> (Option<&str>, Option<&str>, Option<i64>) {
        let Some(keyring) = &self.endpoint.keyring else {
            return (None, None, None);
        };
        let newest = Some(keyring.newest().expose());
        match keyring.previous() {
            None => (newest, None, None),
            Some((previous, until)) => (newest, Some(previous.expose()), until.map(millis)),
        }
    }
}

impl Record for EndpointRow {
    const TABLE: &'static str = "endpoints";
    const COLUMNS: &'static str = "id, endpoint, url, secret, previous_secret, previous_until, \
        enabled, named_at, sick_since, well_since, crc";

    fn read(row: &Row<'_>) -> Result<(Self, i64), Fault> {
        let url: String = row.get(2)?;
        let (newest, previous) = (secret(row, 3)?, secret(row, 4)?);
        let until = maybe_time(row, 5)?;
        let keyring = newest.map(|newest| match previous {
            Some(previous) => Keyring::rotating(newest, previous, until),
            None => Keyring::new(newest),
        });
        let endpoint = Self {
            number: row.get(0)?,
            endpoint: Arc::new(Endpoint {
                id: parsed(row, 1)?,
                url: EndpointUrl::parse(&url)
                    .map_err(|_| Fault::damaged("column url can't be read"))?,
                keyring,
                enabled: row.get(6)?,
                sick_since: maybe_time(row, 8)?,
                well_since: maybe_time(row, 9)?,
            }),
            named_at: time(row, 7)?,
        };
        Ok((endpoint, row.get(10)?))
    }

    fn sum(&self) -> i64 {
        let (secret, previous, until) = self.secrets();
        Sum::of(Self::TABLE)
            .int(self.number)
            .bytes(self.endpoint.id.to_string().as_bytes())
            .bytes(self.endpoint.url.as_str().as_bytes())
            .maybe_bytes(secret.map(str::as_bytes))
            .maybe_bytes(previous.map(str::as_bytes))
            .maybe_int(until)
            .int(self.endpoint.enabled.into())
            .int(millis(self.named_at))
            .maybe_int(self.endpoint.sick_since.map(millis))
            .maybe_int(self.endpoint.well_since.map(millis))
            .finish()
    }

    fn name(&self) -> String {
        self.endpoint.id.to_string()
    }
}

fn secret(row: &Row<'_>, column: usize) -> Result<Option<Secret>, Fault> {
    // The error says nothing of the text: it is a secret.
    let text = row
        .get_ref(column)?
        .as_str_or_null()
        .map_err(rusqlite::Error::from)?;
    text.map(Secret::restore)
        .transpose()
        .map_err(|_| Fault::damaged("a secret can't be read"))
}
