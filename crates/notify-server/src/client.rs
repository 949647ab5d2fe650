//! A small client for the operator API and for streams, on one connection for
//! each request.

mod blocks;

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use notify_core::json::Text;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

pub(crate) use blocks::Block;
use blocks::Blocks;

/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Speaks to one server on behalf of whoever the credentials belong to.
pub(crate) struct Client {
    address: SocketAddr,
    bearer: String,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, bearer: &str) -> Self {
        Self {
            address,
            bearer: format!("Bearer {bearer}"),
        }
    }

    /// Posts JSON and reads the JSON that comes back.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        let body = Bytes::from(body.to_string());
        let (response, _connection) = self.send(Method::POST, path, body).await?;
        let status = response.status();
        let answer = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let answer = answer.collect().await.map_err(ClientError::broken)?;
        let answer = answer.to_bytes();
        let answer = Text::read(&answer).ok().and_then(|it| it.to_value().ok());
        let not_json = || ClientError::Broken("the answer is not JSON".to_owned());
        let answer = answer.ok_or_else(not_json)?;
        match status.is_success() {
            true => Ok(answer),
            false => Err(ClientError::Refused(status, message_of(&answer))),
        }
    }

    /// Opens a stream of events.
    pub(crate) async fn follow(&self, path: &str) -> Result<EventStream, ClientError> {
        let (response, connection) = self.send(Method::GET, path, Bytes::new()).await?;
        if response.status() != StatusCode::OK {
            return Err(ClientError::Refused(response.status(), String::new()));
        }
        Ok(EventStream {
            body: response.into_body(),
            blocks: Blocks::default(),
            _connection: connection,
        })
    }

    /// Sends a request. The connection lives as long as what is returned with the
    /// response.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(Response<Incoming>, JoinSet<()>), ClientError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string())
            .header(AUTHORIZATION, &self.bearer)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(ClientError::broken)?;
        let stream = TcpStream::connect(self.address).await;
        let stream = stream.map_err(ClientError::broken)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(ClientError::broken)?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // Its error reaches whoever waits for the response or its body.
            let _ = connection.await;
        });
        let response = sender.send_request(request).await;
        Ok((response.map_err(ClientError::broken)?, driver))
    }
}

/// A stream of events that is being followed.
pub(crate) struct EventStream {
    body: Incoming,
    blocks: Blocks,
    _connection: JoinSet<()>,
}

impl EventStream {
    /// The next block, or `None` at the stream's end.
    pub(crate) async fn next(&mut self) -> Result<Option<Block>, ClientError> {
        loop {
            if let Some(block) = self.blocks.next() {
                return Ok(Some(block));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    let frame = frame.map_err(ClientError::broken)?;
                    self.blocks.push(frame.data_ref().map_or(&[], |data| data));
                }
            }
        }
    }
}

fn message_of(answer: &Value) -> String {
    let message = answer.pointer("/error/message").and_then(Value::as_str);
    message.unwrap_or_default().to_owned()
}

/// A request came to nothing.
#[derive(Debug)]
pub(crate) enum ClientError {
    /// The server answered so.
    Refused(StatusCode, String),
    /// There was no whole answer.
    Broken(String),
}

impl ClientError {
    fn broken(error: impl fmt::Display) -> Self {
        Self::Broken(error.to_string())
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(status, message) => write!(f, "answered {status}: {message}"),
            Self::Broken(what) => write!(f, "no answer: {what}"),
        }
    }
}

impl std::error::Error for ClientError {}
