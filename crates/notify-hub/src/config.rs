//! The settings: one shape for library and server.

mod check;

use std::fmt;

use notify_core::Span;
use notify_core::retention::Retention;
use serde::Deserialize;
use zeroize::Zeroizing;

pub use check::ConfigInvalid;
pub(crate) use check::Settings;

/// Settings of a [`JobNotifier`](crate::JobNotifier). Every field has a default;
/// an unknown one is refused. `Debug` shows no secret.
///
/// ```
/// use notify_hub::NotifierConfig;
///
/// let config = NotifierConfig {
///     signing_secret: "operator-hmac-key".into(),
///     max_retries: 5,
///     ..Default::default()
/// };
/// assert!(!format!("{config:?}").contains("operator-hmac-key"));
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NotifierConfig {
    /// Signs webhooks of endpoints without a secret of their own. Empty means none:
    /// such webhooks are dead letters and not sent; streams work.
    pub signing_secret: SecretText,
    /// The secret before `signing_secret`, while receivers are changing.
    pub previous_signing_secret: SecretText,
    /// How often a failed webhook is tried again, 0–100. Default 3.
    pub max_retries: u32,
    /// The wait before the first retry, in ms; it doubles with each. Default 1000.
    pub retry_base_ms: u64,
    /// The waits before each retry, in place of the two above.
    pub retry_schedule: Option<Vec<Span>>,
    /// How long a webhook may be due at a sick or disabled endpoint before it is
    /// given up, and fail for a reason of our own; 1 s to 90 d. At a healthy one nothing
    /// expires. Default: four times as long as all attempts may take, at least 10 s.
    pub max_age: Option<Span>,
    /// The deadline of one whole HTTP exchange, 1–300 s. Default 10.
    pub timeout_secs: u64,
    /// How many progress events of a running job are kept, 1–1024. Default 16.
    pub sse_capacity: usize,
    /// How far apart progress webhooks of one job are kept, in ms. Default 500.
    pub progress_min_interval_ms: u64,
    /// Where webhooks may go.
    pub egress: EgressConfig,
    /// How much may be in flight.
    pub delivery: DeliveryConfig,
    /// Bounds and origins of streams.
    pub streams: StreamLimits,
    /// What is kept, and for how long.
    pub store: StoreConfig,
    /// Bounds on everything else.
    pub limits: LimitsConfig,
}

impl Default for NotifierConfig {
    fn default() -> Self {
        Self {
            signing_secret: SecretText::default(),
            previous_signing_secret: SecretText::default(),
            max_retries: 3,
            retry_base_ms: 1_000,
            retry_schedule: None,
            max_age: None,
            timeout_secs: 10,
            sse_capacity: 16,
            progress_min_interval_ms: 500,
            egress: EgressConfig::default(),
            delivery: DeliveryConfig::default(),
            streams: StreamLimits::default(),
            store: StoreConfig::default(),
            limits: LimitsConfig::default(),
        }
    }
}

/// Where webhooks may go, beyond what is open by default: http and https, ports
/// 80, 443, 8080, 8443, names that do not look internal, public addresses. Denied
/// wins.
///
/// These are rules of the delivery over HTTP. A transport of one's own has its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EgressConfig {
    /// Address ranges that are allowed though they are not public, such as
    /// `10.0.0.0/8`; for receivers on this machine `127.0.0.0/8`.
    pub allow_cidrs: Vec<String>,
    /// Ports that are allowed too, such as `9000` or `1024-65535`.
    pub allow_ports: Vec<String>,
    /// Names that are allowed though they look internal, such as `hooks.internal`
    /// or, with all below it, `*.hooks.internal`. What they resolve to is judged as
    /// ever.
    pub allow_hosts: Vec<String>,
    /// Address ranges that are denied in any case.
    pub denied_cidrs: Vec<String>,
    /// Whether plain http is refused.
    pub require_https: bool,
}

#[cfg(feature = "http")]
impl EgressConfig {
    /// The policy that these settings come to.
    ///
    /// # Errors
    /// [`ConfigInvalid`] for the first entry that is wrong.
    pub fn policy(&self) -> Result<notify_http::egress::Policy, ConfigInvalid> {
        let policy = notify_http::egress::Policy::default()
            .allow_cidrs(&self.allow_cidrs)
            .and_then(|policy| policy.allow_ports(&self.allow_ports))
            .and_then(|policy| policy.allow_hosts(&self.allow_hosts))
            .and_then(|policy| policy.deny_cidrs(&self.denied_cidrs));
        match policy {
            Ok(policy) => Ok(policy.require_https(self.require_https)),
            Err(invalid) => Err(ConfigInvalid {
                field: invalid.field,
                rule: format!("{:?} is not {}", invalid.entry, invalid.rule),
            }),
        }
    }
}

