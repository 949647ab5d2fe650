//! The request's way out.

use std::fmt;
use std::sync::Arc;

use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use http::{Method, header};
use notify_core::transport::VetError;
use notify_core::{
    EndpointUrl, Transport, TransportError, WebhookRequest, WebhookResponse, signing, webhook,
};

use crate::answer::Answer;
use crate::config::{HttpConfig, HttpConfigInvalid};
use crate::connect::Connector;
use crate::connection::Outgoing;
use crate::connections::Connections;
use crate::egress::Policy;
use crate::no_answer::{self, NoAnswer, Stage};
use crate::resolve::Names;
use crate::target::{Target, Targets};
use crate::tasks::Tasks;
use crate::tls;

/// Sends webhook requests over HTTP.
///
/// Connections are kept and used again, so one transport should serve a whole
/// process; share it in an `Arc`. Making one needs no runtime, sending needs Tokio's
/// with time and I/O enabled.
///
/// # Bounds
///
/// For each request in flight at most some 400 KiB of an answer's head and 16 KiB
/// of its body are in memory; over HTTP/1.1 at most 1 MiB of one exchange is read,
/// interim answers (`100 Continue`) included; over HTTP/2 a connection buffers at most
/// 1 MiB. At most [`HttpConfig::idle_connections_max`] idle connections are kept.
#[derive(Clone)]
pub struct HttpTransport {
    shared: Arc<Shared>,
}

struct Shared {
    user_agent: HeaderValue,
    policy: Arc<Policy>,
    targets: Targets,
    names: Names,
    connector: Connector,
    connections: Arc<Connections>,
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
        let names = Names::new(config.connect_timeout, Arc::new(config.egress.clone()));
        Self::with_names(config, names)
    }

    /// Names are judged by the policy that they came with, all else by that of the
    /// settings.
    fn with_names(config: HttpConfig, names: Names) -> Result<Self, HttpConfigInvalid> {
        let user_agent = HeaderValue::try_from(&config.user_agent)
            .ok()
            .filter(|value| !value.is_empty())
            .ok_or(HttpConfigInvalid::UserAgent)?;
        let tls = tls::client_config(config.extra_roots_pem.as_deref())?;
        let policy = Arc::new(config.egress);
        let tasks = Tasks::default();
        let timeout = config.connect_timeout;
        let connector = Connector::new(
            names.clone(),
            tls,
            Arc::clone(&policy),
            timeout,
            tasks.clone(),
        );
        let (idle_max, idle_timeout) = (config.idle_connections_max, config.pool_idle_timeout);
        Ok(Self {
            shared: Arc::new(Shared {
                user_agent,
                targets: Targets::new(Arc::clone(&policy)),
                policy,
                names,
                connector,
                connections: Arc::new(Connections::new(idle_max, idle_timeout, tasks)),
            }),
        })
    }

    /// Whether `url` may be requested now: it is judged as before a request, its name
    /// is resolved and the addresses are judged. Nobody is connected to.
    ///
    /// # Errors
    /// What a request would fail of so far, [`TransportError::Refused`] above all.
    pub async fn check(&self, url: &EndpointUrl) -> Result<(), TransportError> {
        let target = self.shared.targets.of(url);
        let target = target.map_err(TransportError::Refused)?;
        let resolved = self.shared.names.resolve(target.host()).await;
        resolved.map_err(|no_answer| no_answer.error)
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
    fn send(
        &self,
        request: WebhookRequest,
    ) -> impl Future<Output = Result<WebhookResponse, TransportError>> + Send {
        let timeout = request.timeout;
        let mut prepared = self.shared.prepare(request);
        async move {
            let (target, request) = prepared.as_mut().map_err(|error| error.clone())?;
            let mut answer = None;
            let exchange = self.shared.exchange(target, request, &mut answer);
            let ended = tokio::time::timeout(timeout, exchange).await;
            match (answer, ended) {
                (Some(answer), _) => Ok(answer.into()),
                (None, Ok(Err(no_answer))) => Err(self.shared.failed(no_answer)),
                (None, _) => Err(TransportError::Timeout),
            }
        }
    }

    /// See [`Policy::vet`].
    fn vet(&self, text: &str) -> Result<EndpointUrl, VetError> {
        self.shared.policy.vet(text)
    }
}

