//! `vectors/egress.tsv`: which URLs may be gone to by default, and which rule the
//! others break.

use notify_core::transport::VetError;

use super::*;

const EGRESS: &str = include_str!("../../../vectors/egress.tsv");

fn rule_of(vetted: Result<EndpointUrl, VetError>) -> &'static str {
    match vetted {
        Ok(_) => "ok",
        Err(VetError::Refused { refused, .. }) => refused.rule,
        Err(VetError::Invalid(invalid)) => invalid.rule(),
    }
}

#[test]
fn every_known_answer_is_given_with_its_rule() {
    let policy = Policy::default();
    let mut verdicts = [0, 0];
    for line in EGRESS.lines() {
        let columns: Vec<_> = line.split('\t').collect();
        let [verdict, url, rule] = columns[..] else {
            panic!("{line:?} has no three columns")
        };
        // A line of the file holds no line break, so it is written with a backslash.
        let url = url.replace("\\n", "\n");
        assert_eq!(rule_of(policy.vet(&url)), rule, "{url:?}");
        assert_eq!(verdict, if rule == "ok" { "good" } else { "bad" });
        verdicts[usize::from(rule == "ok")] += 1;
    }
    assert_eq!(verdicts, [72, 11]);
}

#[tokio::test]
async fn nobody_is_connected_to_for_a_bad_one() {
    let transport = HttpTransport::new(HttpConfig::default()).unwrap();
    for line in EGRESS.lines().filter(|line| line.starts_with("bad")) {
        let url = line.split('\t').nth(1).unwrap();
        // What does not pass the raw gate can't become a request at all.
        let Ok(url) = EndpointUrl::parse(url) else {
            continue;
        };
        let mut request = request("http://a.example/", LONG);
        request.url = url;
        let refused = within(SHORT, transport.send(request)).await.unwrap_err();
        assert!(
            matches!(refused, TransportError::Refused(_)),
            "{line}: {refused}"
        );
    }
}
