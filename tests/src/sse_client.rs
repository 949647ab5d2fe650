//! A reader of event streams, close to the wire: it shows the bytes and chunks
//! as they came, and what a client by the book makes of them.
//!
//! It speaks HTTP/1.1 over a plain socket, follows nothing and never comes back
//! by itself. A body that is cut off without its end fails the test, and so does
//! a wait that is far too long.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a reader that can't do its part has failed its test"
)]

mod decoder;

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

pub use decoder::{Decoder, SseEvent};

/// Far longer than anything takes that happens at all.
const LONG: Duration = Duration::from_secs(60);

/// A `GET` of a stream.
#[derive(Clone, Debug)]
pub struct StreamRequest {
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    receive_buffer_bytes: Option<u32>,
}

impl StreamRequest {
    /// Of this path, with its query if it has one.
    pub fn new(target: impl Into<String>) -> Self {
        Self {
            target: target.into(),
            headers: Vec::new(),
            receive_buffer_bytes: None,
        }
    }

    /// Of this job's events.
    pub fn of_job(job: &str) -> Self {
        Self::new(format!("/v1/jobs/{job}/events"))
    }

    /// With this query.
    #[must_use]
    pub fn query(mut self, query: &str) -> Self {
        self.target = format!("{}?{query}", self.target);
        self
    }

    /// With this header, byte for byte.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.into(), value.as_ref().into()));
        self
    }

    /// With this token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// With this cursor.
    #[must_use]
    pub fn last_event_id(self, cursor: impl AsRef<[u8]>) -> Self {
        self.header("last-event-id", cursor)
    }

    /// Over a socket that takes little before it is read.
    #[must_use]
    pub fn receive_buffer_bytes(mut self, bytes: u32) -> Self {
        self.receive_buffer_bytes = Some(bytes);
        self
    }

    /// Sends it over a connection of its own and reads the answer's head.
    pub async fn send(&self, address: SocketAddr) -> StreamResponse {
        soon(self.send_unhurried(address)).await
    }

    async fn send_unhurried(&self, address: SocketAddr) -> StreamResponse {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = self.receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let mut connection = BufReader::new(socket.connect(address).await.unwrap());
        let mut request = format!("GET {} HTTP/1.1\r\nhost: {address}\r\n", self.target);
        request.push_str("accept: text/event-stream\r\n");
        let mut request = request.into_bytes();
        for (name, value) in &self.headers {
            request.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        request.extend_from_slice(b"\r\n");
        connection.write_all(&request).await.unwrap();
        StreamResponse::read_head(connection).await
    }
}

/// An answer whose body is read bit by bit. Dropping it cuts the connection.
#[derive(Debug)]
pub struct StreamResponse {
    status: u16,
    headers: Vec<(String, String)>,
    connection: BufReader<TcpStream>,
    framing: Framing,
    raw: Vec<u8>,
    decoder: Decoder,
    decoded: VecDeque<SseEvent>,
}

/// How the body's end is known.
#[derive(Clone, Copy, Debug)]
enum Framing {
    Chunked,
    Length(usize),
    Ended,
}

impl StreamResponse {
    async fn read_head(mut connection: BufReader<TcpStream>) -> Self {
        let status_line = line(&mut connection).await;
        let status = status_line.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = line(&mut connection).await;
            let Some((name, value)) = line.split_once(':') else {
                assert!(line.is_empty(), "no header: {line}");
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut response = Self {
            status,
            headers,
            connection,
            framing: Framing::Ended,
            raw: Vec::new(),
            decoder: Decoder::default(),
            decoded: VecDeque::new(),
        };
        response.framing = match response.header("content-length") {
            Some(length) => Framing::Length(length.parse().unwrap()),
            None if response.header("transfer-encoding") == Some("chunked") => Framing::Chunked,
            None => Framing::Ended,
        };
        response
    }

    /// The answer's status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find_map(|(known, value)| (known == name).then_some(&**value))
    }

    /// The names of the headers, in order.
    pub fn header_names(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().map(|(name, _)| &**name)
    }

    /// The next piece of the body, as the server framed it; `None` at its end.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let chunk = soon(self.chunk_unhurried()).await?;
        self.raw.extend_from_slice(&chunk);
        self.decoded.extend(self.decoder.feed(&chunk));
        Some(chunk)
    }

    async fn chunk_unhurried(&mut self) -> Option<Vec<u8>> {
        match self.framing {
            Framing::Ended | Framing::Length(0) => None,
            Framing::Length(length) => {
                self.framing = Framing::Ended;
                Some(bytes(&mut self.connection, length).await)
            }
            Framing::Chunked => {
                let length = line(&mut self.connection).await;
                let length = usize::from_str_radix(&length, 16).unwrap();
                let chunk = bytes(&mut self.connection, length).await;
                assert_eq!(line(&mut self.connection).await, "", "after a chunk");
                if length == 0 {
                    self.framing = Framing::Ended;
                    return None;
                }
                Some(chunk)
            }
        }
    }

    /// The next event; `None` at the body's end.
    pub async fn event(&mut self) -> Option<SseEvent> {
        while self.decoded.is_empty() {
            self.chunk().await?;
        }
        self.decoded.pop_front()
    }

    /// The next `count` events.
    pub async fn events(&mut self, count: usize) -> Vec<SseEvent> {
        let mut events = Vec::new();
        while events.len() < count {
            let event = self.event().await;
            events.push(event.unwrap_or_else(|| panic!("only {} events", events.len())));
        }
        events
    }

    /// All further events, up to the body's end.
    pub async fn rest(&mut self) -> Vec<SseEvent> {
        let mut events = Vec::new();
        while let Some(event) = self.event().await {
            events.push(event);
        }
        events
    }

    /// The whole body as text.
    pub async fn text(mut self) -> String {
        while self.chunk().await.is_some() {}
        String::from_utf8(self.raw).unwrap()
    }

    /// The body's bytes as far as they were read.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// What a client by the book knows after what was read.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }
}

/// A line without its end.
async fn line(connection: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    connection.read_line(&mut line).await.unwrap();
    match line.strip_suffix("\r\n") {
        Some(line) => line.to_owned(),
        None => panic!("the connection was cut"),
    }
}

async fn bytes(connection: &mut BufReader<TcpStream>, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    connection.read_exact(&mut bytes).await.unwrap();
    bytes
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LONG, future).await {
        Ok(value) => value,
        Err(_) => panic!("nothing came for {LONG:?}"),
    }
}