impl Shared {
    fn prepare(&self, request: WebhookRequest) -> Result<(Arc<Target>, Outgoing), TransportError> {
        let target = self.targets.of(&request.url);
        let target = target.map_err(TransportError::Refused)?;
        Ok((target, build(request, &self.user_agent)?))
    }

    /// Sends the request over a connection that there is, or a new one, and reads
    /// the answer. From when its head has come it is in `answer`, whatever becomes
    /// of this.
    ///
    /// What the receiver has provably not looked at is sent once more.
    async fn exchange(
        &self,
        target: &Target,
        request: &mut Outgoing,
        answer: &mut Option<Answer>,
    ) -> Result<(), NoAnswer> {
        let mut given_back = 0;
        loop {
            let (mut connection, place, is_used) = match self.connections.lend(target) {
                Some((connection, place)) => (connection, place, true),
                None => {
                    // Boxed, so that a request that needs none does not carry it about.
                    let connection = Box::pin(self.connector.connect(target)).await?;
                    (connection, self.connections.place(target), false)
                }
            };
            target.address(request, connection.is_http2());
            let spare = connection.is_http2().then(|| Box::new(request.clone()));
            let response = match connection.send(request).await {
                Ok(response) => response,
                Err(failed) if failed.is_unsent && is_used => continue,
                Err(failed) => match spare.filter(|_| no_answer::is_unprocessed(&failed.error)) {
                    Some(spare) if given_back < GIVEN_BACK_MAX => {
                        given_back += 1;
                        *request = *spare;
                        continue;
                    }
                    _ => return Err(NoAnswer::of(Stage::Exchange, &failed.error)),
                },
            };
            let answer = answer.insert(Answer::begin(&response)?);
            let is_whole = answer
                .read_body(&mut connection, response.into_body())
                .await;
            if is_whole && connection.is_reusable().await {
                place.keep(connection);
            }
            return Ok(());
        }
    }

    /// Of whatever this machine has run out of, idle connections may have some.
    fn failed(&self, no_answer: NoAnswer) -> TransportError {
        if no_answer.is_shortage {
            self.connections.close_idle();
        }
        no_answer.error
    }
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport").finish_non_exhaustive()
    }
}

