//! The floor: the HTTP client, sending one and the same webhook over and over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderName, HeaderValue};
use notify_core::WebhookRequest;
use notify_core::transport::RecordingTransport;
use notify_hub::JobNotifier;
use reqwest::{Client, Url};
use tokio::task::JoinSet;

use super::super::{IN_FLIGHT, Measured, Outcome};
use super::product::{self, config};
use super::{SendOptions, Tally};

pub(super) async fn run(options: &SendOptions) -> Outcome<Measured> {
    let WebhookRequest {
        url, headers, body, ..
    } = made_by_the_product(options).await?;
    let url: Url = url.as_str().parse()?;
    let mut header_map = HeaderMap::new();
    for (name, value) in headers {
        header_map.insert(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
    }
    header_map.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let client = client()?;

    let tally = Arc::new(Tally::default());
    let stop = Arc::new(AtomicBool::new(false));
    let mut loops = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (client, url, headers, body) = (
            client.clone(),
            url.clone(),
            header_map.clone(),
            body.clone(),
        );
        let (tally, stop) = (Arc::clone(&tally), Arc::clone(&stop));
        loops.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let request = client.post(url.clone()).headers(headers.clone());
                let answer = request.body(body.clone()).send().await;
                let answer = match answer {
                    Ok(answer) if answer.status() == 204 => answer.bytes().await.is_ok(),
                    _ => false,
                };
                tally.note(answer);
            }
        });
    }
    let measured = tally.measure(options).await;
    stop.store(true, Ordering::Relaxed);
    loops.join_all().await;
    tally.close(measured?)
}

/// The webhook as the product makes it, of an event such as it delivers itself.
async fn made_by_the_product(options: &SendOptions) -> Outcome<WebhookRequest> {
    let transport = Arc::new(RecordingTransport::new());
    let builder = JobNotifier::builder(config());
    let notifier = builder.transport(Arc::clone(&transport)).build()?;
    let url = product::endpoint(options.to, 0);
    let event = product::last_event();
    notifier.notify("job-0-0", event, Some(&url)).await?;
    // It finishes what is under way.
    while transport.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    notifier.shutdown(Duration::from_secs(5)).await;
    let requests = transport.requests();
    Ok(requests.into_iter().next().ok_or("nothing was sent")?)
}

/// A client as the product's is made, as far as it concerns plain HTTP.
fn client() -> Outcome<Client> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("notify/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .tcp_nodelay(true)
        .pool_max_idle_per_host(IN_FLIGHT)
        .timeout(Duration::from_secs(10));
    Ok(client.build()?)
}
