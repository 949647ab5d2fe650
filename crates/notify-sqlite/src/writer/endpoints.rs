//! Rows of endpoints that were needed lately; changed ones are written at the
//! end of the transaction. Which endpoints are disabled is always known.

use std::collections::{HashMap, HashSet};

use notify_core::endpoint::Endpoint;
use notify_core::store::{EndpointChange, FreshIds, StoreError};
use notify_core::{EndpointId, EndpointUrl, Keyring};
use rusqlite::Connection;

use super::Writer;
use crate::error::Fault;
use crate::rows::{EndpointRow, Record};

/// Rows of endpoints that were needed lately.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    rows: HashMap<i64, Known>,
    by_id: HashMap<EndpointId, i64>,
    by_url: HashMap<EndpointUrl, i64>,
    changed: HashSet<i64>,
    disabled: HashSet<EndpointId>,
}

#[derive(Debug)]
struct Known {
    row: EndpointRow,
    stored: bool,
}

impl Endpoints {
    /// Reads which endpoints are disabled, and forgets all else.
    pub(super) fn load(conn: &Connection) -> Result<Self, Fault> {
        let disabled = EndpointRow::all(conn, "WHERE enabled = 0", [])?;
        Ok(Self {
            disabled: disabled.iter().map(|row| row.endpoint.id).collect(),
            ..Self::default()
        })
    }

    pub(super) fn is_enabled(&self, id: EndpointId) -> bool {
        !self.disabled.contains(&id)
    }

    pub(super) fn numbered(
        &mut self,
        conn: &Connection,
        number: i64,
    ) -> Result<Option<&EndpointRow>, Fault> {
        if !self.rows.contains_key(&number)
            && let Some(row) = EndpointRow::numbered(conn, number)?
        {
            self.know(row, true);
        }
        Ok(self.rows.get(&number).map(|known| &known.row))
    }

    pub(super) fn with_id(
        &mut self,
        conn: &Connection,
        id: EndpointId,
    ) -> Result<Option<&EndpointRow>, Fault> {
        if !self.by_id.contains_key(&id)
            && let Some(row) = EndpointRow::with_id(conn, id)?
        {
            self.know(row, true);
        }
        let number = self.by_id.get(&id).copied();
        Ok(number.and_then(|number| Some(&self.rows.get(&number)?.row)))
    }

    pub(super) fn at(
        &mut self,
        conn: &Connection,
        url: &EndpointUrl,
    ) -> Result<Option<&EndpointRow>, Fault> {
        if !self.by_url.contains_key(url)
            && let Some(row) = EndpointRow::at(conn, url)?
        {
            self.know(row, true);
        }
        let number = self.by_url.get(url).copied();
        Ok(number.and_then(|number| Some(&self.rows.get(&number)?.row)))
    }

    /// A new one.
    pub(super) fn add(&mut self, number: i64, id: EndpointId, url: &EndpointUrl) {
        let endpoint = Endpoint {
            id,
            url: url.clone(),
            keyring: None,
            enabled: true,
        };
        let row = EndpointRow {
            number,
            endpoint,
            named: 0,
        };
        self.know(row, false);
        self.changed.insert(number);
    }

    fn know(&mut self, row: EndpointRow, stored: bool) {
        self.by_id.insert(row.endpoint.id, row.number);
        self.by_url.insert(row.endpoint.url.clone(), row.number);
        self.rows.insert(row.number, Known { row, stored });
    }

    /// Changes an endpoint.
    pub(super) fn change(
        &mut self,
        conn: &Connection,
        number: i64,
        change: impl FnOnce(&mut EndpointRow),
    ) -> Result<(), Fault> {
        self.numbered(conn, number)?;
        if let Some(known) = self.rows.get_mut(&number) {
            change(&mut known.row);
            let (id, enabled) = (known.row.endpoint.id, known.row.endpoint.enabled);
            self.changed.insert(number);
            if enabled {
                self.disabled.remove(&id);
            } else {
                self.disabled.insert(id);
            }
        }
        Ok(())
    }

