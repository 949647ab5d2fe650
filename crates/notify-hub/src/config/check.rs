//! From settings as they are written to settings as they are used.

use std::net::IpAddr;
use std::time::Duration;

use notify_core::retention::Retention;
use notify_core::schedule::Limits;
use notify_core::{EventLimits, Keyring, RetryPolicy, Secret, Span};

use super::{NotifierConfig, SecretText, StreamLimits};

/// Settings after their check: every value is within its bounds.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) keyring: Option<Keyring>,
    pub(crate) retry_policy: RetryPolicy,
    pub(crate) timeout: Duration,
    pub(crate) progress_events_max: usize,
    pub(crate) progress_min_interval: Duration,
    pub(crate) schedule: Limits,
    pub(crate) retention: Retention,
    pub(crate) event_limits: EventLimits,
    pub(crate) waiting_operations_max: usize,
    pub(crate) waiting_bytes_max: usize,
    pub(crate) admission_wait: Duration,
    pub(crate) subscriptions_max: usize,
    pub(crate) live_log_bytes_max: usize,
    pub(crate) pending_deliveries_max: usize,
    pub(crate) pending_per_endpoint_max: usize,
    pub(crate) memory_bytes_max: usize,
    pub(crate) dead_letters_max: usize,
}

/// A setting is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct ConfigInvalid {
    /// The setting, with dots.
    pub field: &'static str,
    /// What it must be.
    pub rule: String,
}

