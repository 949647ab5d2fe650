//! One connection, and how a request goes over it.
//!
//! Over HTTP/1.1 a connection carries one request at a time, so whoever sends it
//! also does the connection's reading and writing: no other task has to be woken,
//! and what happens to an exchange happens to its connection. While nobody uses
//! it, nobody reads either; that it was closed meanwhile is found before the next
//! request is written to it, and then that goes over another.
//!
//! Over HTTP/2 requests share a connection, which has a task of its own.

use std::future::poll_fn;
use std::mem::take;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::client::conn::{TrySendError, http1, http2};

use crate::metered::Allowance;

/// A request as a connection takes it.
pub(crate) type Outgoing = Request<Full<Bytes>>;

/// Why there is no answer.
pub(crate) struct SendFailed {
    pub(crate) error: hyper::Error,
    /// Nothing of the request was written.
    pub(crate) is_unsent: bool,
}

pub(crate) enum Connection {
    Http1(Http1),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    pub(crate) fn is_http2(&self) -> bool {
        matches!(self, Self::Http2(_))
    }

    /// Takes a request, sends it and waits for the head of its answer.
    ///
    /// # Errors
    /// [`SendFailed`]. The request is there again if nothing of it was written.
    pub(crate) async fn send(
        &mut self,
        request: &mut Outgoing,
    ) -> Result<Response<Incoming>, SendFailed> {
        let answered = match self {
            Self::Http1(connection) => connection.send(request).await,
            Self::Http2(sender) => sender.try_send_request(take(request)).await,
        };
        answered.map_err(|mut failed| {
            let unsent = failed.take_message();
            let is_unsent = unsent.is_some();
            *request = unsent.unwrap_or_default();
            let error = failed.into_error();
            SendFailed { error, is_unsent }
        })
    }

    /// The next part of an answer's body; `None` at its end.
    pub(crate) async fn frame(
        &mut self,
        body: &mut Incoming,
    ) -> Option<hyper::Result<Frame<Bytes>>> {
        match self {
            Self::Http1(connection) => connection.frame(body).await,
            Self::Http2(_) => body.frame().await,
        }
    }

    /// Waits until it can take another request, after an answer that was read to its
    /// end; says whether it ever can.
    pub(crate) async fn is_reusable(&mut self) -> bool {
        match self {
            Self::Http1(connection) => connection.is_reusable().await,
            Self::Http2(sender) => !sender.is_closed(),
        }
    }
}

/// Reads and writes when it is polled; ends with the connection.
pub(crate) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection over HTTP/1.1.
pub(crate) struct Http1 {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` when it has ended.
    driver: Option<Driver>,
    /// What the receiver may say to one request.
    allowance: Allowance,
}

impl Http1 {
    pub(crate) fn new(
        sender: http1::SendRequest<Full<Bytes>>,
        driver: Driver,
        allowance: Allowance,
    ) -> Self {
        Self {
            sender,
            driver: Some(driver),
            allowance,
        }
    }

    /// Reads and writes what can be; says whether the connection has ended.
    fn drive(&mut self, context: &mut Context<'_>) -> bool {
        if let Some(driver) = &mut self.driver
            && driver.as_mut().poll(context).is_ready()
        {
            self.driver = None;
        }
        self.driver.is_none()
    }

    async fn send(
        &mut self,
        request: &mut Outgoing,
    ) -> Result<Response<Incoming>, TrySendError<Outgoing>> {
        self.allowance.renew();
        let mut answer = pin!(self.sender.try_send_request(take(request)));
        poll_fn(|context| {
            self.drive(context);
            // The driver alone brings the answer, so nobody else need be woken.
            answer.as_mut().poll(&mut asleep())
        })
        .await
    }

    async fn frame(&mut self, body: &mut Incoming) -> Option<hyper::Result<Frame<Bytes>>> {
        poll_fn(|context| {
            match Pin::new(&mut *body).poll_frame(&mut asleep()) {
                Poll::Pending => {}
                // It had come with what came before.
                ready => return ready,
            }
            self.drive(context);
            Pin::new(&mut *body).poll_frame(&mut asleep())
        })
        .await
    }

    /// A receiver may have answered before it has read the whole request: it gets
    /// the rest of it first.
    async fn is_reusable(&mut self) -> bool {
        if !self.park() {
            let ready = poll_fn(|context| match self.drive(context) {
                false if !self.sender.is_ready() => Poll::Pending,
                has_ended => Poll::Ready(!has_ended),
            });
            return ready.await && self.park();
        }
        true
    }

    /// Leaves nobody behind who would be woken; says whether it is ready for another
    /// request.
    fn park(&mut self) -> bool {
        !self.drive(&mut asleep()) && self.sender.is_ready()
    }
}

/// For what must not wake anyone.
fn asleep() -> Context<'static> {
    Context::from_waker(Waker::noop())
}
