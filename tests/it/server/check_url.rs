//! `notify check-url`: the guard's verdict from a shell.

use super::*;

const EGRESS: &str = include_str!("../../../vectors/egress.tsv");

async fn judged(url: &str, env: &[(&str, &str)]) -> (Option<i32>, String) {
    let ended = Program::run(&["check-url", "--no-resolve", url], env).await;
    assert_eq!(ended.stderr, "", "{url:?}");
    (ended.code, ended.stdout)
}

#[tokio::test]
async fn every_known_answer_is_given() {
    for line in EGRESS.lines() {
        let columns: Vec<_> = line.split('\t').collect();
        let url = columns[1].replace("\\n", "\n");
        let (code, said) = judged(&url, &[]).await;
        if columns[0] == "good" {
            assert_eq!(code, Some(0), "{line}: {said}");
            assert!(said.starts_with("allowed: http"), "{line}: {said}");
        } else {
            assert_eq!(code, Some(1), "{line}: {said}");
            assert!(said.starts_with("not allowed: "), "{line}: {said}");
            assert!(said.contains(columns[2]), "{line}: {said}");
        }
    }
}

#[tokio::test]
async fn it_judges_by_the_servers_settings() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("set.toml");
    std::fs::write(&file, "egress.allow_cidrs = [\"10.0.0.0/8\"]").unwrap();
    let config = ["--config", file.to_str().unwrap()];
    let env = [
        ("NOTIFY_EGRESS__ALLOW_PORTS", r#"["9000-9009"]"#),
        ("NOTIFY_EGRESS__ALLOW_HOSTS", r#"["hooks.internal"]"#),
        (
            "NOTIFY_EGRESS__DENIED_CIDRS",
            r#"["10.1.0.0/16", "1.1.1.1/32"]"#,
        ),
    ];
    for (url, said) in [
        ("http://10.0.0.1:9009/x", "allowed: http://10.0.0.1:9009/x"),
        (
            "http://10.1.0.1/",
            "not allowed: http://10.1.0.1/: forbidden ip",
        ),
        (
            "http://1.1.1.1/",
            "not allowed: http://1.1.1.1/: forbidden ip",
        ),
        ("http://HOOKS.internal./", "allowed: http://hooks.internal/"),
        (
            "http://a.internal/",
            "not allowed: http://a.internal/: forbidden suffix",
        ),
    ] {
        let args = ["check-url", url, "--no-resolve", config[0], config[1]];
        let ended = Program::run(&args, &env).await;
        assert_eq!(ended.stdout, said);
        assert_eq!(ended.code, Some(i32::from(!said.starts_with("allowed"))));
    }
    let (code, said) = judged(
        "http://a.example/",
        &[("NOTIFY_EGRESS__REQUIRE_HTTPS", "true")],
    )
    .await;
    assert_eq!(code, Some(1));
    assert_eq!(
        said,
        "not allowed: http://a.example/: scheme must be https://"
    );
}

#[tokio::test]
async fn a_name_is_resolved_and_no_address_is_shown() {
    // What the hosts file of every machine says, so that no network is needed.
    let env = [("NOTIFY_EGRESS__ALLOW_HOSTS", r#"["localhost"]"#)];
    let ended = Program::run(&["check-url", "http://localhost/?token=canary"], &env).await;
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.stdout, "not allowed: http://localhost/: forbidden ip");
    let cidrs = r#"["127.0.0.0/8", "::1/128"]"#;
    let env = [env[0], ("NOTIFY_EGRESS__ALLOW_CIDRS", cidrs)];
    let ended = Program::run(&["check-url", "http://localhost/?token=canary"], &env).await;
    assert_eq!(
        (ended.code, &*ended.stdout),
        (Some(0), "allowed: http://localhost/")
    );
    let ended = Program::run(&["check-url", "http://nobody.invalid/"], &[]).await;
    assert_eq!((ended.code, &*ended.stdout), (Some(1), ""));
    assert!(ended.stderr.contains("could not be resolved"), "{ended:?}");
}

#[tokio::test]
async fn nothing_is_printed_that_could_take_over_a_terminal() {
    for url in [
        "http://a\x1b[2Jb/",
        "\x1b]0;x\x07",
        "http://\u{202e}moc.elpmaxe/",
        "http://a.example/\u{9b}31m",
    ] {
        let ended = Program::run(&["check-url", "--no-resolve", url], &[]).await;
        let said = ended.stdout + &ended.stderr;
        let odd = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!said.contains(odd), "{said:?}");
        assert_eq!(said.lines().count(), 1, "{said:?}");
        let ended = Program::run(&["check-url", "http://a.example/", url], &[]).await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(!ended.stderr.contains(odd), "{ended:?}");
    }
}

#[tokio::test]
async fn wrong_usage_and_wrong_settings_are_told_apart_from_a_refusal() {
    let wrong = [("NOTIFY_EGRESS__ALLOW_CIDRS", r#"["10.0.0.1"]"#)];
    for (args, env, message) in [
        (&["check-url"][..], &[][..], "<URL>"),
        (&["check-url", "http://a.example/", "--json"], &[], "--json"),
        (
            &["check-url", "http://a.example/"],
            &wrong,
            "egress.allow_cidrs: \"10.0.0.1\" is not",
        ),
        (
            &["check-url", "http://a.example/", "--config", "nowhere.toml"],
            &[],
            "nowhere.toml",
        ),
    ] {
        let ended = Program::run(args, env).await;
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{args:?}");
        assert!(ended.stderr.contains(message), "{ended:?}");
    }
}
