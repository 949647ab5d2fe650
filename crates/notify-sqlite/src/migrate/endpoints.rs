//! Carrying over endpoints. Those that only their spelling told apart become one.
//!
//! One receiver has one URL: version 1 kept it as it was given. The older endpoint
//! stays, under the one spelling, and what named the other names it. Where their
//! secrets differ nobody knows which of them the receiver has: all stay as they are.

use std::collections::BTreeMap;

use notify_core::{EndpointUrl, Timestamp};
use rusqlite::params;

use super::{Carrying, version_1};
use crate::error::Fault;
use crate::options::Canonical;
use crate::rows::{EndpointRow, Record, millis, number, unsigned};

/// The endpoint that a row of version 1 names, as it is now.
pub(super) const ENDPOINT: &str =
    "coalesce((SELECT kept FROM old_united WHERE gone = endpoint), endpoint)";

/// The same where it goes by its id.
pub(super) const ENDPOINT_ID: &str =
    "coalesce((SELECT kept_id FROM old_united WHERE gone_id = endpoint), endpoint)";

/// Endpoints that are one by the spelling of their URL.
#[derive(Default)]
struct Alike {
    rows: Vec<EndpointRow>,
    has_damaged: bool,
}

impl Carrying<'_> {
    /// When one was last named was not written down: no later than anything that
    /// happened.
    pub(super) fn endpoints(&self, canonical: Option<Canonical>) -> Result<(), Fault> {
        self.conn.execute_batch(
            "CREATE TABLE old_united (gone INTEGER PRIMARY KEY, gone_id TEXT UNIQUE,
               kept INTEGER, kept_id TEXT)",
        )?;
        let newest = "SELECT max(coalesce((SELECT max(updated_at) FROM old_jobs), 0),
            coalesce((SELECT max(died_at) FROM old_dead_letters), 0))";
        let newest = unsigned(number(self.conn, newest, [])?.unwrap_or_default());
        let named_at = millis(Timestamp::from_millis(newest));
        // One that is disabled has been so for at least as long.
        let columns = format!(
            "id, endpoint, url, secret, previous_secret, NULL, enabled, {named_at},
             iif(enabled, NULL, {named_at}), NULL, 0"
        );
        self.each(version_1::ENDPOINTS, &columns, |endpoint: EndpointRow| {
            endpoint.insert(self.conn)?;
            Ok(("id = ?1", vec![endpoint.number]))
        })?;
        match canonical {
            None => Ok(()),
            Some(canonical) => self.unite(canonical),
        }
    }

    fn unite(&self, canonical: Canonical) -> Result<(), Fault> {
        let mut groups: BTreeMap<String, Alike> = BTreeMap::new();
        let mut statement = self.conn.prepare(&EndpointRow::select("ORDER BY id"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let url: String = row.get(2)?;
            let one = canonical(&url).map_or(url, |url| url.as_str().to_owned());
            let alike = groups.entry(one).or_default();
            match EndpointRow::checked(row) {
                Ok(row) => alike.rows.push(row),
                Err(Fault::Damaged(_)) => alike.has_damaged = true,
                Err(fault) => return Err(fault),
            }
        }
        for (url, alike) in groups {
            if let Some((kept, rest)) = alike.rows.split_first() {
                let is_spelled = kept.endpoint.url.as_str() == url;
                let have_same = |row: &EndpointRow| row.endpoint.keyring == kept.endpoint.keyring;
                if rest.is_empty() && is_spelled {
                    continue;
                }
                if alike.has_damaged || !rest.iter().all(have_same) {
                    let ids: Vec<_> = alike.rows.iter().map(|row| row.endpoint.id).collect();
                    tracing::warn!(
                        ?ids,
                        "these have one URL in different spellings, and not the same secrets"
                    );
                    continue;
                }
                self.unite_into(kept, rest, &url)?;
            }
        }
        Ok(())
    }

    /// Leaves one of these, at `url`. It is enabled if all of them were.
    fn unite_into(&self, kept: &EndpointRow, rest: &[EndpointRow], url: &str) -> Result<(), Fault> {
        for gone in rest {
            self.conn.execute(
                "INSERT INTO old_united VALUES (?1, ?2, ?3, ?4)",
                params![
                    gone.number,
                    gone.endpoint.id.to_string(),
                    kept.number,
                    kept.endpoint.id.to_string()
                ],
            )?;
            gone.delete(self.conn)?;
            let (kept, gone) = (kept.endpoint.id, gone.endpoint.id);
            tracing::info!(%kept, %gone, "two spellings of one URL; their endpoints are one now");
        }
        let mut endpoint = notify_core::endpoint::Endpoint::clone(&kept.endpoint);
        endpoint.url = EndpointUrl::parse(url)
            .map_err(|_| Fault::damaged("a canonical URL that can't be read"))?;
        for gone in rest.iter().filter(|row| !row.endpoint.enabled) {
            endpoint.disable(gone.endpoint.sick_since.unwrap_or(gone.named_at));
        }
        let row = EndpointRow {
            endpoint: endpoint.into(),
            ..kept.clone()
        };
        kept.delete(self.conn)?;
        row.insert(self.conn)
    }
}
