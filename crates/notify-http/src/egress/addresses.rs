//! Which addresses are public.
//!
//! IPv4 has few ranges for special purposes, and all others are in use, so these are
//! listed. Of IPv6 only an eighth is given out at all, and new ways to carry an IPv4
//! address inside of it were found again and again, so there it is the other way
//! round: what is not known to be public is not.
//!
//! Sources: the registries of special-purpose addresses at IANA
//! ([IPv4](https://www.iana.org/assignments/iana-ipv4-special-registry/),
//! [IPv6](https://www.iana.org/assignments/iana-ipv6-special-registry/)), and of IPv6
//! global unicast
//! ([RFC 4291 §2.4](https://www.rfc-editor.org/rfc/rfc4291#section-2.4)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// Whether anyone on the Internet may be there.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !SPECIAL_IPV4.iter().any(|range| range.contains(&address)),
        IpAddr::V6(address) => {
            GLOBAL_UNICAST.contains(&address)
                && !SPECIAL_IPV6.iter().any(|range| range.contains(&address))
                && isatap(address).is_none()
        }
    }
}

/// The IPv4 address that packets to this one may end at: somewhere on their way the
/// one is made of the other.
pub(super) fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [_, high, low, _, _, _, a, b] = address.segments();
    if MAPPED.contains(&address) || TRANSLATED.contains(&address) || NAT64.contains(&address) {
        return Some(ipv4(a, b));
    }
    if SIX_TO_FOUR.contains(&address) {
        return Some(ipv4(high, low));
    }
    if TEREDO.contains(&address) {
        // The client's, in disguise (RFC 4380 §4).
        return Some(ipv4(!a, !b));
    }
    isatap(address)
}

/// The address inside an interface identifier of
/// [RFC 5214 §6.1](https://www.rfc-editor.org/rfc/rfc5214#section-6.1), behind
/// whatever prefix.
fn isatap(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., flags, 0x5efe, high, low] = address.segments() else {
        return None;
    };
    // The first may have its bit for "universal" set, and then its one for "group".
    let is_isatap = flags & !0x0300 == 0;
    is_isatap.then(|| ipv4(high, low))
}

fn ipv4(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// All of the registry, those that can be reached included: nobody's receiver is at
/// any of them.
const SPECIAL_IPV4: [Ipv4Net; 19] = [
    v4(0, 0, 0, 0, 8),        // this network
    v4(10, 0, 0, 0, 8),       // private
    v4(100, 64, 0, 0, 10),    // carriers' NAT
    v4(127, 0, 0, 0, 8),      // this machine
    v4(168, 63, 129, 16, 32), // Azure's services of the host, though a public one
    v4(169, 254, 0, 0, 16),   // link-local: the metadata of clouds
    v4(172, 16, 0, 0, 12),    // private
    v4(192, 0, 0, 0, 24),     // protocol assignments
    v4(192, 0, 2, 0, 24),     // documentation
    v4(192, 31, 196, 0, 24),  // AS112
    v4(192, 52, 193, 0, 24),  // AMT
    v4(192, 88, 99, 0, 24),   // 6to4 relays
    v4(192, 168, 0, 0, 16),   // private
    v4(192, 175, 48, 0, 24),  // AS112
    v4(198, 18, 0, 0, 15),    // benchmarks
    v4(198, 51, 100, 0, 24),  // documentation
    v4(203, 0, 113, 0, 24),   // documentation
    v4(224, 0, 0, 0, 4),      // multicast
    v4(240, 0, 0, 0, 4),      // reserved, and broadcast
];

const GLOBAL_UNICAST: Ipv6Net = v6(0x2000, 0, 0, 3);

/// Those within global unicast.
const SPECIAL_IPV6: [Ipv6Net; 6] = [
    v6(0x2001, 0, 0, 23),     // protocol assignments: Teredo, ORCHID, benchmarks, …
    v6(0x2001, 0xdb8, 0, 32), // documentation
    SIX_TO_FOUR,
    v6(0x2620, 0x4f, 0x8000, 48), // AS112
    v6(0x3ffe, 0, 0, 16),         // the 6bone, which was given back
    v6(0x3fff, 0, 0, 20),         // documentation
];

const SIX_TO_FOUR: Ipv6Net = v6(0x2002, 0, 0, 16);
const TEREDO: Ipv6Net = v6(0x2001, 0, 0, 32);

/// An IPv4 address as IPv6 has it
/// ([RFC 4291 §2.5.5.2](https://www.rfc-editor.org/rfc/rfc4291#section-2.5.5.2)).
const MAPPED: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96);

/// As a stateless translator has it
/// ([RFC 2765 §2.1](https://www.rfc-editor.org/rfc/rfc2765#section-2.1)).
const TRANSLATED: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96);

/// The well-known prefix of translators
/// ([RFC 6052 §2.1](https://www.rfc-editor.org/rfc/rfc6052#section-2.1)). Where a
/// network has one of its own, only its operator knows.
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);
