//! Threads that own what they work on.
//!
//! SQLite is synchronous, so the store does its work on threads of its own: a
//! caller sends a piece of work and awaits the reply. The threads end when the
//! [`Workers`] that own them are dropped, after all that was sent is done.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use notify_core::store::{BoxFuture, StoreError};
use tokio::sync::oneshot;

/// What a thread owns.
pub(crate) trait Desk: Send + 'static {
    /// A piece of work has panicked in the middle. Its caller is told so.
    fn panicked(&mut self);

    /// Tidies up after each piece of work, once its caller has the reply; says
    /// when to come back if nothing is asked for until then.
    fn tend(&mut self) -> Option<Duration> {
        None
    }

    /// The thread ends.
    fn close(self);
}

type Work<D> = Box<dyn FnOnce(&mut D) + Send>;

/// Threads that share one queue, each with a desk of its own.
pub(crate) struct Workers<D> {
    queue: Option<Sender<Work<D>>>,
    threads: Vec<JoinHandle<()>>,
}

impl<D: Desk> Workers<D> {
    /// Starts a thread for each desk.
    pub(crate) fn start(name: &str, desks: Vec<D>) -> io::Result<Self> {
        let (queue, work) = channel();
        let work = Arc::new(Mutex::new(work));
        let mut workers = Self {
            queue: Some(queue),
            threads: Vec::new(),
        };
        for desk in desks {
            let work = Arc::clone(&work);
            let thread = Builder::new().name(name.to_owned());
            workers
                .threads
                .push(thread.spawn(move || run(desk, &work))?);
        }
        Ok(workers)
    }

    /// Has `work` done by one of the threads. It is done also if the returned
    /// future is dropped.
    pub(crate) fn ask<'a, T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut D) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        let (reply, answer) = oneshot::channel();
        let work: Work<D> = Box::new(move |desk| {
            // Nobody may be waiting any more.
            let _ = reply.send(work(desk));
        });
        if let Some(queue) = &self.queue {
            // If the threads are gone, so is the reply's sender.
            let _ = queue.send(work);
        }
        Box::pin(async move {
            let gone = |_| {
                Err(StoreError::Failed(
                    "a thread of the store has panicked".into(),
                ))
            };
            answer.await.unwrap_or_else(gone)
        })
    }
}

impl<D> Drop for Workers<D> {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store has panicked");
            }
        }
    }
}

fn run<D: Desk>(mut desk: D, queue: &Mutex<Receiver<Work<D>>>) {
    let mut come_back = None;
    loop {
        let next = next(queue, come_back);
        if matches!(next, Err(RecvTimeoutError::Disconnected)) {
            break;
        }
        let worked = catch_unwind(AssertUnwindSafe(|| {
            if let Ok(work) = next {
                work(&mut desk);
            }
            desk.tend()
        }));
        come_back = worked.unwrap_or_else(|_| {
            desk.panicked();
            None
        });
    }
    desk.close();
}

/// Whoever waits for work holds the lock; the others wait for it.
fn next<D>(
    queue: &Mutex<Receiver<Work<D>>>,
    come_back: Option<Duration>,
) -> Result<Work<D>, RecvTimeoutError> {
    let queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    match come_back {
        None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
        Some(wait) => queue.recv_timeout(wait),
    }
}
