//! Known answers for rules and settings, and properties for any address.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

#[track_caller]
fn check_rule(policy: &Policy, url: &str, rule: &str) {
    match policy.vet(url) {
        Ok(_) => assert_eq!("ok", rule, "{url}"),
        Err(VetError::Refused { refused, .. }) => assert_eq!(refused.rule, rule, "{url}"),
        Err(VetError::Invalid(invalid)) => assert_eq!(invalid.rule(), rule, "{url}"),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn by_default_only_what_is_public_is_allowed() {
    let policy = Policy::default();
    for (url, rule) in [
        ("https://customer.example/", "ok"),
        ("http://customer.example:8080/", "ok"),
        ("https://customer.example:8443/", "ok"),
        ("http://customer.example:443/", "ok"),
        ("https://1.1.1.1/", "ok"),
        ("https://[2606:4700::1111]/", "ok"),
        ("https://customer.example:9000/", "port not allowed"),
        ("https://redis:6379/", "port not allowed"),
        ("http://redis/", "single-label host"),
        ("http://a.internal/", "forbidden suffix"),
        ("http://internal.example/", "ok"),
        ("http://ainternal/", "single-label host"),
        ("http://a.ainternal/", "ok"),
        ("http://INTERNAL.internal./", "forbidden suffix"),
        ("http://printer.home.arpa/", "forbidden suffix"),
        ("http://10.0.0.1/", "forbidden ip"),
        ("http://10.0.0.1:6379/", "port not allowed"),
    ] {
        check_rule(&policy, url, rule);
    }
}

#[test]
fn what_is_allowed_is_added_and_what_is_denied_stays_denied() {
    let policy = Policy::default().allow_cidrs(["10.0.0.0/8", "fd00::/8"]);
    let policy = policy.unwrap().deny_cidrs(["10.1.0.0/16", "1.1.1.0/24"]);
    let policy = policy.unwrap().allow_ports(["9000", "5000-5010"]).unwrap();
    for (url, rule) in [
        ("http://10.0.0.1/", "ok"),
        ("http://10.1.0.1/", "forbidden ip"),
        ("http://[fd00::1]/", "ok"),
        ("http://1.1.1.1/", "forbidden ip"),
        ("http://1.0.0.1/", "ok"),
        ("http://127.0.0.1/", "forbidden ip"),
        ("http://[::ffff:10.0.0.1]/", "forbidden ip"),
        ("http://1.0.0.1:9000/", "ok"),
        ("http://1.0.0.1:9001/", "port not allowed"),
        ("http://1.0.0.1:5000/", "ok"),
        ("http://1.0.0.1:5010/", "ok"),
        ("http://1.0.0.1:5011/", "port not allowed"),
        ("http://1.0.0.1:443/", "ok"),
    ] {
        check_rule(&policy, url, rule);
    }
}

#[test]
fn an_allowed_host_is_free_of_the_name_rule_alone() {
    let policy = Policy::default().allow_hosts(["Hooks.Internal", "localhost", "*.svc"]);
    let policy = policy.unwrap();
    for (url, rule) in [
        ("http://hooks.internal/", "ok"),
        ("http://HOOKS.internal./", "ok"),
        ("http://a.hooks.internal/", "forbidden suffix"),
        ("http://localhost/", "ok"),
        ("http://localhost:1/", "port not allowed"),
        ("http://a.b.svc/", "ok"),
        ("http://svc/", "single-label host"),
        ("http://asvc/", "single-label host"),
        ("http://a.internal/", "forbidden suffix"),
        ("http://127.0.0.1/", "forbidden ip"),
    ] {
        check_rule(&policy, url, rule);
    }
}

#[test]
fn https_can_be_required() {
    let policy = Policy::default().require_https(true);
    check_rule(&policy, "http://a.example/", "scheme must be https://");
    check_rule(&policy, "https://a.example/", "ok");
    check_rule(&policy, "ftp://a.example/", "scheme must be http(s)://");
}

#[test]
fn a_range_that_carries_ipv4_allows_what_is_allowed_of_that() {
    let policy = Policy::default();
    let policy = policy.allow_cidrs(["64:ff9b::/96", "::ffff:0:0/96", "2002::/16", "2001::/32"]);
    let policy = policy.unwrap().deny_cidrs(["9.9.9.0/24"]).unwrap();
    for (address, is_allowed) in [
        ("64:ff9b::1.1.1.1", true),
        ("64:ff9b::10.0.0.1", false),
        ("64:ff9b::9.9.9.9", false),
        ("64:ff9b:1::1.1.1.1", false),
        ("::ffff:1.1.1.1", true),
        ("::ffff:127.0.0.1", false),
        ("2002:101:101::1", true),
        ("2002:7f00:1::1", false),
        // Teredo's clients are written inverted: 1.1.1.1 and 10.0.0.1.
        ("2001:0:101:101::fefe:fefe", true),
        ("2001:0:101:101::f5ff:fffe", false),
    ] {
        let verdict = policy.check_address(ip(address));
        assert_eq!(verdict.is_ok(), is_allowed, "{address}");
    }
    let everything = Policy::default().allow_cidrs(["::/0"]).unwrap();
    assert!(everything.check_address(ip("::1")).is_ok());
    let isatap = ip("2606:4700::200:5efe:10.0.0.1");
    assert!(everything.check_address(isatap).is_err());
}

#[test]
fn a_wrong_entry_is_named() {
    #[track_caller]
    fn check(policy: Result<Policy, PolicyInvalid>, field: &str, entry: &str) {
        let invalid = policy.unwrap_err();
        assert_eq!((invalid.field, &*invalid.entry), (field, entry));
        assert!(
            invalid
                .to_string()
                .starts_with(&format!("{field}: {entry:?} "))
        );
    }
    let policy = Policy::default;
    for entry in [
        "",
        "10.0.0.1",
        "10.0.0.0/33",
        "10.0.0.0/",
        "10.1.0.0/8",
        "::/129",
        "::1/64",
        "a/8",
        " 10.0.0.0/8",
        "010.0.0.0/8",
        "10.0.0.0/8\n",
        "10/8",
        "10.0.0.0/+8",
        "0x0a.0.0.0/8",
    ] {
        check(
            policy().allow_cidrs(["10.0.0.0/8", entry]),
            "egress.allow_cidrs",
            entry,
        );
        check(policy().deny_cidrs([entry]), "egress.denied_cidrs", entry);
    }
    for entry in [
        "", "0", "65536", "9-1", "-", "1-", "-1", "+1", "1-2-3", "0-9", " 1", "http",
    ] {
        check(policy().allow_ports([entry]), "egress.allow_ports", entry);
    }
    for entry in [
        "",
        ".",
        "a..b",
        "*",
        "*.",
        "**.a",
        "a.*",
        "a:80",
        "http://a",
        "a/b",
        "u@a",
        "a b",
        "127.0.0.1",
        "[::1]",
        "127.1",
        "a?b",
        "-a",
    ] {
        check(policy().allow_hosts([entry]), "egress.allow_hosts", entry);
    }
}

/// The IPv4 registry once more, from the bytes.
fn is_special(address: Ipv4Addr) -> bool {
    match address.octets() {
        [0 | 10 | 127 | 224..=255, ..] => true,
        [100, b, ..] => b & 0xc0 == 64,
        [169, 254, ..] | [192, 168, ..] | [198, 18 | 19, ..] => true,
        [172, b, ..] => b & 0xf0 == 16,
        [192, 0, 0 | 2, _] | [192, 31, 196, _] | [192, 52, 193, _] => true,
        [192, 88, 99, _] | [192, 175, 48, _] | [198, 51, 100, _] | [203, 0, 113, _] => true,
        address => address == [168, 63, 129, 16],
    }
}

/// Addresses near the edges of ranges, and any.
fn any_ipv4() -> impl Strategy<Value = Ipv4Addr> {
    let edges = [
        "0.0.0.0",
        "1.0.0.0",
        "10.0.0.0",
        "11.0.0.0",
        "100.64.0.0",
        "100.128.0.0",
        "127.0.0.0",
        "128.0.0.0",
        "168.63.129.16",
        "169.254.0.0",
        "169.255.0.0",
        "172.16.0.0",
        "172.32.0.0",
        "192.0.0.0",
        "192.0.1.0",
        "192.0.2.0",
        "192.0.3.0",
        "192.31.196.0",
        "192.52.193.0",
        "192.88.99.0",
        "192.168.0.0",
        "192.169.0.0",
        "192.175.48.0",
        "198.18.0.0",
        "198.20.0.0",
        "198.51.100.0",
        "203.0.113.0",
        "203.0.114.0",
        "224.0.0.0",
        "255.255.255.255",
    ];
    let near = (prop::sample::select(edges.to_vec()), -300_i32..300).prop_map(|(edge, off)| {
        let edge: Ipv4Addr = edge.parse().unwrap();
        Ipv4Addr::from_bits(edge.to_bits().wrapping_add_signed(off))
    });
    prop_oneof![near, any::<Ipv4Addr>()]
}

/// Every way in which IPv6 is known to carry an IPv4 address.
fn carriers(address: Ipv4Addr, any: u64) -> Vec<Ipv6Addr> {
    let bits = u128::from(address.to_bits());
    let prefix = |text: &str| text.parse::<Ipv6Addr>().unwrap().to_bits();
    let low = u128::from(any);
    [
        bits,
        prefix("::ffff:0:0") | bits,
        prefix("::ffff:0:0:0") | bits,
        prefix("64:ff9b::") | bits,
        prefix("64:ff9b:1::") | bits,
        prefix("64:ff9b:1::") | (bits >> 16) << 64 | (bits & 0xffff) << 40,
        prefix("2002::") | bits << 80 | low,
        prefix("2001::") | low << 32 | bits,
        prefix("2001::") | (low & 0xffff_ffff) << 64 | !bits & 0xffff_ffff,
        prefix("2606:4700::") | (low & 0xffff) << 64 | 0x5efe << 32 | bits,
        prefix("2606:4700::") | 0x200_5efe << 32 | bits,
        prefix("fe80::5efe:0:0") | bits,
    ]
    .map(Ipv6Addr::from_bits)
    .to_vec()
}

proptest! {
    #[test]
    fn of_ipv4_exactly_the_special_ranges_are_refused(address in any_ipv4()) {
        let verdict = Policy::default().check_address(address.into());
        prop_assert_eq!(verdict.is_err(), is_special(address), "{}", address);
    }

    #[test]
    fn no_carrier_of_ipv4_is_allowed(address in any_ipv4(), low: u64) {
        for carrier in carriers(address, low) {
            let verdict = Policy::default().check_address(carrier.into());
            prop_assert_eq!(verdict, Err(FORBIDDEN_IP), "{}", carrier);
            let url = format!("http://[{carrier}]/");
            let is_refused = matches!(
                Policy::default().vet(&url),
                Err(VetError::Refused { refused: FORBIDDEN_IP, .. })
            );
            prop_assert!(is_refused, "{}", url);
        }
    }

    #[test]
    fn outside_of_global_unicast_no_ipv6_is_allowed(bits: u128) {
        let bits = if bits >> 125 == 1 { bits ^ 1 << 127 } else { bits };
        let address = Ipv6Addr::from_bits(bits);
        prop_assert!(Policy::default().check_address(address.into()).is_err());
    }

    #[test]
    fn ordinary_ipv6_is_allowed(bits: u128) {
        // What the registries of America, Europe, Asia and so on give out.
        for first in [0x2400, 0x2600, 0x2800, 0x2a00, 0x2c00] {
            let kept = bits & !(0xffff_u128 << 112);
            let address = Ipv6Addr::from_bits(kept | first << 112);
            let verdict = Policy::default().check_address(address.into());
            prop_assert_eq!(verdict.is_ok(), addresses::carried(address).is_none());
        }
    }

    #[test]
    fn denied_wins_and_nothing_else_changes(
        address: IpAddr, of: IpAddr, allowed in 0_u8..=32, denied in 0_u8..=32, near: bool,
    ) {
        let of = if near { address } else { of };
        let net = |prefix| IpNet::new(of, prefix).unwrap().trunc();
        let policy = Policy::default().allow_cidrs([net(allowed).to_string()]).unwrap();
        let both = policy.clone().deny_cidrs([net(denied).to_string()]).unwrap();
        let before = Policy::default().check_address(address).is_ok();
        let with_more = policy.check_address(address).is_ok();
        let with_less = both.check_address(address).is_ok();
        prop_assert!(!before || with_more);
        let denies = net(denied).contains(&address);
        prop_assert!(!(denies && with_less));
        prop_assert!(denies || with_less == with_more || carries(address));
    }

    #[test]
    fn what_passes_is_in_one_spelling_and_passes_again(text in "https?://\\PC{1,20}") {
        let policy = Policy::default();
        if let Ok(url) = policy.vet(&text) {
            prop_assert_eq!(policy.vet(url.as_str()), Ok(url));
        }
    }

    #[test]
    fn no_spelling_of_a_forbidden_address_passes(
        address in any_ipv4().prop_filter("special", |address| is_special(*address)),
        how in prop::array::uniform4(any::<u8>()),
        parts in 1_u32..=4,
        end in prop::sample::select(&["", ".", "\u{3002}", "\u{ad}", "%2e", ":80", "#@a.example"]),
    ) {
        let url = format!("http://{}{end}/", spelled(address, how, parts));
        let allowing = Policy::default().allow_cidrs(["1.0.0.0/8"]).unwrap();
        prop_assert!(Policy::default().vet(&url).is_err(), "{}", url);
        prop_assert!(allowing.vet(&url).is_err(), "{}", url);
    }
}

fn carries(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if addresses::carried(address).is_some())
}

/// An IPv4 address in `parts` numbers, each with a base, digits and a dot of its own,
/// as the URL standard and the C library read them.
fn spelled(address: Ipv4Addr, how: [u8; 4], parts: u32) -> String {
    let bits = address.to_bits();
    let mut numbers: Vec<u32> = Vec::new();
    for part in 0..parts - 1 {
        numbers.push(bits >> (24 - 8 * part) & 0xff);
    }
    numbers.push(bits & u32::MAX.checked_shr(8 * (parts - 1)).unwrap_or(0));
    let mut text = String::new();
    for (number, how) in numbers.into_iter().zip(how) {
        if !text.is_empty() {
            text.push(['.', '\u{3002}', '\u{ff0e}', '\u{ff61}'][usize::from(how >> 6)]);
        }
        let plain = match how & 7 {
            0 => format!("0{number:o}"),
            1 => format!("000{number:o}"),
            2 => format!("0x{number:x}"),
            3 => format!("0X{number:X}"),
            4 => format!("0x00{number:x}"),
            _ => number.to_string(),
        };
        text.extend(plain.chars().map(|c| disguised(c, how >> 3 & 7)));
    }
    text
}

/// A character in another form that IDNA maps to it.
fn disguised(c: char, how: u8) -> char {
    let shifted = |base: u32| char::from_u32(base + c as u32 - 0x30).unwrap();
    match (c, how) {
        ('0'..='9', 1) => shifted(0xff10),
        ('0'..='9', 2) => shifted(0x1d7ce),
        ('0'..='9', 3) => shifted(0x1d7f6),
        ('0', 4) => '\u{24ea}',
        ('1'..='9', 4) => char::from_u32(0x2460 + c as u32 - 0x31).unwrap(),
        ('0', 5) => '\u{2070}',
        ('4'..='9', 5) => shifted(0x2070),
        ('a'..='f' | 'x', 1) => char::from_u32(0xff41 + c as u32 - 0x61).unwrap(),
        _ => c,
    }
}
