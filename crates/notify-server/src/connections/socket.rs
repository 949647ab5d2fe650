//! A connection's deadlines: for the peer that says nothing, for the one that
//! takes nothing, and for the one that goes on after its answer.
//!
//! A connection waits for requests 75 s; once one has begun, the rest of its head
//! has 10 s. A response waits for its reader without end, and a reader that has
//! gone to sleep would hold its connection, and what is written to it, for as long
//! as it likes. It may come back at any time: a stream is resumed by its last id.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::seats::Seat;

/// How long a connection is kept without a byte of a request.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(75);

/// How long a request's head may take from its first byte.
pub(super) const HEAD_MAX: Duration = Duration::from_secs(10);

/// How long a peer may take nothing of what is ready for it.
const TAKES_NOTHING_MAX: Duration = Duration::from_secs(20);

/// How long, and how much, is taken of a body that is still coming when its
/// sender has been answered and the connection is ending. A connection that is
/// closed over unread bytes is reset, and a reset may overtake the answer.
const LINGER_MAX: Duration = Duration::from_secs(5);
const LINGER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A stream that fails once its peer has let a deadline pass.
pub(super) struct Socket<S> {
    stream: S,
    seat: Seat,
    awaited: Option<AwaitedRequest>,
    /// Runs while a write waits.
    writing: Option<Pin<Box<Sleep>>>,
    lingering: Option<Lingering>,
}

/// The request that is waited for.
struct AwaitedRequest {
    /// The requests before it.
    after: u64,
    has_begun: bool,
    deadline: Pin<Box<Sleep>>,
}

struct Lingering {
    bytes_left: usize,
    deadline: Pin<Box<Sleep>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    pub(super) fn new(stream: S, seat: Seat) -> Self {
        Self {
            stream,
            seat,
            awaited: None,
            writing: None,
            lingering: None,
        }
    }

    /// The request after so many.
    fn awaited(&mut self, after: u64) -> &mut AwaitedRequest {
        // What is left of the wait for an earlier one means nothing now.
        let awaited = self.awaited.take().filter(|it| it.after == after);
        self.awaited
            .insert(awaited.unwrap_or_else(|| AwaitedRequest {
                after,
                has_begun: false,
                deadline: Box::pin(tokio::time::sleep(IDLE_MAX)),
            }))
    }

    /// The seat is at rest if no request is under way and no answer waits to be
    /// taken.
    fn rest(&self) {
        if self.writing.is_none() && self.seat.idle_after().is_some() {
            self.seat.rest();
        }
    }

    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let written = write(Pin::new(&mut self.stream), cx);
        if written.is_ready() {
            self.writing = None;
            return written;
        }
        let start = || Box::pin(tokio::time::sleep(TAKES_NOTHING_MAX));
        let deadline = self.writing.get_or_insert_with(start);
        match deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Takes and drops what comes, until the peer ends or there is enough of it.
    fn linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let start = || Lingering {
            bytes_left: LINGER_BYTES_MAX,
            deadline: Box::pin(tokio::time::sleep(LINGER_MAX)),
        };
        let lingering = self.lingering.get_or_insert_with(start);
        let mut space = [0; 8 * 1024];
        while lingering.deadline.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut space);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
            let taken = buffer.filled().len();
            lingering.bytes_left = lingering.bytes_left.saturating_sub(taken);
            if read.is_err() || taken == 0 || lingering.bytes_left == 0 {
                break;
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let filled = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let Some(after) = this.seat.idle_after() else {
            return read;
        };
        let awaited = this.awaited(after);
        if buffer.filled().len() > filled && !awaited.has_begun {
            awaited.has_begun = true;
            awaited.deadline = Box::pin(tokio::time::sleep(HEAD_MAX));
        }
        if read.is_pending() && awaited.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if read.is_pending() {
            this.rest();
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut()
            .watch(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut()
            .watch(cx, |stream, cx| stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        this.rest();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        if this.seat.is_unread() {
            this.seat.rest();
            ready!(this.linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio::time::Instant;

    use super::super::seats::Seats;
    use super::*;

    async fn socket(bytes: usize) -> (Socket<DuplexStream>, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(bytes);
        (Socket::new(ours, Seats::new(1).take().await), theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_cut() {
        let (mut stream, _theirs) = socket(8).await;
        let start = Instant::now();
        let written = stream.write_all(&[0; 64]).await;
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), TAKES_NOTHING_MAX.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_peer_is_not() {
        let (mut stream, mut theirs) = socket(8).await;
        let slow = async {
            let mut taken = [0; 8];
            for _ in 0..8 {
                tokio::time::sleep(TAKES_NOTHING_MAX - Duration::from_secs(1)).await;
                theirs.read_exact(&mut taken).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(stream.write_all(&[0; 64]), slow);
        written.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_says_nothing_is_kept_for_75_s() {
        let (mut stream, _theirs) = socket(8).await;
        let start = Instant::now();
        let read = stream.read_u8().await;
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), 75);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_10_s_from_its_first_byte_however_slowly_it_comes() {
        let (mut stream, mut theirs) = socket(8).await;
        let start = Instant::now();
        let slow = async {
            tokio::time::sleep(Duration::from_secs(70)).await;
            while theirs.write_u8(b'x').await.is_ok() {
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        };
        let head = async {
            while stream.read_u8().await.is_ok() {}
            drop(stream);
            start.elapsed().as_secs()
        };
        assert_eq!(tokio::join!(head, slow).0, 80);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_under_way_has_no_such_deadline_and_the_next_one_has_its_own() {
        let (mut stream, mut theirs) = socket(8).await;
        theirs.write_u8(b'x').await.unwrap();
        stream.read_u8().await.unwrap();
        let under_way = stream.seat.begin();
        let long = tokio::time::timeout(Duration::from_secs(1_000), stream.read_u8());
        assert!(long.await.is_err(), "it was cut");
        drop(under_way);
        let start = Instant::now();
        assert!(stream.read_u8().await.is_err());
        assert_eq!(start.elapsed().as_secs(), 75);
    }

    #[tokio::test(start_paused = true)]
    async fn what_still_comes_after_the_answer_is_taken_for_a_while() {
        let (mut stream, mut theirs) = socket(8).await;
        stream.seat.leaves_unread();
        let start = Instant::now();
        let sender = async {
            while theirs.write_all(&[0; 8]).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let ours = async {
            stream.shutdown().await.unwrap();
            drop(stream);
            start.elapsed()
        };
        assert_eq!(tokio::join!(ours, sender).0, LINGER_MAX);
    }
}
