//! Nothing of at most 1 MiB, to any door, ends a process with 2 MiB of stack or
//! grows its memory by more than 64 MiB.
//!
//! What is known to hurt comes first, then what seeds make, for a few seconds a
//! door. `HOSTILE_JSON_SEED=N` replays one seed; `HOSTILE_JSON_SECONDS=N` goes on
//! for longer, from `HOSTILE_JSON_FROM=N` on.

use std::time::{Duration, Instant};

use notify_tests::crash::server::comes_within;
use notify_tests::hostile_json::Hostile;
use notify_tests::hostile_json::place::{
    EVENT, Places, REGISTRATION, WEBHOOK, known_bodies, seeded_body,
};
use notify_tests::hostile_json::process::{Process, customer};
use notify_tests::http_client::{HttpAnswer, HttpRequest};
use notify_tests::program::notify;

use notify_core::signing::sign;
use notify_core::{Keyring, Secret};

const KEY: &str = "operator-key-0123456789";
const SECRET: &str = "customer-hmac-key";

/// How long seeds are tried at each door.
const SECONDS: u64 = 2;

/// How many are tried at least, however slow the machine is.
const TRIED_MIN: u64 = 20;

const GROWTH_KIB_MAX: u64 = 64 * 1024;

/// Far longer than any answer takes.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test]
async fn the_api_stands_hostile_events() {
    try_door(&mut api().await, EVENT, |body| {
        let request = HttpRequest::post("/v1/jobs/hostile/events", "").body(body);
        request.bearer(KEY)
    })
    .await;
}

#[tokio::test]
async fn the_api_stands_hostile_registrations() {
    try_door(&mut api().await, REGISTRATION, |body| {
        HttpRequest::post("/v1/jobs", "").body(body).bearer(KEY)
    })
    .await;
}

#[tokio::test]
async fn listen_stands_hostile_webhooks() {
    let listen = notify(&["listen", "--port", "0"], &[("NOTIFY_SECRET", SECRET)]);
    try_door(&mut Process::start(listen).await, WEBHOOK, signed).await;
}

#[tokio::test]
async fn listen_without_a_secret_stands_hostile_webhooks() {
    let listen = notify(&["listen", "--port", "0"], &[]);
    try_door(&mut Process::start(listen).await, WEBHOOK, signed).await;
}

#[tokio::test]
async fn a_customer_with_every_feature_stands_hostile_webhooks() {
    let mut customer = Process::start(customer(SECRET)).await;
    try_door(&mut customer, WEBHOOK, signed).await;
}

#[tokio::test]
async fn a_private_token_is_data_to_a_customer_with_every_feature() {
    let customer = Process::start(customer(SECRET)).await;
    for result in [
        r#"{"$serde_json::private::RawValue":"1"}"#,
        r#"{"$serde_json::private::Number":"1"}"#,
        r#"[{"$serde_json::private::Number":"x"},{"a":{"$serde_json::private::RawValue":"]"}}]"#,
    ] {
        let event = format!(r#"{{"status":"queued","result":{result},"timestamp":7}}"#);
        let body = format!(
            r#"{{"id":"k3f9a2m7q1xz-1","type":"job.queued","job_id":"a","sequence":1,"event":{event}}}"#
        );
        let answer = signed(body.into_bytes()).send(customer.address).await;
        assert_eq!((answer.status, &*answer.body), (200, event.as_bytes()));
    }
}

/// The server, in which an event may be as large as any.
async fn api() -> Process {
    let args = [
        "serve",
        "--in-memory",
        "--allow-loopback",
        "--listen",
        "127.0.0.1:0",
    ];
    let env = [
        ("NOTIFY_API_KEY", KEY),
        ("NOTIFY_SIGNING_SECRET", SECRET),
        ("NOTIFY_LIMITS__EVENT_BYTES_MAX", "1048576"),
    ];
    Process::start(notify(&args, &env)).await
}

/// A webhook whose signature is right.
fn signed(body: Vec<u8>) -> HttpRequest {
    let keyring = Keyring::new(Secret::parse(SECRET).unwrap());
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let signatures = sign(&keyring, "k3f9a2m7q1xz-1", now, &body);
    HttpRequest::post("/", "")
        .body(body)
        .header("webhook-id", "k3f9a2m7q1xz-1")
        .header("webhook-timestamp", now.to_string())
        .header("webhook-signature", signatures.standard)
}

/// Sends what is known to hurt, then what seeds make.
async fn try_door(process: &mut Process, places: Places, request: impl Fn(Vec<u8>) -> HttpRequest) {
    // What the first requests take, they take once.
    let harmless = || request(br#"{"a":1}"#.to_vec());
    for _ in 0..20 {
        harmless().send(process.address).await;
    }
    process.is_idle_now();
    let set = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap())
    };
    if let Some(seed) = set("HOSTILE_JSON_SEED") {
        return try_one(process, seeded_body(places, seed), &request).await;
    }
    for hostile in known_bodies(places) {
        try_one(process, hostile, &request).await;
    }
    let seconds = set("HOSTILE_JSON_SECONDS").unwrap_or(SECONDS);
    let started = Instant::now();
    let from = set("HOSTILE_JSON_FROM").unwrap_or(0);
    let mut tried = 0;
    while started.elapsed() < Duration::from_secs(seconds) || tried < TRIED_MIN {
        let hostile = seeded_body(places, from + tried);
        try_one(process, hostile, &request).await;
        tried += 1;
    }
    harmless().send(process.address).await;
}

async fn try_one(
    process: &mut Process,
    hostile: Hostile,
    request: impl Fn(Vec<u8>) -> HttpRequest,
) {
    let Hostile { name, body } = hostile;
    process.forget_peak();
    let len = body.len();
    let answer = answered(request(body.clone()), process).await;
    let peak = process.peak_kib_over_idle();
    let stands = process.is_running() && answer.is_some() && peak <= GROWTH_KIB_MAX;
    if !stands {
        // A connection breaks a little before its process is gone.
        comes_within(Duration::from_secs(1), || !process.is_running()).await;
        let file = format!("hostile-{}.json", process.address.port());
        let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
        std::fs::write(&file, body).unwrap();
        panic!(
            "{name}: {len} bytes, running {}, answered {:?}, {} MiB over idle; kept in {}",
            process.is_running(),
            answer.map(|it| it.status),
            peak / 1024,
            file.display()
        );
    }
}

/// The answer, unless the connection breaks or it takes too long.
async fn answered(request: HttpRequest, process: &Process) -> Option<HttpAnswer> {
    let address = process.address;
    let sent = tokio::spawn(async move { request.send(address).await });
    tokio::time::timeout(ANSWERED_WITHIN, sent).await.ok()?.ok()
}