    /// One less names it: an endpoint about which nothing is to be remembered is
    /// forgotten with the last.
    pub(super) fn release(&mut self, conn: &Connection, number: i64) -> Result<(), Fault> {
        self.change(conn, number, |row| row.named = (row.named - 1).max(0))?;
        let unused = |known: &&Known| {
            let endpoint = &known.row.endpoint;
            known.row.named == 0 && endpoint.keyring.is_none() && endpoint.enabled
        };
        if self.rows.get(&number).filter(unused).is_some()
            && let Some(known) = self.rows.remove(&number)
        {
            self.changed.remove(&number);
            self.by_id.remove(&known.row.endpoint.id);
            self.by_url.remove(&known.row.endpoint.url);
            if known.stored {
                known.row.delete(conn)?;
            }
        }
        Ok(())
    }

    /// Writes what was changed.
    pub(super) fn flush(&mut self, conn: &Connection) -> Result<(), Fault> {
        for number in self.changed.drain() {
            let Some(known) = self.rows.get_mut(&number) else {
                continue;
            };
            if known.stored {
                known.row.update(conn)?;
            } else {
                known.row.insert(conn)?;
                known.stored = true;
            }
        }
        Ok(())
    }

    /// Keeps the memory bounded, between transactions.
    pub(super) fn forget_some(&mut self) {
        if self.rows.len() > ENDPOINTS_MAX {
            self.rows.clear();
            self.by_id.clear();
            self.by_url.clear();
            self.changed.clear();
        }
    }
}

impl Writer {
    /// The endpoint at `url`, made if it is new.
    pub(super) fn endpoint_for(
        &mut self,
        url: &EndpointUrl,
        fresh: FreshIds,
        keyring: Option<Keyring>,
    ) -> Result<(i64, EndpointId), Fault> {
        let known = self.endpoints.at(&self.conn, url)?;
        let known = known.map(|row| (row.number, row.endpoint.id));
        let (number, id) = known.unwrap_or_else(|| {
            let number = self.next_number();
            self.endpoints.add(number, fresh.endpoint, url);
            (number, fresh.endpoint)
        });
        if let Some(keyring) = keyring {
            self.endpoints.change(&self.conn, number, |row| {
                row.endpoint.keyring = Some(keyring);
            })?;
        }
        Ok((number, id))
    }

    /// The endpoint of a dead letter, which may have outlived it. If another one
    /// has come to its URL, it is that one now: the URL is what it is.
    pub(super) fn restore_endpoint(
        &mut self,
        id: EndpointId,
        url: &EndpointUrl,
    ) -> Result<(i64, EndpointId), Fault> {
        if let Some(row) = self.endpoints.with_id(&self.conn, id)? {
            return Ok((row.number, id));
        }
        if let Some(row) = self.endpoints.at(&self.conn, url)? {
            return Ok((row.number, row.endpoint.id));
        }
        let number = self.next_number();
        self.endpoints.add(number, id, url);
        Ok((number, id))
    }

    pub(crate) fn change_endpoint(
        &mut self,
        id: EndpointId,
        change: EndpointChange,
    ) -> Result<Option<Endpoint>, StoreError> {
        self.transact(|writer| {
            let Some(row) = writer.endpoints.with_id(&writer.conn, id)? else {
                return Ok(None);
            };
            let number = row.number;
            let change = |row: &mut EndpointRow| match change {
                EndpointChange::Enabled(enabled) => row.endpoint.enabled = enabled,
                EndpointChange::Keyring(keyring) => row.endpoint.keyring = Some(*keyring),
            };
            writer.endpoints.change(&writer.conn, number, change)?;
            let row = writer.endpoints.numbered(&writer.conn, number)?;
            Ok(row.map(|row| row.endpoint.clone()))
        })
    }
}

/// About 8 MiB, if each has a secret of its own.
const ENDPOINTS_MAX: usize = 8_192;
