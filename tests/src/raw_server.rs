//! A receiver that says exactly the bytes that a test wants.
//!
//! A test gives a script, which is run for each connection; what the script reads
//! as requests can be taken from the server in order.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a receiver that can't do its part has failed its test"
)]

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

/// A TCP server on a free port of this machine. It ends with all its connections
/// when dropped.
#[derive(Debug)]
pub struct RawServer {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: mpsc::UnboundedReceiver<RawRequest>,
    accepting: JoinHandle<()>,
}

impl RawServer {
    /// Runs `script` for each connection. The connection is closed when the
    /// script ends.
    pub async fn start<S, F>(script: S) -> Self
    where
        S: Fn(RawConnection) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_at("127.0.0.1:0", script).await
    }

    /// Runs `script` for each connection to this address; `0.0.0.0:0` is every
    /// address of this machine.
    pub async fn start_at<S, F>(address: &str, script: S) -> Self
    where
        S: Fn(RawConnection) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let accepted = Arc::clone(&connections);
        let (sender, requests) = mpsc::unbounded_channel();
        let accepting = tokio::spawn(async move {
            // Owned by this task, so that aborting it ends them all.
            let mut scripts = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let number = accepted.fetch_add(1, Ordering::SeqCst);
                scripts.spawn(script(RawConnection {
                    number,
                    stream: BufReader::new(stream),
                    requests: sender.clone(),
                }));
            }
        });
        Self {
            address,
            connections,
            requests,
            accepting,
        }
    }

    /// A server that answers each request with `answer`, again and again on the
    /// same connection.
    pub async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Arc<[u8]> = answer.into().into();
        Self::start(move |mut connection| {
            let answer = Arc::clone(&answer);
            async move {
                while connection.request().await {
                    connection.say(&answer).await;
                }
            }
        })
        .await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The next request that a script has read.
    ///
    /// # Panics
    /// If none comes in half a minute.
    pub async fn request(&mut self) -> RawRequest {
        let request = tokio::time::timeout(REQUEST_WAIT_MAX, self.requests.recv()).await;
        request.expect("no request has come").unwrap()
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Far longer than any request needs that comes at all.
const REQUEST_WAIT_MAX: Duration = Duration::from_secs(30);

/// One connection, in the hands of a script.
#[derive(Debug)]
pub struct RawConnection {
    number: usize,
    stream: BufReader<TcpStream>,
    requests: mpsc::UnboundedSender<RawRequest>,
}

impl RawConnection {
    /// Reads one request to its end and hands it to the server; false if the
    /// client has closed the connection instead.
    pub async fn request(&mut self) -> bool {
        let request = RawRequest::read(self.number, &mut self.stream).await;
        request.is_some_and(|request| self.requests.send(request).is_ok())
    }

    /// Reads a request's head and leaves its body where it is.
    pub async fn head(&mut self) {
        while read_line(&mut self.stream)
            .await
            .is_some_and(|line| !line.is_empty())
        {}
    }

    /// Sends these bytes; false if the client has closed the connection.
    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Waits until the client has closed the connection.
    pub async fn closed(&mut self) {
        let mut rest = [0; 1024];
        while matches!(self.stream.read(&mut rest).await, Ok(count) if count > 0) {}
    }

    /// Closes the connection with a TCP reset instead of an orderly end.
    pub fn reset(self) {
        self.stream.get_ref().set_zero_linger().unwrap();
    }
}

/// A request as it was on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRequest {
    /// Which connection it came on, counted from 0.
    pub connection: usize,
    /// The first line.
    pub line: String,
    /// All headers, in order and as spelled.
    pub headers: Vec<(String, String)>,
    /// The body, of which `content-length` says how long it is.
    pub body: Vec<u8>,
}

impl RawRequest {
    /// The only value of this header, if it is there.
    ///
    /// # Panics
    /// If it is there more than once.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(found, _)| found == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert_eq!(values.next(), None, "{name} is there twice");
        value
    }

    async fn read(connection: usize, stream: &mut BufReader<TcpStream>) -> Option<Self> {
        let line = read_line(stream).await?;
        let mut headers = Vec::new();
        let mut body = Vec::new();
        loop {
            let header = read_line(stream).await?;
            if header.is_empty() {
                break;
            }
            let (name, value) = header.split_once(": ").unwrap();
            if name == "content-length" {
                body.resize(value.parse().unwrap(), 0);
            }
            headers.push((name.to_owned(), value.to_owned()));
        }
        stream.read_exact(&mut body).await.ok()?;
        Some(Self {
            connection,
            line,
            headers,
            body,
        })
    }
}

/// One line without its end; `None` at the end of the stream.
async fn read_line(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.strip_suffix("\r\n").map(str::to_owned)
}
