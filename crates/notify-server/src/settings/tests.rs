//! Settings: precedence, types, and how a wrong one is named.

use std::time::Duration;

use notify_core::Span;
use notify_hub::NotifierConfig;

use super::*;

fn sources(file: &str, env: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Sources {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Sources {
        file: (!file.is_empty()).then(|| ("notify.toml".to_owned(), file.to_owned())),
        env: env.iter().map(pair).collect(),
        flags: flags
            .iter()
            .map(|(key, value)| (*key, "--flag", (*value).to_owned()))
            .collect(),
    }
}

fn from_env(env: &[(&str, &str)]) -> ServerConfig {
    ServerConfig::load(sources("", env, &[])).unwrap()
}

#[track_caller]
fn check_refused(file: &str, env: &[(&str, &str)], message: &str) {
    let refused = ServerConfig::load(sources(file, env, &[])).unwrap_err();
    assert_eq!(refused.to_string(), message);
}

#[test]
fn without_sources_the_defaults_hold() {
    let config = from_env(&[]);
    assert_eq!(config.listen, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(config.data_dir.to_str(), Some("./notify-data"));
    assert_eq!((config.public_url, config.api_key), (None, None));
    let library = NotifierConfig {
        retry_schedule: config.notifier.retry_schedule.clone(),
        ..NotifierConfig::default()
    };
    assert_eq!(config.notifier, library);
}

#[test]
fn the_default_schedule_is_that_of_the_contract() {
    let secs = [5, 30, 120, 600, 1_800, 7_200, 18_000, 36_000];
    let waits = secs.map(|secs| Span(Duration::from_secs(secs)));
    assert_eq!(from_env(&[]).notifier.retry_schedule, Some(waits.to_vec()));
    let counted = from_env(&[("NOTIFY_MAX_RETRIES", "5")]).notifier;
    assert_eq!((counted.retry_schedule, counted.max_retries), (None, 5));
}

#[test]
fn flags_beat_the_environment_which_beats_the_file() {
    let file = "listen = \"127.0.0.1:1\"\nmax_retries = 1\nsse_capacity = 1\n[delivery]\nwindow = 2\nin_flight_max = 9";
    let env = [
        ("NOTIFY_LISTEN", "127.0.0.1:2"),
        ("NOTIFY_MAX_RETRIES", "2"),
        ("NOTIFY_DELIVERY__WINDOW", "3"),
    ];
    let flags = [("listen", "127.0.0.1:3")];
    let config = ServerConfig::load(sources(file, &env, &flags)).unwrap();
    assert_eq!(config.listen.port(), 3);
    let notifier = config.notifier;
    assert_eq!((notifier.max_retries, notifier.sse_capacity), (2, 1));
    assert_eq!(notifier.delivery.window, 3);
    assert_eq!(notifier.delivery.in_flight_max, 9);
}

#[test]
fn a_variable_takes_the_type_of_its_setting() {
    let config = from_env(&[
        ("NOTIFY_SIGNING_SECRET", "12345"),
        ("NOTIFY_API_KEY", "1234567890123456"),
        ("NOTIFY_STORE__RETENTION", "2m"),
        ("NOTIFY_EGRESS__REQUIRE_HTTPS", "true"),
        ("NOTIFY_EGRESS__ALLOW_PORTS", r#"["1024-65535", "81"]"#),
        ("NOTIFY_EGRESS__ALLOW_HOSTS", "[]"),
        ("NOTIFY_RETRY_SCHEDULE", r#"["1s","5s"]"#),
        ("NOTIFY_PUBLIC_URL", "https://jobs.example.com/base/"),
        ("NOTIFY_LOG_FORMAT", "json"),
    ]);
    let notifier = config.notifier;
    assert_eq!(notifier.signing_secret.expose(), "12345");
    assert_eq!(notifier.store.retention, Span(Duration::from_secs(120)));
    assert!(notifier.egress.require_https);
    assert_eq!(notifier.egress.allow_ports, ["1024-65535", "81"]);
    assert_eq!(notifier.retry_schedule.map(|waits| waits.len()), Some(2));
    let public_url = config.public_url.unwrap();
    assert_eq!(public_url.to_string(), "https://jobs.example.com/base");
    assert_eq!(config.log_format, Some(LogFormat::Json));
}

#[test]
fn variables_of_other_commands_and_programs_are_no_settings() {
    let env = [
        ("NOTIFY_URL", "x"),
        ("NOTIFY_TOKEN", "x"),
        ("NOTIFY_SECRET", "x"),
        ("NOTIFY_SOCKET", "/run/systemd/notify"),
        ("NOTIFYING", "x"),
        ("LISTEN", "x"),
    ];
    assert_eq!(from_env(&env), from_env(&[]));
}

#[test]
fn an_empty_secret_is_none() {
    let env = [
        ("NOTIFY_SIGNING_SECRET", ""),
        ("NOTIFY_PREVIOUS_SIGNING_SECRET", ""),
    ];
    assert_eq!(from_env(&env), from_env(&[]));
}

#[test]
fn the_bounds_of_what_waits_can_be_set() {
    let file = "[limits]\npending_per_endpoint_max = 1\npending_deliveries_max = 2";
    let env = [("NOTIFY_LIMITS__PENDING_PER_ENDPOINT_MAX", "3")];
    let limits = ServerConfig::load(sources(file, &env, &[])).unwrap();
    let limits = limits.notifier.limits;
    assert_eq!(
        (
            limits.pending_per_endpoint_max,
            limits.pending_deliveries_max
        ),
        (3, 2)
    );
    let defaults = from_env(&[]).notifier.limits;
    assert_eq!(
        (
            defaults.pending_per_endpoint_max,
            defaults.pending_deliveries_max
        ),
        (100_000, 1_000_000)
    );
}

#[test]
fn an_unknown_setting_is_named() {
    let no_such = "there is no such setting";
    check_refused(
        "",
        &[("NOTIFY_LISTN", "x")],
        &format!("listn: {no_such} (set by NOTIFY_LISTN)"),
    );
    check_refused(
        "",
        &[("NOTIFY_DELIVERY__WINDW", "1")],
        &format!("delivery.windw: {no_such} (set by NOTIFY_DELIVERY__WINDW)"),
    );
    check_refused(
        "",
        &[("NOTIFY_DELIVRY__WINDOW", "1")],
        &format!("delivry: {no_such} (set by NOTIFY_DELIVRY__WINDOW)"),
    );
    check_refused("", &[("NOTIFY_", "1")], &format!("NOTIFY_: {no_such}"));
    check_refused(
        "typo = 1",
        &[],
        &format!("typo: {no_such} (set by notify.toml)"),
    );
    check_refused(
        "[store]\nretantion = \"1h\"",
        &[],
        &format!("store.retantion: {no_such} (set by notify.toml)"),
    );
}

#[test]
fn a_wrong_value_is_named_with_its_rule() {
    check_refused(
        "",
        &[("NOTIFY_DELIVERY__WINDOW", "none")],
        "delivery.window: must be a whole number, not negative (set by NOTIFY_DELIVERY__WINDOW)",
    );
    check_refused(
        "delivery.window = -1",
        &[],
        "delivery.window: must be a whole number, not negative (set by notify.toml)",
    );
    check_refused(
        "delivery.window = 65",
        &[],
        "delivery.window: from 1 to 64 (set by notify.toml)",
    );
    check_refused(
        "delivery = 5",
        &[],
        "delivery: must be a table of settings (set by notify.toml)",
    );
    check_refused(
        "",
        &[("NOTIFY_LISTEN", "localhost")],
        "listen: must be an address and a port, such as 127.0.0.1:8080 (set by NOTIFY_LISTEN)",
    );
    check_refused(
        "store.retention = 3",
        &[],
        "store.retention: must be text (set by notify.toml)",
    );
    check_refused(
        "",
        &[("NOTIFY_RETRY_SCHEDULE", r#"["1s", "soon"]"#)],
        "retry_schedule[1]: a duration is a whole number and one of ms, s, m, h, d, such as \"30s\" \
         (set by NOTIFY_RETRY_SCHEDULE)",
    );
    check_refused(
        "",
        &[("NOTIFY_EGRESS__ALLOW_PORTS", "80")],
        "egress.allow_ports: must be a list (set by NOTIFY_EGRESS__ALLOW_PORTS)",
    );
    check_refused(
        "egress.allow_cidrs = [\"10.0.0.1\"]",
        &[],
        "egress.allow_cidrs: \"10.0.0.1\" is not an address range such as 10.0.0.0/8 \
         (set by notify.toml)",
    );
    check_refused(
        "",
        &[("NOTIFY_EGRESS__DENIED_CIDRS", r#"["10.0.0.0/8", "all"]"#)],
        "egress.denied_cidrs: \"all\" is not an address range such as 10.0.0.0/8 \
         (set by NOTIFY_EGRESS__DENIED_CIDRS)",
    );
    check_refused(
        "log_format = \"xml\"",
        &[],
        "log_format: must be text or json (set by notify.toml)",
    );
    check_refused(
        "data_dir = \"\"",
        &[],
        "data_dir: must be a directory's path (set by notify.toml)",
    );
    check_refused(
        "",
        &[("NOTIFY_API_KEY", "fifteen-bytes..")],
        "api_key: must be at least 16 bytes long (set by NOTIFY_API_KEY)",
    );
}

#[test]
fn what_promises_protection_and_gives_none_is_refused() {
    for (file, name, value) in [
        (
            "streams.open_per_job_max = 1",
            "NOTIFY_STREAMS__OPEN_PER_JOB_MAX",
            "1",
        ),
        (
            "streams.open_per_client_max = 1",
            "NOTIFY_STREAMS__OPEN_PER_CLIENT_MAX",
            "1",
        ),
    ] {
        let (setting, _) = file.split_once(" =").unwrap();
        let rule = format!("{setting}: has no effect yet; leave it out");
        check_refused(file, &[], &format!("{rule} (set by notify.toml)"));
        check_refused("", &[(name, value)], &format!("{rule} (set by {name})"));
    }
}

#[test]
fn the_bound_on_all_streams_is_the_servers_own() {
    let config = from_env(&[("NOTIFY_STREAMS__OPEN_MAX", "7")]);
    assert_eq!(config.streams_open_max, 7);
    assert_eq!(from_env(&[]).streams_open_max, 16_000);
    assert_eq!(config.notifier.check(), Ok(()));
}

#[test]
fn a_secret_is_refused_as_it_is_pasted() {
    let quoted = "\"canary\"";
    check_refused(
        "",
        &[("NOTIFY_SIGNING_SECRET", quoted)],
        "signing_secret: without the quotes around it (set by NOTIFY_SIGNING_SECRET)",
    );
    check_refused(
        "signing_secret = \"s\"\nprevious_signing_secret = \"canary\\n\"",
        &[],
        "previous_signing_secret: no white space or control character at either end \
         (set by notify.toml)",
    );
}

#[test]
fn a_public_url_has_neither_query_nor_user() {
    for bad in [
        "",
        "jobs.example.com",
        "/base",
        "ftp://a.example",
        "https://me@a.example",
        "https://a.example/?q",
        "https://a.example/#f",
    ] {
        assert!(PublicUrl::try_from(bad.to_owned()).is_err(), "{bad}");
    }
}

#[test]
fn a_schedule_and_a_count_exclude_each_other_wherever_they_are_set() {
    check_refused(
        "retry_base_ms = 1000\nmax_retries = 3",
        &[("NOTIFY_RETRY_SCHEDULE", r#"["1s"]"#)],
        "retry_schedule: can't be set together with max_retries and retry_base_ms \
         (set by NOTIFY_RETRY_SCHEDULE)",
    );
}

#[test]
fn no_error_shows_a_value() {
    let canary = "canary";
    for (file, env) in [
        (format!("signing_secret = {canary}"), vec![]),
        (format!("signing_secret = [\"{canary}\"]"), vec![]),
        (format!("max_retries = \"{canary}\""), vec![]),
        (format!("api_key = \"{canary}\""), vec![]),
        (format!("signing_secret = \"whsec_{canary}\""), vec![]),
        (
            String::new(),
            vec![("NOTIFY_SIGNING_SECRET", "whsec_canary")],
        ),
        (String::new(), vec![("NOTIFY_API_KEY", canary)]),
    ] {
        let refused = ServerConfig::load(sources(&file, &env, &[])).unwrap_err();
        assert!(
            !format!("{refused} {refused:?}").contains(canary),
            "{refused}"
        );
    }
    let config = from_env(&[
        ("NOTIFY_SIGNING_SECRET", canary),
        ("NOTIFY_API_KEY", "canary-canary-canary"),
    ]);
    assert!(!format!("{config:?}").contains(canary));
}

#[test]
fn a_file_that_is_no_toml_is_refused_by_its_line() {
    let refused = ServerConfig::load(sources("max_retries = 1\nlisten = = 5", &[], &[]));
    let refused = refused.unwrap_err().to_string();
    assert!(refused.starts_with("notify.toml: line 2: "), "{refused}");
}

#[test]
fn loopback_is_this_machine_alone() {
    for (address, expected) in [
        ("127.0.0.1", true),
        ("127.9.9.9", true),
        ("::1", true),
        ("::ffff:127.0.0.1", true),
        ("0.0.0.0", false),
        ("::", false),
        ("192.168.0.1", false),
    ] {
        assert_eq!(is_loopback(address.parse().unwrap()), expected, "{address}");
    }
}
