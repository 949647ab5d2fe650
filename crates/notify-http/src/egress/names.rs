//! Which names are somebody's on the Internet, by their looks.
//!
//! What a name resolves to is judged in any case. But some names have a meaning of
//! their own in a network (`redis`, `kubernetes.default.svc`), and asking for them
//! already tells that it is there.

/// The rule that `name` breaks, if it looks like one of a network's own. It is in
/// lower case and without a dot at its end.
pub(super) fn broken_rule(name: &str) -> Option<&'static str> {
    if !name.contains('.') {
        return Some("single-label host");
    }
    let is_below = |suffix: &&str| {
        let above = name.strip_suffix(*suffix);
        above.is_some_and(|above| above.ends_with('.'))
    };
    FORBIDDEN_SUFFIXES
        .iter()
        .any(is_below)
        .then_some("forbidden suffix")
}

/// Names below these are never somebody's on the Internet.
///
/// Set apart by standards: RFC 6761 (`localhost`, `test`), RFC 6762 and its appendix G
/// (`local` and what networks use in place of it), RFC 7686 (`onion`), RFC 9476
/// (`alt`), ICANN's resolution of 29 July 2024 (`internal`), and the infrastructure of names itself (`arpa`, with `home.arpa`).
/// The others are used by schedulers of containers and by directories of services.
const FORBIDDEN_SUFFIXES: [&str; 19] = [
    "alt",
    "arpa",
    "cluster",
    "consul",
    "corp",
    "docker",
    "home",
    "internal",
    "intranet",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "nomad",
    "onion",
    "pod",
    "private",
    "svc",
    "test",
];
