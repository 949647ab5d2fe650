//! Look-ups against a name server of our own, which may keep silent.

use futures_util::future::join_all;
use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::RecordType;

use super::testing::{NameServer, answer_by_alias, answer_with};
use super::*;

/// Far shorter than the deadline, and far longer than an answer takes.
const SOON: Duration = Duration::from_millis(500);

/// Half of it is a look-up's deadline.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A name server that says nothing about `hole` names, nothing about the IPv6 addresses
/// of `half` names, that there is no `gone` name, and that all others are at 1.2.3.7.
async fn start() -> NameServer {
    with_hosts("").await
}

async fn with_hosts(hosts: &str) -> NameServer {
    NameServer::start(hosts, CONNECT_TIMEOUT, Policy::default(), |question, _| {
        answer(question)
    })
    .await
}

fn answer(mut question: Message) -> Option<Message> {
    let name = question.queries[0].name().to_ascii();
    let is_ipv6 = question.queries[0].query_type() == RecordType::AAAA;
    if name.contains("hole") || name.contains("half") && is_ipv6 {
        return None;
    }
    if name.contains("gone") {
        question.metadata.message_type = MessageType::Response;
        question.metadata.response_code = ResponseCode::NXDomain;
        return Some(question);
    }
    Some(answer_with(question, 60, &[ip("1.2.3.7")]))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn found() -> Result<Vec<IpAddr>, LookUpFailed> {
    Ok(vec![ip("1.2.3.7")])
}

#[tokio::test]
async fn a_name_resolves_to_its_addresses_and_a_literal_to_itself() {
    let server = start().await;
    let names = &server.names;
    assert_eq!(names.look_up("a.example").await, found());
    assert_eq!(names.look_up("1.2.3.7").await, found());
    assert_eq!(server.asked("a.example."), 2);
    // An answer is good for as long as it says.
    assert_eq!(names.look_up("a.example").await, found());
    assert!(server.asked("a.example.") <= 3);
}

#[tokio::test]
async fn the_hosts_file_has_the_first_word() {
    let server = with_hosts("1.2.3.7 a.hole.example short # as written\n").await;
    for name in ["a.hole.example", "A.Hole.Example", "short"] {
        assert_eq!(server.names.look_up(name).await, found(), "{name}");
    }
    assert_eq!(server.asked_altogether(), 0);
}

#[tokio::test]
async fn two_hundred_names_that_hang_hold_no_other_up() {
    let server = start().await;
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
    let server = start().await;
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
    let server = start().await;
    let begun = Instant::now();
    let failed = server.names.look_up("a.hole.example").await;
    assert_eq!(failed, Err(LookUpFailed::Name));
    let took = begun.elapsed();
    assert!(took >= CONNECT_TIMEOUT / 2, "{took:?}");
    assert!(took < CONNECT_TIMEOUT / 2 + SOON, "{took:?}");
}

#[tokio::test]
async fn a_name_that_failed_is_not_asked_for_again_at_once() {
    let server = start().await;
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
    let server = start().await;
    let begun = Instant::now();
    assert_eq!(server.names.look_up("a.half.example").await, found());
    assert!(begun.elapsed() >= FAMILY_PATIENCE);
    assert!(begun.elapsed() < FAMILY_PATIENCE + SOON);
}

#[tokio::test]
async fn a_look_up_that_nobody_waits_for_ends() {
    let server = start().await;
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
    let server = start().await;
    // A label has at most 63 bytes.
    let long = format!("{}.example", "a".repeat(64));
    for host in [&*long, "..", "a..example"] {
        let failed = server.names.look_up(host).await;
        assert_eq!(failed, Err(LookUpFailed::Name), "{host}");
    }
}

#[tokio::test]
async fn this_systems_own_names_resolve() {
    let policy = Policy::default().allow_cidrs(["127.0.0.0/8", "::1/128"]);
    let names = Names::new(CONNECT_TIMEOUT, Arc::new(policy.unwrap()));
    let found = names.look_up("localhost").await.unwrap();
    assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
}

/// What is left of a name of which every question is answered with these.
async fn left_of(addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, LookUpFailed> {
    let policy = Policy::default().deny_cidrs(["9.9.9.0/24"]).unwrap();
    let server = NameServer::start("", CONNECT_TIMEOUT, policy, move |question, _| {
        Some(answer_with(question, 60, &addresses))
    });
    server.await.names.look_up("a.example").await
}

fn refused() -> Result<Vec<IpAddr>, LookUpFailed> {
    Err(LookUpFailed::Refused(AddressRefused {
        rule: "forbidden ip",
    }))
}

#[tokio::test]
async fn of_an_answer_only_what_is_allowed_is_left() {
    let mixed = [
        "10.0.0.1",
        "8.8.8.8",
        "::ffff:8.8.4.4",
        "2606:4700::1111",
        "::1",
        "9.9.9.9",
    ];
    let left = left_of(mixed.map(ip).to_vec()).await;
    assert_eq!(left, Ok(vec![ip("2606:4700::1111"), ip("8.8.8.8")]));
    let left = left_of(vec![ip("8.8.8.8"), ip("fd00:ec2::254")]).await;
    assert_eq!(left, Ok(vec![ip("8.8.8.8")]));
}

#[tokio::test]
async fn a_name_of_which_nothing_is_left_is_refused() {
    for address in [
        "127.0.0.1",
        "0.0.0.0",
        "10.0.0.1",
        "169.254.169.254",
        "9.9.9.9",
        "::1",
        "::",
        "fe80::1",
        "::ffff:127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "fd00::1",
    ] {
        assert_eq!(left_of(vec![ip(address)]).await, refused(), "{address}");
    }
    let all = ["127.0.0.1", "192.168.1.1", "::1"].map(ip).to_vec();
    assert_eq!(left_of(all).await, refused());
    // One that is nowhere at all is another matter.
    assert_eq!(left_of(Vec::new()).await, Err(LookUpFailed::Name));
}

#[tokio::test]
async fn an_alias_of_a_private_name_is_refused() {
    let policy = Policy::default();
    let server = NameServer::start("", CONNECT_TIMEOUT, policy, |question, _| {
        let inside = ["10.0.0.1", "fd00::1"].map(ip);
        Some(answer_by_alias(question, "redis.corp.internal.", &inside))
    });
    let server = server.await;
    assert_eq!(server.names.look_up("a.example").await, refused());
}

#[tokio::test]
async fn what_the_hosts_file_says_is_judged_too() {
    let hosts = "10.0.0.7 a.example\n1.2.3.7 b.example\n";
    let names = with_hosts(hosts).await.names;
    assert_eq!(names.look_up("a.example").await, refused());
    assert_eq!(names.look_up("b.example").await, found());
}

#[tokio::test]
async fn of_thousands_of_addresses_a_few_are_tried() {
    // All but the last two are private.
    let mut many: Vec<IpAddr> = (0..2_000_u32)
        .map(|n| std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into())
        .collect();
    many.extend(["8.8.8.8", "8.8.4.4"].map(ip));
    let begun = Instant::now();
    assert_eq!(left_of(many).await, Ok(vec![ip("8.8.8.8"), ip("8.8.4.4")]));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    let public: Vec<IpAddr> = (0..2_000_u32)
        .map(|n| std::net::Ipv4Addr::from_bits(0x0800_0000 + n).into())
        .collect();
    let left = left_of(public.clone()).await.unwrap();
    assert_eq!(left, public[..ADDRESSES_OF_A_FAMILY_MAX]);

    let names = start().await.names;
    let mut mixed: Vec<IpAddr> = (0..10_000_u32)
        .map(|n| std::net::Ipv6Addr::from_bits(0x2606_4700 << 96 | u128::from(n)).into())
        .collect();
    mixed.extend(public);
    let left = names.shared.permitted(mixed).unwrap();
    let of_ipv6 = left.iter().filter(|address| address.is_ipv6()).count();
    assert_eq!((of_ipv6, left.len()), (8, 16));
}

#[tokio::test]
async fn an_answer_that_changes_is_judged_each_time() {
    let policy = Policy::default();
    let server = NameServer::start("", CONNECT_TIMEOUT, policy, |question, before| {
        let address = if before == 0 { "8.8.8.8" } else { "127.0.0.1" };
        Some(answer_with(question, 0, &[ip(address)]))
    });
    let server = server.await;
    let names = &server.names;
    assert_eq!(names.look_up("a.example").await, Ok(vec![ip("8.8.8.8")]));
    assert_eq!(names.look_up("a.example").await, refused());
}
