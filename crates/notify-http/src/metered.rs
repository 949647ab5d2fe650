//! How much a receiver may say in one exchange.
//!
//! The client reads on for as long as there is something to read and no answer in it.
//! Its bounds on an answer's head do not count interim answers (`100 Continue`), of
//! which a receiver can send any number, so that nothing would end the reading, not even
//! the deadline, which has its turn only between two reads.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most bytes of one exchange that are read: interim answers, a head of the
/// longest, and several times the part of a body that is kept.
const EXCHANGE_BYTES_MAX: usize = 1024 * 1024;

/// How much more may be read. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Allowance(Arc<AtomicUsize>);

impl Allowance {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicUsize::new(EXCHANGE_BYTES_MAX)))
    }

    /// A new exchange begins.
    pub(crate) fn renew(&self) {
        self.0.store(EXCHANGE_BYTES_MAX, Ordering::Relaxed);
    }
}

/// A stream of which no more is read than is allowed.
#[derive(Debug)]
pub(crate) struct Metered<T> {
    stream: T,
    allowance: Allowance,
}

impl<T> Metered<T> {
    pub(crate) fn new(stream: T, allowance: Allowance) -> Self {
        Self { stream, allowance }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Metered<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Allowance(left) = &self.allowance;
        let allowed = left.load(Ordering::Relaxed);
        if allowed == 0 {
            return Poll::Ready(Err(io::Error::other("more than an exchange may hold")));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buf))?;
        let read = buf.filled().len() - before;
        let Allowance(left) = &self.allowance;
        // Nobody else writes to it while it is read from.
        left.store(allowed.saturating_sub(read), Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Metered<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
