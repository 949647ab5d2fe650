//! How this system is set up to resolve names: `/etc/hosts` and
//! `/etc/resolv.conf`.
//!
//! Both are looked at again every [`LOOKED_AT_EVERY`] while names are looked up,
//! and read again if they have changed. As the C library does it, a machine without
//! a `resolv.conf`, or with none that names a server, is taken to run one itself.
//! How long to wait and how often to ask is not taken from there: a look-up has a
//! deadline of its own.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use tokio::time::Instant;

use crate::no_answer::{self, OurOwn};

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// How often it is asked whether the two have changed.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(5);

/// How long one question waits for its answer before it is asked once more, or of
/// the next name server.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(1);

/// The most answers that are kept until they are out of date.
const ANSWERS_KEPT_MAX: u64 = 4_096;

/// For how long an answer is kept at most, however long it says that it is good.
const ANSWER_KEPT: Duration = Duration::from_secs(300);

/// How names are resolved, now.
pub(super) struct System {
    state: Mutex<Option<Read>>,
}

struct Read {
    current: Arc<Current>,
    stamp: Stamp,
    looked_at: Instant,
}

/// When the two files were changed last, and how long they are.
type Stamp = [Option<(SystemTime, u64)>; 2];

pub(super) struct Current {
    hosts: Hosts,
    resolver: TokioResolver,
}

impl System {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(None),
        }
    }

    /// As it stands now.
    ///
    /// # Errors
    /// The files could not be read for want of descriptors or memory, or the
    /// resolver could not be set up.
    pub(super) fn current(&self) -> Result<Arc<Current>, OurOwn> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = &mut *state {
            if read.looked_at.elapsed() < LOOKED_AT_EVERY {
                return Ok(Arc::clone(&read.current));
            }
            read.looked_at = Instant::now();
            if read.stamp == stamp() {
                return Ok(Arc::clone(&read.current));
            }
        }
        // Before they are read, so that a change meanwhile is seen the next time.
        let stamp = stamp();
        let current = Arc::new(Current::of(read_hosts()?, read_resolv_conf()?)?);
        *state = Some(Read {
            current: Arc::clone(&current),
            stamp,
            looked_at: Instant::now(),
        });
        Ok(current)
    }

    /// This, whatever the files say.
    #[cfg(test)]
    pub(super) fn fixed(hosts: &str, config: ResolverConfig) -> Self {
        let mut listed = Hosts::default();
        listed.read_hosts_conf(hosts.as_bytes()).unwrap();
        let current = Current::of(listed, (config, ResolverOpts::default()));
        let read = Read {
            current: Arc::new(current.ok().unwrap()),
            stamp: stamp(),
            looked_at: Instant::now(),
        };
        Self {
            state: Mutex::new(Some(read)),
        }
    }
}

impl Current {
    fn of(
        hosts: Hosts,
        (config, mut options): (ResolverConfig, ResolverOpts),
    ) -> Result<Self, OurOwn> {
        options.timeout = QUESTION_TIMEOUT;
        options.attempts = 2;
        options.num_concurrent_reqs = 1;
        options.cache_size = ANSWERS_KEPT_MAX;
        options.positive_max_ttl = Some(ANSWER_KEPT);
        // Failures are remembered elsewhere, whatever their kind.
        options.negative_max_ttl = Some(Duration::ZERO);
        // The file was read already.
        options.use_hosts_file = ResolveHosts::Never;
        let provider = TokioRuntimeProvider::default();
        let resolver = TokioResolver::builder_with_config(config, provider).with_options(options);
        let resolver = resolver.build().map_err(|error| {
            tracing::error!(%error, "names can't be resolved");
            OurOwn("names can't be resolved")
        })?;
        Ok(Self { hosts, resolver })
    }

    /// What `/etc/hosts` says of a name; it has the first word.
    pub(super) fn listed(&self, host: &str) -> Vec<IpAddr> {
        let Ok(name) = Name::from_ascii(host.to_ascii_lowercase()) else {
            return Vec::new();
        };
        let families = [RecordType::AAAA, RecordType::A];
        let listed = families.into_iter().filter_map(|family| {
            let query = Query::query(name.clone(), family);
            self.hosts.lookup_static_host(&query)
        });
        let records = listed.flat_map(|found| found.answers().to_vec());
        records.filter_map(|record| record.data.ip_addr()).collect()
    }

    pub(super) fn resolver(&self) -> &TokioResolver {
        &self.resolver
    }
}

fn stamp() -> Stamp {
    [HOSTS, RESOLV_CONF].map(|file| {
        let metadata = fs::metadata(file).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}

fn read_hosts() -> Result<Hosts, OurOwn> {
    let mut hosts = Hosts::default();
    if let Some(text) = read(HOSTS)?
        && let Err(error) = hosts.read_hosts_conf(&*text)
    {
        tracing::warn!(file = HOSTS, %error, "only its beginning could be understood");
    }
    Ok(hosts)
}

fn read_resolv_conf() -> Result<(ResolverConfig, ResolverOpts), OurOwn> {
    Ok(understood(&read(RESOLV_CONF)?.unwrap_or_default()))
}

/// What a `resolv.conf` says, as far as it can be understood.
fn understood(text: &[u8]) -> (ResolverConfig, ResolverOpts) {
    let (mut said, errors) = resolv_conf::Config::parse_with_errors(text);
    for error in errors {
        tracing::warn!(file = RESOLV_CONF, %error, "a line of it is passed over");
    }
    said.glibc_normalize();
    let servers = said.get_nameservers_or_local();
    let servers = servers
        .iter()
        .map(|ip| NameServerConfig::udp_and_tcp(ip.into()));
    let search = said.get_last_search_or_domain();
    let search = search.filter_map(|domain| Name::from_str_relaxed(domain).ok());
    let config = ResolverConfig::from_parts(None, search.collect(), servers.collect());
    let mut options = ResolverOpts::default();
    options.ndots = usize::try_from(said.ndots).unwrap_or(1);
    options.edns0 = said.edns0;
    (config, options)
}

/// A file's bytes; `None` if there is no such file, or none for us to read.
fn read(file: &str) -> Result<Option<Vec<u8>>, OurOwn> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) => match no_answer::own_shortage(&error) {
            Some(ours) => Err(ours),
            None => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(file, %error, "it can't be read");
                }
                Ok(None)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8], servers: &[&str], search: &[&str]) {
        let (config, _) = understood(text);
        let asked = config
            .name_servers()
            .iter()
            .map(|server| server.ip.to_string());
        assert_eq!(asked.collect::<Vec<_>>(), servers);
        let tried = config.search().iter().map(Name::to_string);
        assert_eq!(tried.collect::<Vec<_>>(), search);
    }

    #[test]
    fn name_servers_and_search_domains_are_taken_as_written() {
        let text = "# made by hand\nsearch a.example b.example\noptions ndots:2 edns0\n\
                    nameserver 192.0.2.1\nnameserver 2001:db8::1\n";
        check(
            text.as_bytes(),
            &["192.0.2.1", "2001:db8::1"],
            &["a.example", "b.example"],
        );
        let (_, options) = understood(text.as_bytes());
        assert_eq!((options.ndots, options.edns0), (2, true));
    }

    #[test]
    fn without_a_name_server_this_machine_is_asked() {
        for text in [
            &b""[..],
            b"nameserver",
            b"nameserver x.example\n",
            b"\xff\0\n\xfe",
        ] {
            check(text, &["127.0.0.1", "::1"], &[]);
        }
    }
}
