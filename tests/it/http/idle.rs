//! Connections that nobody uses, over all hosts together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Response;
use notify_tests::raw_server::RawServer;
use notify_tests::tls::{TestCa, TlsReceiver};
use tokio::sync::Semaphore;

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// One receiver behind every address of this machine, which counts its open
/// connections.
struct Hosts {
    server: RawServer,
    open: Arc<AtomicUsize>,
}

impl Hosts {
    async fn start() -> Self {
        let open = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&open);
        let server = RawServer::start_at("0.0.0.0:0", move |mut connection| {
            let open = Arc::clone(&counted);
            async move {
                open.fetch_add(1, Ordering::SeqCst);
                while connection.request().await {
                    connection.say(OK).await;
                }
                open.fetch_sub(1, Ordering::SeqCst);
            }
        });
        let server = server.await;
        Self { server, open }
    }

    fn address(&self, host: usize) -> SocketAddr {
        let ip = format!("127.0.{}.{}", host / 200 + 1, host % 200 + 1);
        SocketAddr::new(ip.parse().unwrap(), self.server.address().port())
    }

    async fn tell(&self, transport: &HttpTransport, host: usize) {
        let answer = send(transport, request_to(self.address(host), LONG)).await;
        assert_eq!(answer.unwrap().status, 200);
    }

    /// Waits until so many connections are open.
    async fn check_open(&self, expected: usize) {
        let counted = async {
            while self.open.load(Ordering::SeqCst) != expected {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let counted = tokio::time::timeout(LONG, counted).await;
        assert!(
            counted.is_ok(),
            "{} are open",
            self.open.load(Ordering::SeqCst)
        );
    }
}

fn keeping(idle_connections_max: usize) -> HttpTransport {
    let mut config = to_this_machine();
    config.idle_connections_max = idle_connections_max;
    // Nothing leaves for its age.
    config.pool_idle_timeout = 10 * LONG;
    HttpTransport::new(config).unwrap()
}

#[tokio::test]
async fn idle_connections_are_bounded_over_all_hosts_and_the_oldest_leave() {
    let hosts = Hosts::start().await;
    let transport = keeping(32);
    for host in 0..400 {
        hosts.tell(&transport, host).await;
    }
    hosts.check_open(32).await;
    for host in 368..400 {
        hosts.tell(&transport, host).await;
    }
    assert_eq!(hosts.server.connections(), 400, "the youngest were kept");
    hosts.tell(&transport, 367).await;
    assert_eq!(hosts.server.connections(), 401);
    hosts.check_open(32).await;
    hosts.tell(&transport, 369).await;
    assert_eq!(hosts.server.connections(), 401);
    hosts.tell(&transport, 368).await;
    assert_eq!(hosts.server.connections(), 402, "it was the oldest");
}

#[tokio::test]
async fn one_host_keeps_as_many_as_it_needed_at_once() {
    let hosts = Hosts::start().await;
    let transport = keeping(4);
    for _ in 0..3 {
        let all = (0..8).map(|_| hosts.tell(&transport, 0));
        futures_util::future::join_all(all).await;
        hosts.check_open(4).await;
    }
}

#[tokio::test]
async fn without_any_idle_connection_requests_arrive_all_the_same() {
    let hosts = Hosts::start().await;
    let transport = keeping(0);
    for host in [0, 1, 0] {
        hosts.tell(&transport, host).await;
        hosts.check_open(0).await;
    }
    assert_eq!(hosts.server.connections(), 3);
}

#[tokio::test]
async fn an_idle_connection_may_be_kept_for_ever() {
    let hosts = Hosts::start().await;
    let mut config = to_this_machine();
    config.pool_idle_timeout = Duration::MAX;
    let transport = HttpTransport::new(config).unwrap();
    for _ in 0..2 {
        hosts.tell(&transport, 0).await;
    }
    assert_eq!(hosts.server.connections(), 1);
}

#[tokio::test]
async fn a_connection_in_use_is_never_closed_for_an_idle_one() {
    let answer = Arc::new(Semaphore::new(0));
    let allowed = Arc::clone(&answer);
    let mut slow = RawServer::start(move |mut connection| {
        let allowed = Arc::clone(&allowed);
        async move {
            while connection.request().await {
                allowed.acquire().await.unwrap().forget();
                connection.say(OK).await;
            }
        }
    })
    .await;
    let hosts = Hosts::start().await;
    let transport = keeping(1);
    // Its connection is the oldest of all.
    answer.add_permits(1);
    let sent = send(&transport, request_to(slow.address(), LONG)).await;
    assert_eq!(sent.unwrap().status, 200);
    slow.request().await;

    let waiting = send(&transport, request_to(slow.address(), LONG));
    let others = async {
        assert_eq!(slow.request().await.connection, 0);
        for host in 0..8 {
            hosts.tell(&transport, host).await;
        }
        hosts.check_open(1).await;
        answer.add_permits(1);
    };
    let (answered, ()) = tokio::join!(waiting, others);
    assert_eq!(answered.unwrap().status, 200);
    assert_eq!(slow.connections(), 1);
}

#[tokio::test]
async fn a_connection_of_http2_is_shared_and_counts_as_one() {
    let ca = TestCa::generate();
    let config = ca.server_config("localhost", &["h2"]);
    let receiver = TlsReceiver::answering(config, Response::default()).await;
    let mut config = to_this_machine();
    config.extra_roots_pem = Some(ca.pem());
    config.idle_connections_max = 2;
    let transport = HttpTransport::new(config).unwrap();
    let url = format!("https://localhost:{}/hook", receiver.address().port());
    let tell = || async { send(&transport, request(&url, LONG)).await.unwrap().status };

    assert_eq!(tell().await, 200);
    for _ in 0..3 {
        let many = futures_util::future::join_all((0..16).map(|_| tell())).await;
        assert_eq!(many, [200; 16]);
    }
    assert_eq!(receiver.connections(), 1);

    let hosts = Hosts::start().await;
    hosts.tell(&transport, 0).await;
    assert_eq!(tell().await, 200);
    assert_eq!(receiver.connections(), 1, "two are kept, and it was one");
    hosts.tell(&transport, 1).await;
    hosts.tell(&transport, 2).await;
    assert_eq!(tell().await, 200);
    assert_eq!(receiver.connections(), 2, "it was the oldest");
}
