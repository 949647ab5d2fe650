//! Receivers behind TLS, and the authority that vouches for them.
//!
//! Every TLS configuration here names its provider; nothing is installed for the
//! whole process, so that a crate which needs that is found out.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a receiver that can't do its part has failed its test"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// A certificate authority of this test run.
#[derive(Debug)]
pub struct TestCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl TestCa {
    /// A new authority that nobody trusts yet.
    pub fn generate() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
        }
    }

    /// Its certificate, for those who shall trust it.
    pub fn pem(&self) -> Vec<u8> {
        self.issuer.pem().into_bytes()
    }

    /// What a server named `name` needs. Of `protocols` (ALPN) it picks the first
    /// that the client knows too.
    pub fn server_config(&self, name: &str, protocols: &[&str]) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        config
    }
}

/// An HTTPS server on a free port of this machine, HTTP/2 or HTTP/1.1 as TLS
/// agrees. It ends with all its connections when dropped.
#[derive(Debug)]
pub struct TlsReceiver {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: mpsc::UnboundedReceiver<Request<Bytes>>,
    accepting: JoinHandle<()>,
}

impl TlsReceiver {
    /// Answers each request with `answer`.
    pub async fn answering(config: ServerConfig, answer: Response<Bytes>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (sender, requests) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let accepted = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::SeqCst);
                let (acceptor, sender) = (acceptor.clone(), sender.clone());
                connections.spawn(serve(acceptor, stream, sender, answer.clone()));
            }
        });
        Self {
            address,
            connections,
            requests,
            accepting,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The next request that came in.
    ///
    /// # Panics
    /// If none comes in half a minute.
    pub async fn request(&mut self) -> Request<Bytes> {
        let request = tokio::time::timeout(REQUEST_WAIT_MAX, self.requests.recv()).await;
        request.expect("no request has come").unwrap()
    }
}

impl Drop for TlsReceiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Far longer than any request needs that comes at all.
const REQUEST_WAIT_MAX: Duration = Duration::from_secs(30);

/// Serves one connection. How it ends is what the client's side of a test is
/// about, so errors are of no interest here.
async fn serve(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    requests: mpsc::UnboundedSender<Request<Bytes>>,
    answer: Response<Bytes>,
) {
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request: Request<Incoming>| {
        let (requests, answer) = (requests.clone(), answer.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let _ = requests.send(Request::from_parts(head, body));
            Ok::<_, hyper::Error>(answer.map(Full::new))
        }
    });
    let io = TokioIo::new(stream);
    let _ = if is_http2 {
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .auto_date_header(false)
            .serve_connection(io, service)
            .await
    } else {
        hyper::server::conn::http1::Builder::new()
            .auto_date_header(false)
            .serve_connection(io, service)
            .await
    };
}
