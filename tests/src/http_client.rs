//! A client of JSON over HTTP that hides nothing: a request is what the test
//! says, byte for byte, and an answer is shown whatever its status.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a client that can't do its part has failed its test"
)]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// Far longer than anything takes that happens at all.
const LONG: Duration = Duration::from_secs(60);

/// One request to be sent over a connection of its own.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

impl HttpRequest {
    /// With this method, of this path, with its query if it has one.
    ///
    /// # Panics
    /// If that is no method.
    pub fn new(method: &str, target: impl Into<String>) -> Self {
        Self {
            method: method.parse().unwrap(),
            target: target.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    /// A `GET`.
    pub fn get(target: impl Into<String>) -> Self {
        Self::new("GET", target)
    }

    /// A `POST` of JSON.
    pub fn post(target: impl Into<String>, body: impl Into<String>) -> Self {
        Self::new("POST", target)
            .header(CONTENT_TYPE.as_str(), "application/json")
            .body(body.into())
    }

    /// With this header, besides those that it has.
    ///
    /// # Panics
    /// If that is no header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name: HeaderName = name.parse().unwrap();
        let value = HeaderValue::from_bytes(value.as_ref()).unwrap();
        self.headers.append(name, value);
        self
    }

    /// Without this header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    /// With this token or key.
    #[must_use]
    pub fn bearer(self, shown: &str) -> Self {
        self.header(AUTHORIZATION.as_str(), format!("Bearer {shown}"))
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it and reads the whole answer.
    ///
    /// # Panics
    /// If there is no whole answer.
    pub async fn send(&self, address: SocketAddr) -> HttpAnswer {
        let exchange = tokio::time::timeout(LONG, self.exchange(address));
        match exchange.await {
            Ok(answer) => answer,
            Err(_) => panic!("no answer to {} {}", self.method, self.target),
        }
    }

    async fn exchange(&self, address: SocketAddr) -> HttpAnswer {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(&self.target)
            .header(HOST, address.to_string())
            .body(Full::new(self.body.clone()))
            .unwrap();
        request.headers_mut().extend(self.headers.clone());
        let stream = TcpStream::connect(address).await.expect("a server");
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.unwrap();
        let answer = async move {
            let response = sender.send_request(request).await.expect("an answer");
            let (head, body) = response.into_parts();
            let body = body.collect().await.expect("a whole answer").to_bytes();
            HttpAnswer {
                status: head.status.as_u16(),
                headers: head.headers,
                body,
            }
        };
        // The connection ends with its sender. Its errors are the answer's too.
        let (_, answer) = tokio::join!(connection, answer);
        answer
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub struct HttpAnswer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl HttpAnswer {
    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(json) => json,
            Err(error) => panic!("{}: {error}: {:?}", self.status, self.body),
        }
    }

    /// A text in the JSON body, by its path such as `/error/code`; empty if there
    /// is none.
    pub fn text(&self, path: &str) -> String {
        let json = self.json();
        let text = json.pointer(path).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    }

    /// A header's value, if it is there as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
