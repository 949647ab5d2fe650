//! A customer's receiver: a real HTTP server on loopback that keeps what comes
//! and answers as it is told to.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// What it was answered with.
    pub status: u16,
}

impl Delivered {
    /// The value of a header that is there once, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok(),
            _ => None,
        }
    }
}

/// Decides the status of an answer, given how many requests came before.
type Answer = dyn Fn(usize, &Delivered) -> u16 + Send + Sync;

/// The receiver; it stops when dropped.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    delivered: watch::Sender<Vec<Delivered>>,
    answer: Box<Answer>,
}

impl Receiver {
    /// Answers 204 to everything.
    ///
    /// # Errors
    /// If no port can be had on loopback.
    pub async fn start() -> io::Result<Self> {
        Self::answering(|_, _| 204).await
    }

    /// Answers with the status that `answer` says.
    ///
    /// # Errors
    /// If no port can be had on loopback.
    pub async fn answering(
        answer: impl Fn(usize, &Delivered) -> u16 + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::bind("127.0.0.1:0", answer).await
    }

    /// Answers at each of this machine's addresses, of which 127.0.0.0/8 has many.
    ///
    /// # Errors
    /// If no port can be had.
    pub async fn at_every_address() -> io::Result<Self> {
        Self::bind("0.0.0.0:0", |_, _| 204).await
    }

    async fn bind(
        address: &str,
        answer: impl Fn(usize, &Delivered) -> u16 + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            delivered: watch::Sender::default(),
            answer: Box::new(answer),
        });
        let routes = Router::new()
            .route("/{*path}", post(receive))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, routes).await;
        });
        Ok(Self {
            address,
            shared,
            task,
        })
    }

    /// A URL of the receiver.
    pub fn url(&self) -> String {
        format!("http://{}/hooks/results", self.address)
    }

    /// A URL of the receiver at one of this machine's addresses.
    pub fn url_at(&self, host: Ipv4Addr) -> String {
        format!("http://{host}:{}/hooks/results", self.address.port())
    }

    /// Looks at everything that came so far without a copy of it.
    pub fn look<T>(&self, look: impl FnOnce(&[Delivered]) -> T) -> T {
        look(&self.shared.delivered.borrow())
    }

    /// Everything that came so far.
    pub fn delivered(&self) -> Vec<Delivered> {
        self.shared.delivered.borrow().clone()
    }

    /// Waits until `count` requests have come, and gives them all.
    ///
    /// # Panics
    /// If they have not come within 30 s.
    pub async fn wait_for(&self, count: usize) -> Vec<Delivered> {
        let mut delivered = self.shared.delivered.subscribe();
        let enough = delivered.wait_for(|delivered| delivered.len() >= count);
        let waited = tokio::time::timeout(std::time::Duration::from_secs(30), enough).await;
        // What it gives is a lock, which must not be held on to.
        let came = waited.is_ok();
        drop(waited);
        let delivered = self.delivered();
        assert!(came, "{} of {count} requests came", delivered.len());
        delivered
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut request = Delivered {
        headers,
        body,
        status: 0,
    };
    let mut status = StatusCode::default();
    shared.delivered.send_modify(|delivered| {
        request.status = (shared.answer)(delivered.len(), &request);
        status = StatusCode::from_u16(request.status).unwrap_or_default();
        delivered.push(request);
    });
    status
}
