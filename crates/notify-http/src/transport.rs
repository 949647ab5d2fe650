//! The request's way out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use notify_core::transport::AddressRefused;
use notify_core::{EndpointUrl, Transport, TransportError, WebhookRequest, WebhookResponse};
use reqwest::{Client, Method, Request, Url, redirect};
use tokio::time::Instant;

use crate::clients::{Clients, Recipe};
use crate::config::{HttpConfig, HttpConfigInvalid};
use crate::fault::OurOwn;
use crate::resolve::Names;
use crate::{answer, fault, tls};

/// Sends webhook requests over HTTP.
///
/// Connections are pooled, so one transport should serve a whole process; share
/// it in an `Arc`. Making one needs no runtime, sending needs Tokio's with time
/// and I/O enabled.
///
/// # Bounds
///
/// For each request in flight at most some 400 KiB of an answer's head and 16 KiB
/// of its body are in memory; over HTTP/2 a connection buffers at most 1 MiB. At
/// most [`HttpConfig::idle_connections_max`] idle connections are kept.
#[derive(Clone)]
pub struct HttpTransport {
    clients: Arc<Clients>,
}

impl HttpTransport {
    /// A transport with these settings. The system's root certificates are read
    /// now; on a system without any, only `https` receivers can't be reached.
    ///
    /// # Errors
    /// [`HttpConfigInvalid`] names the setting that is wrong.
    pub fn new(config: HttpConfig) -> Result<Self, HttpConfigInvalid> {
        if config.connect_timeout.is_zero() {
            return Err(HttpConfigInvalid::ConnectTimeout);
        }
        let user_agent = HeaderValue::try_from(&config.user_agent)
            .ok()
            .filter(|value| !value.is_empty())
            .ok_or(HttpConfigInvalid::UserAgent)?;
        let tls = tls::client_config(config.extra_roots_pem.as_deref())?;
        let names = Names::new(config.connect_timeout);
        let recipe: Recipe = Box::new(move || {
            Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .dns_resolver(names.clone())
                .user_agent(user_agent.clone())
                .redirect(redirect::Policy::none())
                .no_proxy()
                .referer(false)
                // Another crate in the same build may turn on the client's features
                // for these, and then they are on for everyone.
                .no_gzip()
                .no_brotli()
                .no_zstd()
                .no_deflate()
                .connect_timeout(config.connect_timeout)
                .pool_idle_timeout(config.pool_idle_timeout)
                // Which clients are kept with their connection is decided over all.
                .pool_max_idle_per_host(1)
                .tcp_nodelay(true)
                .tcp_keepalive(TCP_KEEPALIVE)
                .http2_initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
                .http2_initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES)
                .http2_max_header_list_size(HTTP2_HEADER_BYTES_MAX)
                .http2_keep_alive_interval(HTTP2_PING_INTERVAL)
                .http2_keep_alive_timeout(HTTP2_PING_TIMEOUT)
                .build()
        });
        // What can't be made now never can.
        recipe().map_err(|error| HttpConfigInvalid::Unavailable(error.to_string()))?;
        let (idle_max, idle_timeout) = (config.idle_connections_max, config.pool_idle_timeout);
        Ok(Self {
            clients: Arc::new(Clients::new(recipe, idle_max, idle_timeout)),
        })
    }
}

impl HttpTransport {
    /// Why nothing came back. Of whatever this machine has run out of, idle
    /// connections have some.
    fn failed(&self, error: &reqwest::Error, is_https: bool) -> TransportError {
        if fault::is_shortage(error) {
            self.clients.close_idle();
        }
        fault::of(error, is_https)
    }
}

impl Transport for HttpTransport {
    /// Sends one request and reads its answer, all of it within
    /// `request.timeout`.
    ///
    /// The answer counts from the moment its headers are there: a body that then
    /// stalls or breaks is cut, and what was read of it is returned.
    ///
    /// # Errors
    /// [`TransportError`] if no answer's head came back in time. It never shows
    /// the URL or an address.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the exchange. The receiver may have got the
    /// request nonetheless.
    async fn send(&self, request: WebhookRequest) -> Result<WebhookResponse, TransportError> {
        let started = Instant::now();
        let timeout = request.timeout;
        let is_https = request.url.is_https();
        let mut lent = self.clients.lend(&request.url).map_err(|_| {
            // The error may tell more than is to be told.
            OurOwn("no HTTP client")
        })?;
        let request = build(request)?;
        let response = tokio::time::timeout(timeout, lent.client().execute(request))
            .await
            .map_err(|_elapsed| TransportError::Timeout)?
            .map_err(|error| self.failed(&error, is_https))?;
        lent.answered(response.version());
        answer::read(response, timeout.saturating_sub(started.elapsed())).await
    }

