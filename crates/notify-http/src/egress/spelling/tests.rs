//! Known answers, and properties for any text.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn check_refused(text: &str, why: UrlInvalid) {
    assert_eq!(canonical(text), Err(why), "{text}");
}

#[test]
fn one_receiver_has_one_spelling() {
    for (text, expected) in [
        ("https://EXAMPLE.com/Hook", "https://example.com/Hook"),
        ("HTTPS://example.com:443", "https://example.com/"),
        ("https://example.com:/", "https://example.com/"),
        ("http://example.com:80/a?b=C#d", "http://example.com/a?b=C"),
        ("https://example.com:80/", "https://example.com:80/"),
        ("http://example.com:08080/", "http://example.com:8080/"),
        ("https://example.com?q", "https://example.com/?q"),
        ("https://example.com./", "https://example.com/"),
        ("https://example.com.:8443/x", "https://example.com:8443/x"),
        ("https://example.com。/", "https://example.com/"),
        ("https://ｅｘａｍｐｌｅ．com/", "https://example.com/"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://BÜCHER.example/", "https://xn--bcher-kva.example/"),
        ("http://127.0.0.1#@example.com/", "http://127.0.0.1/"),
        ("http://127.0.0.1/x/../y", "http://127.0.0.1/y"),
        ("http://127.0.0.1/%2E/y", "http://127.0.0.1/y"),
        ("http://127.0.0.1/../../y/.", "http://127.0.0.1/y/"),
        ("http://127.0.0.1/é?ü", "http://127.0.0.1/%C3%A9?%C3%BC"),
        ("http://a.example/a%20b%0d", "http://a.example/a%20b%0d"),
        ("http://a.example//x", "http://a.example//x"),
        (
            "https://1.1.1.1.example.com/",
            "https://1.1.1.1.example.com/",
        ),
        (
            "http://[2606:4700:0:0::0:1111]/",
            "http://[2606:4700::1111]/",
        ),
        ("http://[2606:4700::ABCD]/", "http://[2606:4700::abcd]/"),
        ("http://[::ffff:1.1.1.1]/", "http://[::ffff:101:101]/"),
        (
            "https://example.com/redirect?to=http://127.0.0.1/",
            "https://example.com/redirect?to=http://127.0.0.1/",
        ),
    ] {
        assert_eq!(canonical(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn an_ipv4_address_has_one_spelling_and_others_are_not_resolved() {
    for host in [
        "127.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0X7F.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.01",
        "127.0.0.1.",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "0x",
        "0",
        "①②⑦.⓪.⓪.①",
        "１２７.０.０.１",
        "127。0。0。1",
        "127．0．0．1",
        "0ｘ7f.1",
        "127.0.0.1\u{ad}",
    ] {
        for rest in ["/", ":80/", ":8080/x", "?q", ""] {
            check_refused(
                &format!("http://{host}{rest}"),
                UrlInvalid::NonCanonicalIpv4,
            );
        }
    }
    for text in ["http://127.0.0.1/", "http://0.0.0.0:8080/x"] {
        assert_eq!(canonical(text).unwrap(), text);
    }
}

#[test]
fn what_is_no_url_names_its_rule() {
    for text in [
        "http://[::1",
        "http://[::1]x/",
        "http://[::127.0.0.01]/",
        "http://example.com:-1/",
        "http://a:99999/",
        "http://a:80:80/",
        "http://a<b/",
        "http://1.2.3.4.5/",
        "http://1.2.3.256/",
        "http://0x100000000/",
        "http://a.example.7/",
        "http://xn--/",
        "http://a／b.example/",
    ] {
        check_refused(text, UrlInvalid::Unparsable);
    }
    for host in [
        "..",
        "a..example",
        "127.0.0.1..",
        ".example",
        "-a.com",
        "a-.com",
        "a.b-",
        "a*b.example",
        "a!b.example",
        "a~.example",
        "a{b",
        "a`b",
        &format!("{}.example", "a".repeat(64)),
        &"a.".repeat(128),
    ] {
        check_refused(&format!("http://{host}/"), UrlInvalid::BadLabel);
    }
    for host in [
        "a-b_c.example",
        "_x.example",
        &format!("{}.example", "a".repeat(63)),
        &"a.".repeat(127),
    ] {
        assert!(canonical(&format!("http://{host}/")).is_ok(), "{host}");
    }
    for port in [":0", ":00000", ":080", ":0080", ":0443", ":01023"] {
        for host in ["a.example", "[2606:4700::1111]", "1.1.1.1"] {
            check_refused(
                &format!("http://{host}{port}/"),
                UrlInvalid::NonCanonicalPort,
            );
        }
    }
    check_refused("http://./", UrlInvalid::EmptyHost);
    check_refused("http:///127.0.0.1/", UrlInvalid::EmptyHost);
    check_refused("http://user@example.com/", UrlInvalid::Userinfo);
    check_refused("http://127%2e0%2e0%2e1/", UrlInvalid::PercentInAuthority);
    check_refused("http://[fe80::1%eth0]/", UrlInvalid::PercentInAuthority);
    check_refused("http:127.0.0.1/", UrlInvalid::Scheme);
    check_refused("http+unix://%2Fvar%2Frun/x", UrlInvalid::Scheme);
    for text in [
        "http://127.0\n.0.1/",
        " http://example.com/",
        "http://example.com/ foo",
        "http://example.com\\@127.0.0.1/",
    ] {
        check_refused(text, UrlInvalid::ControlSpaceBackslash);
    }
}

#[test]
fn its_length_is_bounded_before_and_after() {
    let of = |path: String| format!("http://a.example/{path}");
    let room = EndpointUrl::BYTES_MAX - of(String::new()).len();
    let longest = of("x".repeat(room));
    assert_eq!(canonical(&longest).unwrap(), &*longest);
    check_refused(&of("x".repeat(room + 1)), UrlInvalid::TooLong);
    // Shorter when canonical, and longer: three bytes for each of these two.
    check_refused(&of("./".repeat(room)), UrlInvalid::TooLong);
    check_refused(&of("é".repeat(room / 4)), UrlInvalid::TooLong);
    assert!(canonical(&of("é".repeat(room / 6))).is_ok());
}

/// A URL's text in parts that matter, some of them odd.
fn any_url() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        "[a-cA-C0-2éÉßａ.。-]{1,8}",
        "(0x|0|)[0-9a-f]{1,3}(\\.[0-9]{1,3}){0,4}\\.?",
        "xn--[a-z0-9-]{0,6}",
        "\\[[0-9a-fA-F:.]{2,12}\\]",
    ];
    let path = "(/(\\.|\\.\\.|%2e|%2E\\.|[a-c%éÉ{}|^`;'~]{0,3})){0,4}";
    let rest = "(\\?[a-c'{}|^é/.]{0,4})?(#[a-c?]{0,2})?";
    let scheme = "(http|https|HTTP|hTTps)://";
    (scheme, host, "(:0{0,2}(80|443|8080)?)?", path, rest)
        .prop_map(|(scheme, host, port, path, rest)| format!("{scheme}{host}{port}{path}{rest}"))
}

/// The same receiver in another spelling, by rules of the standard.
fn respelled(url: &str, how: u16) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let end = rest.find('/').unwrap();
    let (authority, path) = rest.split_at(end);
    let does = |bit: u16| how & (1 << bit) != 0;
    let upper = |text: &str, yes| {
        if yes {
            text.to_uppercase()
        } else {
            text.into()
        }
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, format!(":{port}")),
        _ if does(0) => (
            authority,
            if scheme == "http" { ":80" } else { ":443" }.to_owned(),
        ),
        _ => (authority, String::new()),
    };
    let is_name = !host.ends_with(|c: char| c == ']' || c.is_ascii_digit());
    format!(
        "{}://{}{}{port}{}{}{path}{}",
        upper(scheme, does(1)),
        upper(host, does(2)),
        if does(3) && is_name { "." } else { "" },
        if does(4) { "/." } else { "" },
        if does(5) { "/x/%2e%2E" } else { "" },
        if does(6) { "#fragment?" } else { "" },
    )
}

proptest! {
    #[test]
    fn any_text_is_judged(text in "(http://)?\\PC{0,30}") {
        if let Ok(url) = canonical(&text) {
            prop_assert_eq!(canonical(url.as_str()), Ok(url));
        }
    }

    #[test]
    fn every_spelling_gives_one_url(text in any_url(), how: u16) {
        if let Ok(url) = canonical(&text) {
            prop_assert_eq!(canonical(url.as_str()), Ok(url.clone()));
            prop_assert_eq!(canonical(&respelled(url.as_str(), how)), Ok(url));
        }
    }

    #[test]
    fn what_the_standard_serialises_alike_is_one_url(a in any_url(), b in any_url(), how: u16) {
        let near = canonical(&a).map_or(b.clone(), |url| respelled(url.as_str(), how));
        for other in [&b, &near] {
            let same = matches!(
                (Url::parse(&a), Url::parse(other)),
                (Ok(a), Ok(b)) if a == b
            );
            if let (true, Ok(a), Ok(b)) = (same, canonical(&a), canonical(other)) {
                prop_assert_eq!(a, b);
            }
        }
    }

    #[test]
    fn what_comes_out_is_what_the_standard_says(text in any_url()) {
        if let Ok(url) = canonical(&text) {
            let mut expected = Url::parse(&text).unwrap();
            expected.set_fragment(None);
            let host = expected.host_str().unwrap().to_owned();
            let host = host.strip_suffix('.').unwrap_or(&host);
            expected.set_host(Some(host)).unwrap();
            prop_assert_eq!(url.as_str(), expected.as_str());
            let address: Option<std::net::Ipv4Addr> = host.parse().ok();
            if address.is_some() {
                prop_assert!(text.contains(host), "{} became {}", text, host);
            }
        }
    }
}