/// The `POST`, but for where it goes.
fn build(request: WebhookRequest, user_agent: &HeaderValue) -> Result<Outgoing, TransportError> {
    let mut headers = headers(request.headers)?;
    headers.insert(header::USER_AGENT, user_agent.clone());
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    if request.body.is_empty() {
        // Of any other the client says so by itself.
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    let mut built = Outgoing::new(request.body.into());
    *built.method_mut() = Method::POST;
    *built.headers_mut() = headers;
    Ok(built)
}

fn headers(message: Vec<(&'static str, String)>) -> Result<HeaderMap, TransportError> {
    let invalid = |name: &str| TransportError::Internal(format!("invalid header {name:?}"));
    let mut headers = HeaderMap::with_capacity(message.len() + OWN_HEADERS);
    for (name, value) in message {
        // The value stays out of the error: it may be a signature.
        let value = HeaderValue::try_from(value).map_err(|_| invalid(name))?;
        let known = NAMES.iter().find(|known| known.as_str() == name);
        let name = match known {
            Some(known) => known.clone(),
            None => HeaderName::try_from(name).map_err(|_| invalid(name))?,
        };
        headers.append(name, value);
    }
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Ok(headers)
}

/// The headers of a webhook, which need not be read each time.
static NAMES: [HeaderName; 7] = [
    header::CONTENT_TYPE,
    HeaderName::from_static(signing::WEBHOOK_ID),
    HeaderName::from_static(signing::WEBHOOK_TIMESTAMP),
    HeaderName::from_static(signing::WEBHOOK_SIGNATURE),
    HeaderName::from_static(signing::X_WEBHOOK_SIGNATURE),
    HeaderName::from_static(signing::X_WEBHOOK_TIMESTAMP),
    HeaderName::from_static(webhook::X_JOB_ID),
];

/// How many headers a transport adds: those of [`build`], the length and the host.
const OWN_HEADERS: usize = 5;

/// How often a request is sent again that HTTP/2 gave back as unprocessed.
const GIVEN_BACK_MAX: u32 = 2;

#[cfg(test)]
mod guarded;

#[cfg(test)]
mod tests {
    use super::*;
    use notify_core::endpoint::UrlInvalid;
    use notify_core::transport::AddressRefused;

    fn built(headers: Vec<(&'static str, String)>) -> Result<Outgoing, TransportError> {
        build(request(headers), &HeaderValue::from_static("notify/0"))
    }

    fn request(headers: Vec<(&'static str, String)>) -> WebhookRequest {
        WebhookRequest {
            url: EndpointUrl::parse("http://a.example/x?token=canary").unwrap(),
            headers,
            body: "{}".into(),
            timeout: std::time::Duration::from_secs(1),
        }
    }

    #[test]
    fn a_request_carries_its_headers_and_no_encoding() {
        let built = built(vec![("webhook-id", "a-1".to_owned())]).unwrap();
        assert_eq!(built.method(), Method::POST);
        assert_eq!(built.headers()["webhook-id"], "a-1");
        assert_eq!(built.headers()["accept-encoding"], "identity");
    }

    #[test]
    fn all_headers_of_a_webhook_fit_without_making_room_again() {
        let names = NAMES.each_ref().map(HeaderName::as_str);
        let message = names.map(|name| (name, "a".to_owned())).to_vec();
        let mut headers = built(message).unwrap().headers().clone();
        let room = headers.capacity();
        for name in [CONTENT_LENGTH, header::HOST] {
            headers.insert(name, HeaderValue::from_static("a"));
        }
        assert_eq!(headers.capacity(), room);
    }

    #[test]
    fn a_header_that_can_not_be_sent_is_our_own_fault() {
        for (name, value) in [("x-job-id", "canary\r\nx: y"), ("no name", "canary")] {
            let error = built(vec![(name, value.to_owned())]).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(matches!(error, TransportError::Internal(_)), "{text}");
            assert!(text.contains(name) && !text.contains("canary"), "{text}");
        }
    }

    /// It is boxed for each attempt. Connecting alone needs several times as much.
    #[test]
    fn a_request_that_needs_no_new_connection_carries_none_about() {
        let transport = HttpTransport::new(HttpConfig::default()).unwrap();
        let sending = size_of_val(&transport.send(request(Vec::new())));
        assert!(sending <= 1_280, "{sending} bytes");
    }

    #[test]
    fn what_is_requested_is_the_canonical_url() {
        let transport = HttpTransport::new(HttpConfig::default()).unwrap();
        let built = |text| {
            let mut request = request(Vec::new());
            request.url = EndpointUrl::parse(text).unwrap();
            let prepared = transport.shared.prepare(request);
            prepared.map(|(target, _)| target.uri.to_string())
        };
        let old = "HTTP://a.example.:80/x/../%2e/y#z";
        assert_eq!(built(old).unwrap(), "http://a.example/y");
        for (text, rule) in [
            ("http://127.1/", "non-canonical ipv4"),
            ("http://127.0.0.1./", "non-canonical ipv4"),
            ("http://1.2.3.256/", "unparsable"),
            ("http://a{b/", "bad label"),
            ("http://127.0.0.1/", "forbidden ip"),
            ("http://localhost/", "single-label host"),
        ] {
            let refused = TransportError::Refused(AddressRefused { rule });
            assert_eq!(built(text), Err(refused), "{text}");
        }
    }

    #[test]
    fn a_url_is_vetted_without_a_runtime() {
        let transport = HttpTransport::new(HttpConfig::default()).unwrap();
        let vet = |text| Transport::vet(&transport, text);
        let canonical = EndpointUrl::parse("http://a.example/y").unwrap();
        assert_eq!(vet("http://A.example/x/../y"), Ok(canonical));
        let refused = VetError::Invalid(UrlInvalid::NonCanonicalIpv4);
        assert_eq!(vet("http://127.1/"), Err(refused));
        let refused = VetError::Refused {
            url: EndpointUrl::parse("http://127.0.0.1/").unwrap(),
            refused: AddressRefused {
                rule: "forbidden ip",
            },
        };
        assert_eq!(vet("HTTP://127.0.0.1:80/x/.."), Err(refused));
    }
}
