//! Look-ups against a name server of our own, which may keep silent.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::*;

/// Far shorter than the deadline, and far longer than an answer takes.
const SOON: Duration = Duration::from_millis(500);

/// Half of it is a look-up's deadline.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A name server on this machine. It says nothing about `hole` names, nothing about
/// the IPv6 addresses of `half` names, that there is no `gone` name, and that all
/// others are at 192.0.2.7.
struct NameServer {
    names: Names,
    asked: Arc<Mutex<BTreeMap<String, usize>>>,
    answering: JoinHandle<()>,
}

impl NameServer {
    async fn start() -> Self {
        Self::with_hosts("").await
    }

    async fn with_hosts(hosts: &str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::<Mutex<BTreeMap<String, usize>>>::default();
        let counted = Arc::clone(&asked);
        let answering = tokio::spawn(async move {
            let mut bytes = [0; 2_048];
            while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
                let question = Message::from_vec(&bytes[..length]).unwrap();
                let name = question.queries[0].name().to_ascii().to_lowercase();
                *counted.lock().unwrap().entry(name).or_default() += 1;
                if let Some(answer) = answer(question) {
                    socket.send_to(&answer, from).await.unwrap();
                }
            }
        });
        let mut server = NameServerConfig::udp(address.ip());
        server.connections[0].port = address.port();
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        Self {
            names: Names::of(System::fixed(hosts, config), CONNECT_TIMEOUT),
            asked,
            answering,
        }
    }

    fn asked(&self, name: &str) -> usize {
        self.asked
            .lock()
            .unwrap()
            .get(name)
            .copied()
            .unwrap_or_default()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

fn answer(mut message: Message) -> Option<Vec<u8>> {
    let question = message.queries[0].clone();
    let name = question.name().to_ascii();
    let is_ipv6 = question.query_type() == RecordType::AAAA;
    if name.contains("hole") || name.contains("half") && is_ipv6 {
        return None;
    }
    message.metadata.message_type = MessageType::Response;
    if name.contains("gone") {
        message.metadata.response_code = ResponseCode::NXDomain;
    } else if !is_ipv6 {
        let address = RData::A("192.0.2.7".parse().unwrap());
        message.add_answer(Record::from_rdata(question.name().clone(), 60, address));
    }
    Some(message.to_vec().unwrap())
}

fn found() -> Result<Vec<IpAddr>, LookUpFailed> {
    Ok(vec!["192.0.2.7".parse().unwrap()])
}

#[tokio::test]
async fn a_name_resolves_to_its_addresses_and_a_literal_to_itself() {
    let server = NameServer::start().await;
    let names = &server.names;
    assert_eq!(names.look_up("a.example").await, found());
    assert_eq!(names.look_up("192.0.2.7").await, found());
    assert_eq!(server.asked("a.example."), 2);
    // An answer is good for as long as it says.
    assert_eq!(names.look_up("a.example").await, found());
    assert!(server.asked("a.example.") <= 3);
}

#[tokio::test]
async fn the_hosts_file_has_the_first_word() {
    let server = NameServer::with_hosts("192.0.2.7 a.hole.example short # as written\n").await;
    for name in ["a.hole.example", "A.Hole.Example", "short"] {
        assert_eq!(server.names.look_up(name).await, found(), "{name}");
    }
    assert_eq!(server.asked.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn two_hundred_names_that_hang_hold_no_other_up() {
    let server = NameServer::start().await;
    let names = &server.names;
    // As many zones as a customer may have, and many names in each.
    let holes: Vec<String> = (0..200)
        .map(|n| format!("h{n}.hole-{}.example", n % 20))
        .collect();
    let hanging = join_all(holes.iter().map(|name| names.look_up(name)));
    let others = async {
        // Once they are known for it.
        tokio::time::sleep(CONNECT_TIMEOUT).await;
        let holes = join_all(holes.iter().map(|name| names.look_up(name)));
        let good = async {
            let begun = Instant::now();
            for n in 0..20 {
                assert_eq!(names.look_up(&format!("a.good-{n}.example")).await, found());
            }
            assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        };
        tokio::join!(holes, good)
    };
    let (hung, (hung_again, ())) = tokio::join!(hanging, others);
    assert!(hung.iter().chain(&hung_again).all(Result::is_err));
    assert!(names.shared.places.is_idle());
}

#[tokio::test]
async fn the_names_of_one_zone_hold_no_other_up_from_the_first_on() {
    let server = NameServer::start().await;
    let names = &server.names;
    let holes: Vec<String> = (0..200).map(|n| format!("h{n}.hole.example")).collect();
    let hanging = join_all(holes.iter().map(|name| names.look_up(name)));
    let good = async {
        tokio::task::yield_now().await;
        let begun = Instant::now();
        assert_eq!(names.look_up("a.good.example").await, found());
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    };
    let (hung, ()) = tokio::join!(hanging, good);
    assert!(hung.iter().all(Result::is_err));
}

#[tokio::test]
async fn a_look_up_has_a_deadline() {
    let server = NameServer::start().await;
    let begun = Instant::now();
    let failed = server.names.look_up("a.hole.example").await;
    assert_eq!(failed, Err(LookUpFailed::Name));
    let took = begun.elapsed();
    assert!(took >= CONNECT_TIMEOUT / 2, "{took:?}");
    assert!(took < CONNECT_TIMEOUT / 2 + SOON, "{took:?}");
}

#[tokio::test]
async fn a_name_that_failed_is_not_asked_for_again_at_once() {
    let server = NameServer::start().await;
    let names = &server.names;
    for name in ["a.gone.example", "a.hole.example"] {
        let asked = || server.asked(&format!("{name}."));
        assert_eq!(names.look_up(name).await, Err(LookUpFailed::Name));
        let before = asked();
        assert!(before > 0);
        let begun = Instant::now();
        assert_eq!(names.look_up(name).await, Err(LookUpFailed::Name));
        assert!(begun.elapsed() < SOON);
        assert_eq!(asked(), before, "{name}");
        // By the next retry it may be there.
        tokio::time::sleep(FAILURE_KEPT).await;
        assert_eq!(names.look_up(name).await, Err(LookUpFailed::Name));
        assert!(asked() > before, "{name}");
    }
}

#[tokio::test]
async fn one_family_that_hangs_does_not_hold_the_other_up() {
    let server = NameServer::start().await;
    let begun = Instant::now();
    assert_eq!(server.names.look_up("a.half.example").await, found());
    assert!(begun.elapsed() >= FAMILY_PATIENCE);
    assert!(begun.elapsed() < FAMILY_PATIENCE + SOON);
}

#[tokio::test]
async fn a_look_up_that_nobody_waits_for_ends() {
    let server = NameServer::start().await;
    let names = &server.names;
    for n in 0..100 {
        let name = format!("h{n}.hole-{n}.example");
        let abandoned = timeout(Duration::from_millis(1), names.look_up(&name)).await;
        assert!(abandoned.is_err());
    }
    assert!(names.shared.places.is_idle());
}

#[tokio::test]
async fn what_is_no_name_does_not_resolve() {
    let server = NameServer::start().await;
    // A label has at most 63 bytes.
    let long = format!("{}.example", "a".repeat(64));
    for host in [&*long, "..", "a..example"] {
        let failed = server.names.look_up(host).await;
        assert_eq!(failed, Err(LookUpFailed::Name), "{host}");
    }
}

#[tokio::test]
async fn this_systems_own_names_resolve() {
    let names = Names::new(CONNECT_TIMEOUT);
    let found = names.look_up("localhost").await.unwrap();
    assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
}
