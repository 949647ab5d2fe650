//! The guard from end to end: real receivers behind names that a hostile name server
//! makes up. "Public" here is 127.0.0.1 alone, and 127.0.0.2 is not.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_resolver::proto::op::Message;
use notify_core::transport::AddressRefused;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::*;
use crate::resolve::testing::{NameServer, answer_with};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const FORBIDDEN: TransportError = TransportError::Refused(AddressRefused {
    rule: "forbidden ip",
});

/// A receiver behind every address of this machine. It counts connections to the
/// public one and to all others.
struct Receiver {
    port: u16,
    public: Arc<AtomicUsize>,
    private: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let [public, private] = [(); 2].map(|()| Arc::<AtomicUsize>::default());
        let counted = [Arc::clone(&public), Arc::clone(&private)];
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let is_public = stream.local_addr().unwrap().ip() == ip("127.0.0.1");
                let [public, private] = &counted;
                let count = if is_public { public } else { private };
                count.fetch_add(1, Ordering::SeqCst);
                connections.spawn(answer(stream));
            }
        });
        Self {
            port,
            public,
            private,
            _serving: serving,
        }
    }

    fn connections(&self) -> (usize, usize) {
        let of = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        (of(&self.public), of(&self.private))
    }

    fn policy(&self) -> Policy {
        let policy = Policy::default().allow_cidrs(["127.0.0.1/32"]);
        policy
            .unwrap()
            .allow_ports([self.port.to_string()])
            .unwrap()
    }

    /// A request to it under a name or a literal address.
    fn at(&self, host: &str) -> WebhookRequest {
        let url = format!("http://{host}:{}/hook?token=canary", self.port);
        WebhookRequest {
            url: EndpointUrl::parse(&url).unwrap(),
            headers: Vec::new(),
            body: "{}".into(),
            timeout: Duration::from_secs(30),
        }
    }
}

