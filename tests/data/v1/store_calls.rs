//! The calls that the program of version 1 does not offer, made of its library.
//!
//! `store_calls DIR redeliver JOB`: the job's dead letters are pending again.
//! `store_calls DIR rotate URL NEW`: the endpoint signs with NEW too.

use std::time::SystemTime;

use notify_core::store::{DeadFilter, EndpointChange};
use notify_core::{EndpointUrl, Keyring, Secret, Store, Timestamp};
use notify_sqlite::{SqliteOptions, SqliteStore};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let since = SystemTime::UNIX_EPOCH.elapsed()?;
    let now = Timestamp::from_millis(u64::try_from(since.as_millis())?);
    match arguments[..] {
        [dir, "redeliver", job] => {
            let filter = DeadFilter {
                job: Some(job.parse()?),
                ..DeadFilter::default()
            };
            let count = open(dir)?.redeliver(now, filter).await?;
            println!("{count}");
        }
        [dir, "rotate", url, new] => {
            let store = open(dir)?;
            let url = EndpointUrl::parse(url)?;
            let endpoint = store.endpoint_at(&url).await?.ok_or("no endpoint")?;
            let old = endpoint.keyring.ok_or("no secret of its own")?;
            let old = old.newest().clone();
            let both = Keyring::rotating(Secret::parse(new)?, old);
            let change = EndpointChange::Keyring(Box::new(both));
            store.change_endpoint(endpoint.id, change).await?;
        }
        _ => return Err("usage: see the head of this file".into()),
    }
    Ok(())
}

fn open(dir: &str) -> Result<SqliteStore, notify_sqlite::OpenError> {
    SqliteStore::open(dir, SqliteOptions::default())
}
