//! Streams over real sockets: `notify-sse` on a hub, read by a client by the
//! book.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what can't be set up or isn't there has failed"
)]

mod access;
mod framing;
mod replay;
mod resume;
mod slow;

use std::net::SocketAddr;
use std::sync::Arc;

use notify_core::transport::RecordingTransport;
use notify_hub::{JobEvent, JobNotifier, JobStatus, NotifierConfig};
use notify_sse::{ApiKeyHash, StreamConfig};
use notify_tests::sse_client::{SseEvent, StreamRequest, StreamResponse};
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;

const JOB: &str = "job-1";
const OPERATOR_KEY: &str = "operator-key-0123456789";

/// A hub whose streams are served on a free port of this machine.
struct House {
    hub: Arc<JobNotifier>,
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl House {
    async fn start() -> Self {
        Self::start_with(NotifierConfig::default()).await
    }

    async fn start_with(config: NotifierConfig) -> Self {
        let hub = JobNotifier::builder(config).transport(RecordingTransport::new());
        let hub = Arc::new(hub.build().unwrap());
        let streams = StreamConfig {
            api_key: Some(ApiKeyHash::of(OPERATOR_KEY)),
            ..StreamConfig::default()
        };
        let app = notify_sse::router_with(Arc::clone(&hub), streams);
        let socket = TcpSocket::new_v4().unwrap();
        // Connections inherit it: what the server has sent but nobody has read
        // is then a few KiB and not a few MiB.
        socket.set_send_buffer_size(4_096).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1_024).unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            hub,
            address,
            serving,
        }
    }

    /// Accepts an event and returns its id.
    async fn notify(&self, event: JobEvent) -> String {
        let id = self.hub.notify(JOB, event, None).await.unwrap();
        id.to_string()
    }

    /// Accepts an event of each status and returns the ids.
    async fn notify_all(&self, statuses: &[JobStatus]) -> Vec<String> {
        let mut ids = Vec::new();
        for &status in statuses {
            ids.push(self.notify(event(status)).await);
        }
        ids
    }

    /// The job's stream, as the operator.
    async fn open(&self) -> StreamResponse {
        self.open_with(operators()).await
    }

    async fn open_with(&self, request: StreamRequest) -> StreamResponse {
        let response = request.send(self.address).await;
        assert_eq!(response.status(), 200);
        response
    }

    /// The job's stream after this event.
    async fn resume(&self, cursor: impl AsRef<[u8]>) -> StreamResponse {
        self.open_with(operators().last_event_id(cursor)).await
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A request for the job's stream with the operator's key.
fn operators() -> StreamRequest {
    StreamRequest::of_job(JOB).bearer(OPERATOR_KEY)
}

fn event(status: JobStatus) -> JobEvent {
    JobEvent {
        status,
        ..JobEvent::default()
    }
}

fn ids(events: &[SseEvent]) -> Vec<&str> {
    events.iter().map(|event| &*event.id).collect()
}

/// That each id is newer than the one before.
#[track_caller]
fn check_rising(events: &[SseEvent]) {
    let sequences: Vec<u64> = events.iter().map(sequence).collect();
    assert!(sequences.is_sorted_by(|a, b| a < b), "{sequences:?}");
}

#[track_caller]
fn sequence(event: &SseEvent) -> u64 {
    let (_, sequence) = event.id.split_once('-').unwrap();
    sequence.parse().unwrap()
}
