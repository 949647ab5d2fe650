//! Making a connection: the name's addresses, TCP, TLS, the version of HTTP.

use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioIo, TokioTimer};
use notify_core::TransportError;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower_service::Service as _;

use crate::connection::{Connection, Http1};
use crate::egress::Policy;
use crate::metered::{Allowance, Metered};
use crate::no_answer::{NoAnswer, Stage};
use crate::resolve::Names;
use crate::target::Target;
use crate::tasks::Tasks;

pub(crate) struct Connector {
    tcp: HttpConnector<Names>,
    /// Judges once more whom a connection was made to.
    policy: Arc<Policy>,
    tls: TlsConnector,
    http2: http2::Builder<Tasks>,
    /// Runs the connections of HTTP/2.
    tasks: Tasks,
    /// For all of it together.
    timeout: Duration,
}

impl Connector {
    pub(crate) fn new(
        names: Names,
        tls: ClientConfig,
        policy: Arc<Policy>,
        timeout: Duration,
        tasks: Tasks,
    ) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(names);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(TCP_KEEPALIVE));
        tcp.set_connect_timeout(Some(timeout));
        let mut http2 = http2::Builder::new(tasks.clone());
        http2
            .timer(TokioTimer::new())
            .initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
            .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES)
            .max_header_list_size(HTTP2_HEADER_BYTES_MAX)
            .keep_alive_interval(HTTP2_PING_INTERVAL)
            .keep_alive_timeout(HTTP2_PING_TIMEOUT);
        Self {
            tcp,
            policy,
            tls: TlsConnector::from(Arc::new(tls)),
            http2,
            tasks,
            timeout,
        }
    }

    /// Makes a connection to who is named, if that is allowed.
    ///
    /// # Errors
    /// [`NoAnswer`] with the step that failed.
    pub(crate) async fn connect(&self, target: &Target) -> Result<Connection, NoAnswer> {
        let connected = tokio::time::timeout(self.timeout, self.reach(target)).await;
        connected.unwrap_or(Err(TransportError::Connect.into()))
    }

    async fn reach(&self, target: &Target) -> Result<Connection, NoAnswer> {
        let reached = self.tcp.clone().call(target.uri.clone()).await;
        let reached = reached.map_err(|error| NoAnswer::of(Stage::Connect, &error))?;
        let stream = reached.into_inner();
        match (&target.server_name, stream.peer_addr()) {
            (_, Ok(peer)) => self.policy.check_address(peer.ip()),
            // Closed as soon as it was made, as what follows would find.
            (Some(_), Err(_)) => return Err(TransportError::Tls.into()),
            (None, Err(_)) => return Err(TransportError::Http.into()),
        }
        .map_err(TransportError::Refused)?;
        match &target.server_name {
            Some(name) => self.secure(name.clone(), stream).await,
            None => speak_http1(stream).await,
        }
    }

    async fn secure(
        &self,
        name: ServerName<'static>,
        stream: TcpStream,
    ) -> Result<Connection, NoAnswer> {
        let secured = self.tls.connect(name, stream).await;
        let stream = secured.map_err(|error| NoAnswer::of(Stage::Tls, &error))?;
        let (_, session) = stream.get_ref();
        if session.alpn_protocol() != Some(b"h2") {
            return speak_http1(stream).await;
        }
        let agreed = self.http2.handshake(TokioIo::new(stream)).await;
        let (sender, driver) = agreed.map_err(|error| NoAnswer::of(Stage::Exchange, &error))?;
        self.tasks.spawn(async {
            // What it dies of, the requests on it are told.
            let _ = driver.await;
        });
        Ok(Connection::Http2(sender))
    }
}

async fn speak_http1<T>(stream: T) -> Result<Connection, NoAnswer>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let allowance = Allowance::new();
    let stream = TokioIo::new(Metered::new(stream, allowance.clone()));
    let agreed = http1::Builder::new().handshake(stream).await;
    let (sender, driver) = agreed.map_err(|error| NoAnswer::of(Stage::Exchange, &error))?;
    let driver = Box::pin(async {
        // What it dies of, the request on it is told.
        let _ = driver.await;
    });
    Ok(Connection::Http1(Http1::new(sender, driver, allowance)))
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
