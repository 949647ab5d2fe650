//! JSON that strangers send: kept as it was written at every door, or refused by
//! name, and never more than data.

use notify_tests::http_client::HttpRequest;
use notify_tests::program::Program;
use notify_tests::receiver::Receiver;

use super::{KEY, Server, check_field, check_refused};

const PRIVATE_KEY: &str = "$serde_json::private::RawValue";

/// Results that a general data model would change, or read a second time.
fn results() -> Vec<String> {
    vec![
        "123456789012345678901234567890".to_owned(),
        "[1.10,1e2,-0,0.30000000000000004]".to_owned(),
        r#"{"z":1,"a":{"y":1,"b":2},"z":2}"#.to_owned(),
        r#"["\u0041\/","\ud83d\ude00"]"#.to_owned(),
        format!(r#"{{"{PRIVATE_KEY}":"[1,2]"}}"#),
        r#"{"$serde_json::private::Number":"1e400"}"#.to_owned(),
    ]
}

/// JSON within JSON within JSON, behind a private key each time: as text it is
/// not deep at all.
fn nested_texts(times: usize) -> String {
    let escaped = |text: &str| text.replace('\\', "\\u005c").replace('"', "\\u0022");
    let (open, close) = ("[".repeat(60), "]".repeat(60));
    (0..times).fold(format!("{open}{close}"), |inner, _| {
        format!(r#"{open}{{"{PRIVATE_KEY}":"{}"}}{close}"#, escaped(&inner))
    })
}

#[tokio::test]
async fn a_result_is_the_same_bytes_at_every_door() {
    let server = Server::start_with(&[("NOTIFY_SIGNING_SECRET", "s")]).await;
    let receiver = Receiver::start().await.unwrap();
    for (number, result) in results().into_iter().enumerate() {
        let path = format!("/v1/jobs/job-{number}");
        let hook = receiver.url().replace(':', "%3A").replace('/', "%2F");
        let events = format!("{path}/events?webhook_url={hook}");
        let event = format!(r#"{{ "status":"completed", "timestamp":7, "result": {result} }}"#);
        let kept = format!(r#"{{"status":"completed","result":{result},"timestamp":7}}"#);
        assert_eq!(server.post(&events, &event).await.status, 202, "{event}");

        let delivered = receiver.wait_for(number + 1).await;
        let body = String::from_utf8_lossy(&delivered[number].body).into_owned();
        assert!(body.ends_with(&format!(r#""event":{kept}}}"#)), "{body}");
        let stream = server.get(&format!("{path}/events")).await;
        let stream = String::from_utf8_lossy(&stream.body).into_owned();
        assert!(stream.ends_with(&format!("\ndata: {kept}\n\n")), "{stream}");
        let job = server.get(&path).await;
        let job = String::from_utf8_lossy(&job.body).into_owned();
        assert!(job.contains(&format!(r#""event":{kept}}}"#)), "{job}");
    }
}

#[tokio::test]
async fn what_some_receiver_could_not_read_is_refused_by_name() {
    let server = Server::start().await;
    let check = async |fields: &str, field: &str| {
        let event = format!(r#"{{"status":"queued",{fields}}}"#);
        let refused = server.post("/v1/jobs/a/events", event).await;
        check_field(&refused, "event_invalid", field);
    };
    check(r#""result":{"x":1e400}"#, "result").await;
    check(r#""result":["\ud800"]"#, "result").await;
    check(r#""error":"\udc00x""#, "error").await;
    check(r#""st\u0061tus":"failed""#, "status").await;
    let twice = r#"{"job_id":"a","job_id":"b"}"#;
    check_field(
        &server.post("/v1/jobs", twice).await,
        "request_invalid",
        "job_id",
    );
}

#[tokio::test]
async fn json_within_json_ends_nothing() {
    let server = Server::start().await;
    let event = format!(r#"{{"status":"queued","result":{}}}"#, nested_texts(44));
    assert!(event.len() < 256 * 1024);
    let accepted = server.post("/v1/jobs/a/events", &event).await;
    assert_eq!(accepted.status, 202);
    let refused = server.post("/v1/jobs", &event).await;
    check_refused(&refused, 413, "payload_too_large");
    let spec = format!(r#"{{"job_id":{}}}"#, nested_texts(12));
    let refused = server.post("/v1/jobs", spec).await;
    check_field(&refused, "request_invalid", "job_id");

    let listen = Program::start(&["listen", "--port", "0"], &[]);
    let body = format!(
        r#"{{"id":"k3f9a2m7q1xz-1","type":"t","job_id":"a","sequence":1,"event":{event}}}"#
    );
    let request = HttpRequest::post("/", body).bearer(KEY);
    assert_eq!(request.send(listen.address().await).await.status, 204);
    assert_eq!(server.get("/v1/jobs/a").await.status, 200);
}