async fn answer(mut stream: TcpStream) {
    let mut bytes = [0; 4_096];
    while matches!(stream.read(&mut bytes).await, Ok(length) if length > 0) {
        let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
        if stream.write_all(answer).await.is_err() {
            break;
        }
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A transport whose names are these, and which keeps so many idle connections.
async fn transport(
    policy: Policy,
    idle_max: usize,
    answering: impl Fn(Message, usize) -> Option<Message> + Send + Sync + 'static,
) -> (HttpTransport, NameServer) {
    let server = NameServer::start("", CONNECT_TIMEOUT, policy.clone(), answering).await;
    let config = HttpConfig {
        idle_connections_max: idle_max,
        connect_timeout: CONNECT_TIMEOUT,
        egress: policy,
        ..HttpConfig::default()
    };
    let transport = HttpTransport::with_names(config, server.names.clone()).unwrap();
    (transport, server)
}

/// First public, then private, and never good for longer than now.
fn rebinding(question: Message, before: usize) -> Option<Message> {
    let address = if before == 0 {
        "127.0.0.1"
    } else {
        "127.0.0.2"
    };
    Some(answer_with(question, 0, &[ip(address)]))
}

#[tokio::test]
async fn a_name_that_is_bound_anew_gets_no_new_connection() {
    let receiver = Receiver::start().await;
    let (transport, _server) = transport(receiver.policy(), 0, rebinding).await;
    let answer = transport.send(receiver.at("rebind.example")).await;
    assert_eq!(answer.unwrap().status, 204);
    for _ in 0..3 {
        let refused = transport.send(receiver.at("rebind.example")).await;
        assert_eq!(refused, Err(FORBIDDEN));
    }
    assert_eq!(receiver.connections(), (1, 0));
}

#[tokio::test]
async fn a_connection_that_was_allowed_is_used_again_whatever_its_name_has_become() {
    let receiver = Receiver::start().await;
    let (transport, server) = transport(receiver.policy(), 8, rebinding).await;
    for _ in 0..5 {
        let answer = transport.send(receiver.at("rebind.example")).await;
        assert_eq!(answer.unwrap().status, 204);
    }
    // It goes where it went; the name was asked for once, for both families.
    assert_eq!(receiver.connections(), (1, 0));
    assert_eq!(server.asked("rebind.example."), 2);
}

#[tokio::test]
async fn of_a_mixed_answer_only_the_public_address_is_connected_to() {
    let receiver = Receiver::start().await;
    let (transport, _server) = transport(receiver.policy(), 0, |question, _| {
        let mixed = ["127.0.0.2", "127.0.0.1", "127.0.0.3"].map(ip);
        Some(answer_with(question, 60, &mixed))
    })
    .await;
    for n in 0..5 {
        let answer = transport.send(receiver.at(&format!("h{n}.example"))).await;
        assert_eq!(answer.unwrap().status, 204);
    }
    assert_eq!(receiver.connections(), (5, 0));
}

#[tokio::test]
async fn what_is_not_allowed_is_refused_before_anyone_is_connected_to() {
    let receiver = Receiver::start().await;
    let private = |question, _| Some(answer_with(question, 60, &[ip("127.0.0.2"), ip("::1")]));
    let (transport, server) = transport(receiver.policy(), 8, private).await;
    for (host, rule) in [
        ("private.example", "forbidden ip"),
        ("127.0.0.2", "forbidden ip"),
        ("[::1]", "forbidden ip"),
        ("[::ffff:7f00:1]", "forbidden ip"),
        ("[::ffff:127.0.0.1]", "forbidden ip"),
        ("[64:ff9b::7f00:1]", "forbidden ip"),
        ("0.0.0.0", "forbidden ip"),
        ("127.1", "non-canonical ipv4"),
        ("2130706433", "non-canonical ipv4"),
        ("0x7f.0.0.1", "non-canonical ipv4"),
        ("①②⑦.⓪.⓪.①", "non-canonical ipv4"),
        ("localhost", "single-label host"),
        ("a.localhost", "forbidden suffix"),
    ] {
        let refused = transport.send(receiver.at(host)).await.unwrap_err();
        assert_eq!(
            refused,
            TransportError::Refused(AddressRefused { rule }),
            "{host}"
        );
        let shown = format!("{refused} {refused:?}");
        assert!(
            !shown.contains("127.0") && !shown.contains("canary"),
            "{shown}"
        );
        let checked = transport.check(&receiver.at(host).url).await;
        assert_eq!(checked, Err(refused), "{host}");
    }
    assert_eq!(receiver.connections(), (0, 0));
    assert_eq!(server.asked_altogether(), server.asked("private.example."));
}

#[tokio::test]
async fn whoever_was_connected_to_is_judged_once_more() {
    let receiver = Receiver::start().await;
    // Names that let everything pass, as if the guard in front had a hole.
    let policy = Policy::default().allow_cidrs(["127.0.0.0/8"]).unwrap();
    let blind = NameServer::start("127.0.0.2 a.example", CONNECT_TIMEOUT, policy, |_, _| None);
    let blind = blind.await;
    let config = HttpConfig {
        egress: receiver.policy(),
        ..HttpConfig::default()
    };
    let transport = HttpTransport::with_names(config, blind.names.clone()).unwrap();
    let refused = transport.send(receiver.at("a.example")).await;
    assert_eq!(refused, Err(FORBIDDEN));
    assert_eq!(receiver.connections().0, 0);
}

#[tokio::test]
async fn a_name_server_that_hangs_is_no_refusal() {
    let receiver = Receiver::start().await;
    let (transport, _server) = transport(receiver.policy(), 0, |_, _| None).await;
    let begun = tokio::time::Instant::now();
    let hung = transport.send(receiver.at("hole.example")).await;
    assert_eq!(hung, Err(TransportError::Dns));
    assert!(begun.elapsed() < CONNECT_TIMEOUT);
}

#[tokio::test]
async fn what_may_be_gone_to_is_found_out_without_going_there() {
    let receiver = Receiver::start().await;
    let (transport, _server) = transport(receiver.policy(), 0, rebinding).await;
    for host in ["rebind.example", "127.0.0.1"] {
        assert_eq!(transport.check(&receiver.at(host).url).await, Ok(()));
    }
    assert_eq!(receiver.connections(), (0, 0));
}