impl NotifierConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigInvalid`] for the first that breaks its rule.
    pub fn check(&self) -> Result<(), ConfigInvalid> {
        Settings::new(self).map(drop)
    }
}

impl Settings {
    pub(crate) fn new(config: &NotifierConfig) -> Result<Self, ConfigInvalid> {
        no_empty_promises(config)?;
        #[cfg(feature = "http")]
        config.egress.policy()?;
        let proxies = &config.streams.trusted_proxies;
        if let Some(text) = proxies.iter().find(|text| !is_cidr(text)) {
            return Err(invalid(
                "streams.trusted_proxies",
                format_args!("{text:?} is not an address range such as 10.0.0.0/8"),
            ));
        }
        let timeout = Duration::from_secs(within("timeout_secs", config.timeout_secs, 1, 300)?);
        let retry_policy = retry_policy(config)?;
        let max_age = max_age(config, &retry_policy, timeout)?;
        let limits = &config.limits;
        let mib = EventLimits::BYTES_CEILING;
        Ok(Self {
            keyring: keyring(config)?,
            retry_policy,
            timeout,
            progress_events_max: within("sse_capacity", config.sse_capacity, 1, 1_024)?,
            progress_min_interval: Duration::from_millis(within(
                "progress_min_interval_ms",
                config.progress_min_interval_ms,
                0,
                86_400_000,
            )?),
            schedule: Limits {
                in_flight_per_endpoint_max: within(
                    "delivery.window",
                    config.delivery.window,
                    1,
                    64,
                )?,
                in_flight_max: within(
                    "delivery.in_flight_max",
                    config.delivery.in_flight_max,
                    1,
                    10_000,
                )?,
                max_age,
                ready_bytes_max: limits.ready_bytes_max,
                ..Limits::default()
            },
            retention: Retention {
                jobs: config.store.retention.0,
                dead_letters: config.store.dead_letter_retention.0,
                max_age,
                dead_letters_per_endpoint_max: limits.dead_letters_per_endpoint_max,
                dead_letter_bytes_max: limits.dead_letter_bytes_max,
            },
            event_limits: EventLimits {
                event_bytes_max: within("limits.event_bytes_max", limits.event_bytes_max, 1, mib)?,
            },
            waiting_operations_max: within(
                "limits.waiting_operations_max",
                limits.waiting_operations_max,
                1,
                1_000_000,
            )?,
            // The largest event must fit, or it could never be admitted.
            waiting_bytes_max: within(
                "limits.waiting_bytes_max",
                limits.waiting_bytes_max,
                2 * mib,
                1024 * mib,
            )?,
            admission_wait: Duration::from_millis(within(
                "limits.admission_wait_ms",
                limits.admission_wait_ms,
                0,
                60_000,
            )?),
            subscriptions_max: limits.subscriptions_max,
            live_log_bytes_max: limits.live_log_bytes_max,
            pending_deliveries_max: limits.pending_deliveries_max,
            pending_per_endpoint_max: limits.pending_per_endpoint_max,
            memory_bytes_max: limits.memory_bytes_max,
            dead_letters_max: limits.dead_letters_in_memory_max,
        })
    }
}

/// A setting that would protect, and does not yet, is refused: whoever sets it
/// relies on it. What merely allows more is taken.
fn no_empty_promises(config: &NotifierConfig) -> Result<(), ConfigInvalid> {
    let streams = &config.streams;
    let defaults = StreamLimits::default();
    for (field, is_set) in [
        ("streams.open_max", streams.open_max != defaults.open_max),
        (
            "streams.open_per_job_max",
            streams.open_per_job_max != defaults.open_per_job_max,
        ),
        (
            "streams.open_per_client_max",
            streams.open_per_client_max != defaults.open_per_client_max,
        ),
    ] {
        if is_set {
            return Err(invalid(field, "has no effect yet; leave it out"));
        }
    }
    Ok(())
}

fn keyring(config: &NotifierConfig) -> Result<Option<Keyring>, ConfigInvalid> {
    let newest = secret("signing_secret", &config.signing_secret)?;
    let previous = secret("previous_signing_secret", &config.previous_signing_secret)?;
    match (newest, previous) {
        (None, Some(_)) => Err(invalid(
            "previous_signing_secret",
            "is set, but signing_secret is not",
        )),
        (Some(newest), Some(previous)) => Ok(Some(Keyring::rotating(newest, previous, None))),
        (newest, None) => Ok(newest.map(Keyring::new)),
    }
}

fn secret(field: &'static str, text: &SecretText) -> Result<Option<Secret>, ConfigInvalid> {
    if text.is_empty() {
        return Ok(None);
    }
    Secret::parse(text.expose())
        .map(Some)
        .map_err(|error| invalid(field, error))
}

fn retry_policy(config: &NotifierConfig) -> Result<RetryPolicy, ConfigInvalid> {
    let defaults = NotifierConfig::default();
    let counted = (config.max_retries, config.retry_base_ms);
    match &config.retry_schedule {
        Some(_) if counted != (defaults.max_retries, defaults.retry_base_ms) => Err(invalid(
            "retry_schedule",
            "either retry_schedule, or max_retries and retry_base_ms; not both",
        )),
        Some(schedule) => {
            let delays: Vec<Duration> = schedule.iter().map(|span| span.0).collect();
            RetryPolicy::new(delays).map_err(|error| invalid("retry_schedule", error))
        }
        None => {
            let base = Duration::from_millis(config.retry_base_ms);
            RetryPolicy::exponential(config.max_retries, base)
                .map_err(|error| invalid("max_retries", error))
        }
    }
}

fn max_age(
    config: &NotifierConfig,
    policy: &RetryPolicy,
    timeout: Duration,
) -> Result<Duration, ConfigInvalid> {
    let Some(Span(max_age)) = config.max_age else {
        return Ok(policy.max_age(timeout));
    };
    if (Duration::from_secs(1)..=RetryPolicy::MAX_AGE_MAX).contains(&max_age) {
        Ok(max_age)
    } else {
        Err(invalid("max_age", "from 1s to 90d"))
    }
}

fn within<T: PartialOrd + std::fmt::Display + Copy>(
    field: &'static str,
    value: T,
    min: T,
    max: T,
) -> Result<T, ConfigInvalid> {
    if value < min || value > max {
        return Err(invalid(field, format_args!("from {min} to {max}")));
    }
    Ok(value)
}

fn is_cidr(text: &str) -> bool {
    let Some((address, prefix)) = text.split_once('/') else {
        return false;
    };
    let bits = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    prefix.parse::<u8>().is_ok_and(|prefix| prefix <= bits)
}

fn invalid(field: &'static str, rule: impl ToString) -> ConfigInvalid {
    ConfigInvalid {
        field,
        rule: rule.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use notify_core::Span;

    #[cfg(feature = "http")]
    use super::super::EgressConfig;
    use super::*;

    #[track_caller]
    fn check_refused(field: &str, change: impl FnOnce(&mut NotifierConfig)) {
        let mut config = NotifierConfig::default();
        change(&mut config);
        assert_eq!(config.check().unwrap_err().field, field);
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let config = NotifierConfig::default();
        assert_eq!((config.max_retries, config.retry_base_ms), (3, 1_000));
        assert_eq!((config.timeout_secs, config.sse_capacity), (10, 16));
        let settings = Settings::new(&config).unwrap();
        assert_eq!(settings.retry_policy.attempts_max(), 4);
        assert!(settings.keyring.is_none());
        assert_eq!(settings.retention.max_age, Duration::from_secs(188));
    }

    #[test]
    fn a_webhook_may_wait_for_as_long_as_is_said() {
        let config = NotifierConfig {
            max_age: Some(Span(Duration::from_secs(3_600))),
            ..Default::default()
        };
        let settings = Settings::new(&config).unwrap();
        let max_age = Duration::from_secs(3_600);
        assert_eq!(
            (settings.retention.max_age, settings.schedule.max_age),
            (max_age, max_age)
        );
        for secs in [0, 91 * 86_400] {
            check_refused("max_age", |config| {
                config.max_age = Some(Span(Duration::from_secs(secs)));
            });
        }
    }

    #[test]
    fn a_wrong_setting_is_named() {
        check_refused("max_retries", |config| config.max_retries = 101);
        check_refused("timeout_secs", |config| config.timeout_secs = 0);
        check_refused("sse_capacity", |config| config.sse_capacity = 0);
        check_refused("delivery.window", |config| config.delivery.window = 0);
        check_refused("limits.event_bytes_max", |config| {
            config.limits.event_bytes_max = 1 << 21
        });
        check_refused("signing_secret", |config| {
            config.signing_secret = "whsec_x".into()
        });
        check_refused("previous_signing_secret", |config| {
            config.previous_signing_secret = "old".into();
        });
    }

    #[cfg(feature = "http")]
    #[test]
    fn a_wrong_entry_of_the_egress_policy_is_named() {
        type Change = fn(&mut EgressConfig, Vec<String>);
        let changes: [(&str, &str, Change); 6] = [
            ("egress.allow_cidrs", "127.0.0.1", |of, it| {
                of.allow_cidrs = it
            }),
            ("egress.denied_cidrs", "127.0.0.1/8", |of, it| {
                of.denied_cidrs = it
            }),
            ("egress.allow_ports", "0", |of, it| of.allow_ports = it),
            ("egress.allow_ports", "9-1", |of, it| of.allow_ports = it),
            ("egress.allow_hosts", "127.0.0.1", |of, it| {
                of.allow_hosts = it
            }),
            ("egress.allow_hosts", "a b", |of, it| of.allow_hosts = it),
        ];
        for (field, entry, change) in changes {
            let mut config = NotifierConfig::default();
            change(&mut config.egress, vec![entry.to_owned()]);
            let invalid = config.check().unwrap_err();
            assert_eq!(invalid.field, field);
            assert!(invalid.rule.contains(entry), "{invalid}");
        }
    }

    #[test]
    fn what_promises_protection_and_gives_none_is_refused() {
        check_refused("streams.open_max", |config| config.streams.open_max = 1);
        check_refused("streams.open_per_job_max", |config| {
            config.streams.open_per_job_max = 1
        });
        check_refused("streams.open_per_client_max", |config| {
            config.streams.open_per_client_max = 1
        });
    }

    #[test]
    fn what_has_an_effect_is_taken() {
        let mut config = NotifierConfig::default();
        config.egress.allow_cidrs = vec!["10.0.0.0/8".into()];
        config.egress.allow_ports = vec!["9000".into()];
        config.egress.allow_hosts = vec!["hooks.internal".into()];
        config.egress.denied_cidrs = vec!["10.1.0.0/16".into()];
        config.egress.require_https = true;
        config.streams.allow_origins = vec!["https://app.example".into()];
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn a_schedule_and_a_count_exclude_each_other() {
        let schedule = Some(vec![Span(Duration::from_secs(5))]);
        check_refused("retry_schedule", |config| {
            config.retry_schedule = schedule.clone();
            config.max_retries = 5;
        });
        let config = NotifierConfig {
            retry_schedule: schedule,
            ..Default::default()
        };
        assert_eq!(
            Settings::new(&config).unwrap().retry_policy.attempts_max(),
            2
        );
    }

    #[test]
    fn no_secret_is_shown() {
        let config = NotifierConfig {
            signing_secret: "canary-1".into(),
            previous_signing_secret: "canary-2".into(),
            ..Default::default()
        };
        let settings = Settings::new(&config).unwrap();
        assert!(!format!("{config:?} {settings:?}").contains("canary"));
    }
}