/// How much may be in flight.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeliveryConfig {
    /// Attempts in flight to one endpoint, 1–64. Default 8.
    pub window: u32,
    /// Attempts in flight altogether, 1–10,000. Default 512.
    pub in_flight_max: u32,
    /// Connections kept for the next webhook, altogether. Default 256. No setting
    /// that is written: the server fits it to the files that it may open.
    #[serde(skip)]
    pub idle_connections_max: usize,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            window: 8,
            in_flight_max: 512,
            idle_connections_max: 256,
        }
    }
}

/// How many streams may be open, and who may open them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamLimits {
    /// Open streams altogether. Default 16,000. The server keeps to it; here
    /// nothing does yet, so another number is refused.
    pub open_max: usize,
    /// Open streams of one job. Default 10,000. Has no effect yet, so another
    /// number is refused.
    pub open_per_job_max: usize,
    /// Open streams of one client address. Default 1,000. Has no effect yet, so
    /// another number is refused.
    pub open_per_client_max: usize,
    /// Address ranges of proxies whose forwarded address is believed.
    pub trusted_proxies: Vec<String>,
    /// Origins whose pages may read streams.
    pub allow_origins: Vec<String>,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            open_max: 16_000,
            open_per_job_max: 10_000,
            open_per_client_max: 1_000,
            trusted_proxies: Vec::new(),
            allow_origins: Vec::new(),
        }
    }
}

/// What is kept, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// How long a job is kept after its terminal event or its last delivery,
    /// whichever is later. Default 24 h.
    pub retention: Span,
    /// How long a dead letter is kept. Default 30 d.
    pub dead_letter_retention: Span,
    /// Free space on disk below which nothing new is accepted. Default 64 MiB.
    pub min_free_bytes: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            retention: Span(Retention::DEFAULT.jobs),
            dead_letter_retention: Span(Retention::DEFAULT.dead_letters),
            min_free_bytes: 64 * 1024 * 1024,
        }
    }
}

/// Bounds on everything else; what goes beyond them is refused and counted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// The largest event, in bytes of JSON, up to 1 MiB. Default 256 KiB.
    pub event_bytes_max: usize,
    /// Deliveries that are not settled; beyond it events with a webhook are refused
    /// as overloaded, others not. Default 1,000,000.
    pub pending_deliveries_max: usize,
    /// Deliveries to one endpoint that are not settled; what comes beyond it becomes a
    /// dead letter. From nine tenths of `pending_deliveries_max` on it is 1,000 at
    /// most. Default 100,000.
    pub pending_per_endpoint_max: usize,
    /// What webhooks occupy that are being sent or are next, in bytes: each its event
    /// and 512. The rest waits in the store. Default 256 MiB.
    pub ready_bytes_max: u64,
    /// Jobs kept in memory, in bytes. Default 1 GiB.
    pub memory_bytes_max: usize,
    /// Dead letters kept in memory; the oldest leave first. Default 1,000.
    pub dead_letters_in_memory_max: usize,
    /// Dead letters of one endpoint, or of a job where they came to none; the oldest
    /// leave first. Default 10,000.
    pub dead_letters_per_endpoint_max: u64,
    /// Dead letters altogether, in bytes; the oldest of the endpoint that has most
    /// leave first. Default 4 GiB.
    pub dead_letter_bytes_max: u64,
    /// Calls that wait for their commit. Default 4,096.
    pub waiting_operations_max: usize,
    /// Bytes that wait for their commit. Default 64 MiB.
    pub waiting_bytes_max: usize,
    /// How long a call waits for a place, in ms, before it is refused as
    /// overloaded. Default 250.
    pub admission_wait_ms: u64,
    /// Subscriptions in this process. Default 100,000.
    pub subscriptions_max: usize,
    /// What is kept in memory of followed jobs' logs, in bytes. Beyond it what all of a
    /// job's readers have passed is read from the store again for who comes later; what
    /// is too much even so refuses further ones. Default 256 MiB.
    pub live_log_bytes_max: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            event_bytes_max: 256 * 1024,
            pending_deliveries_max: 1_000_000,
            pending_per_endpoint_max: 100_000,
            ready_bytes_max: 256 * 1024 * 1024,
            memory_bytes_max: 1024 * 1024 * 1024,
            dead_letters_in_memory_max: 1_000,
            dead_letters_per_endpoint_max: Retention::DEFAULT.dead_letters_per_endpoint_max,
            dead_letter_bytes_max: Retention::DEFAULT.dead_letter_bytes_max,
            waiting_operations_max: 4_096,
            waiting_bytes_max: 64 * 1024 * 1024,
            admission_wait_ms: 250,
            subscriptions_max: 100_000,
            live_log_bytes_max: 256 * 1024 * 1024,
        }
    }
}

/// A secret as settings hold it: text that can be set but not printed.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text, for the one place that uses it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "(none)" } else { "(set)" })
    }
}