    /// Whether the URL can be requested at all. What it may point at is for the
    /// egress policy to judge.
    fn vet(&self, url: &EndpointUrl) -> Result<(), AddressRefused> {
        parse(url).map(drop)
    }
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport").finish_non_exhaustive()
    }
}

/// The `POST` as the client takes it.
fn build(request: WebhookRequest) -> Result<Request, TransportError> {
    let url = parse(&request.url).map_err(TransportError::Refused)?;
    let mut built = Request::new(Method::POST, url);
    *built.headers_mut() = headers(request.headers)?;
    // The client would say so by itself, but not of an empty body.
    let length = HeaderValue::from(request.body.len());
    built.headers_mut().insert(CONTENT_LENGTH, length);
    *built.body_mut() = Some(request.body.into());
    Ok(built)
}

fn headers(message: Vec<(&'static str, String)>) -> Result<HeaderMap, TransportError> {
    let invalid = |name: &str| TransportError::Internal(format!("invalid header {name:?}"));
    let mut headers = HeaderMap::with_capacity(message.len() + 4);
    for (name, value) in message {
        // The value stays out of the error: it may be a signature.
        let value = HeaderValue::try_from(value).map_err(|_| invalid(name))?;
        let name = HeaderName::try_from(name).map_err(|_| invalid(name))?;
        headers.append(name, value);
    }
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Ok(headers)
}

/// Reads the URL as both of the client's parsers do: one takes it apart, the
/// other puts it on the wire.
fn parse(url: &EndpointUrl) -> Result<Url, AddressRefused> {
    let unparsable = AddressRefused { rule: "unparsable" };
    let url = Url::parse(url.as_str()).map_err(|_| unparsable)?;
    let _: http::Uri = url.as_str().parse().map_err(|_| unparsable)?;
    Ok(url)
}

/// How soon a silent peer is probed for being alive.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);

/// A little more than is read of a body. This is also HTTP/2's default
/// ([RFC 9113 §6.9.2](https://www.rfc-editor.org/rfc/rfc9113#section-6.9.2));
/// the client's own is 2 MiB, which a hostile receiver could make us hold for
/// every request.
const HTTP2_STREAM_WINDOW_BYTES: u32 = 65_535;

/// What all answers on one connection may have sent ahead of their readers.
const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// The most bytes of all headers of one answer over HTTP/2.
const HTTP2_HEADER_BYTES_MAX: u32 = 64 * 1024;

/// Requests share an HTTP/2 connection, so one that has died silently would take
/// every later request down with it. While any request waits, it is asked for a
/// sign of life, and replaced if there is none.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(5);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: Vec<(&'static str, String)>) -> WebhookRequest {
        WebhookRequest {
            url: EndpointUrl::parse("http://a.example/x?token=canary").unwrap(),
            headers,
            body: "{}".into(),
            timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_request_carries_its_headers_and_no_encoding() {
        let built = build(request(vec![("webhook-id", "a-1".to_owned())])).unwrap();
        assert_eq!(built.method(), Method::POST);
        assert_eq!(built.headers()["webhook-id"], "a-1");
        assert_eq!(built.headers()["accept-encoding"], "identity");
        assert_eq!(built.body().unwrap().as_bytes(), Some(&b"{}"[..]));
    }

    #[test]
    fn a_header_that_can_not_be_sent_is_our_own_fault() {
        for (name, value) in [("x-job-id", "canary\r\nx: y"), ("no name", "canary")] {
            let error = build(request(vec![(name, value.to_owned())])).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(matches!(error, TransportError::Internal(_)), "{text}");
            assert!(text.contains(name) && !text.contains("canary"), "{text}");
        }
    }

    #[test]
    fn only_what_can_be_requested_passes() {
        // No runtime: making a transport needs none.
        let transport = HttpTransport::new(HttpConfig::default()).unwrap();
        let vet = |text| Transport::vet(&transport, &EndpointUrl::parse(text).unwrap());
        for text in [
            "https://a.example/x?y=z",
            "http://[2606:4700::1111]:8443/",
            "http://bücher.example/é?ü={}|^`",
            "http://a.example:65535/",
        ] {
            assert_eq!(vet(text), Ok(()), "{text}");
        }
        for text in [
            "http://1.2.3.256/",
            "http://0x100000000/",
            "http://a.example.7/",
            "http://xn--/",
            // What only the second parser refuses.
            "http://a{b/",
            "http://a`b/",
            "http://\u{ad}/",
        ] {
            let unparsable = AddressRefused { rule: "unparsable" };
            assert_eq!(vet(text), Err(unparsable), "{text}");
        }
    }
}
