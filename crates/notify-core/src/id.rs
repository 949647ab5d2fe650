//! The ids. Each noun has a type of its own, so that no two can be mixed up.
//!
//! Random ids are made from numbers that the caller draws: the core has no
//! randomness of its own.

mod idempotency;
mod job;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use idempotency::{IdempotencyKey, IdempotencyKeyInvalid};
pub use job::{JobId, JobIdInvalid};

/// Names one incarnation of a job's log: 12 random characters of `[a-z0-9]`.
///
/// A job that was forgotten and begins anew gets a new epoch, so an old cursor
/// can never be taken for a position in the new log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch([u8; Self::BYTES]);

impl Epoch {
    const BYTES: usize = 12;

    /// A fresh epoch from a random number.
    pub fn from_random(random: u128) -> Self {
        Self(base36(random))
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; Self::BYTES] = text.as_bytes().try_into().ok()?;
        bytes
            .iter()
            .all(|byte| ALPHABET.contains(byte))
            .then_some(Self(bytes))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_ascii(&self.0, f)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Epoch {
    type Err = IdInvalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text).ok_or(IdInvalid)
    }
}

/// Names one event through every door: `<epoch>-<sequence>`.
///
/// It is the webhook's `webhook-id`, the stream's `id:`, the poll cursor and the
/// `id` in the payload.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    epoch: Epoch,
    sequence: u64,
}

impl EventId {
    /// The event of `epoch` with this sequence (1, 2, 3, …).
    pub const fn new(epoch: Epoch, sequence: u64) -> Self {
        Self { epoch, sequence }
    }

    /// Which incarnation of the job's log.
    pub const fn epoch(self) -> Epoch {
        self.epoch
    }

    /// The position in the job's log: 1, 2, 3, … without gaps.
    pub const fn sequence(self) -> u64 {
        self.sequence
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.sequence)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EventId {
    type Err = IdInvalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (epoch, sequence) = text.split_once('-').ok_or(IdInvalid)?;
        let canonical =
            sequence.bytes().all(|byte| byte.is_ascii_digit()) && !sequence.starts_with('0');
        let sequence = sequence
            .parse()
            .ok()
            .filter(|_| canonical)
            .ok_or(IdInvalid)?;
        Ok(Self::new(epoch.parse()?, sequence))
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! prefixed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Prefixed);

        impl $name {
            /// A fresh id from a random number.
            pub fn from_random(random: u128) -> Self {
                Self(Prefixed::new(random))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                write_ascii(&self.0.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdInvalid;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Prefixed::parse(text, $prefix).map(Self).ok_or(IdInvalid)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

prefixed_id! {
    /// Names one delivery (one event for one endpoint): `dlv_` and 20 of `[a-z0-9]`.
    DeliveryId, "dlv_"
}

prefixed_id! {
    /// Names one endpoint (one receiver): `ep_` and 20 of `[a-z0-9]`.
    EndpointId, "ep_"
}

impl EndpointId {
    /// The endpoint that was made for this delivery, the first to its URL.
    pub fn first_of(delivery: DeliveryId) -> Self {
        Self(delivery.0)
    }
}

impl DeliveryId {
    /// The delivery of `event` to the job's own endpoint (`target` 0) or to the
    /// one that the event itself names (1). It says where the delivery stands: 12
    /// characters of the epoch, 7 of the sequence in base 36, 1 of the target.
    pub fn of(event: EventId, target: u8) -> Self {
        let mut text = [b'0'; Prefixed::BYTES];
        let (epoch, rest) = text.split_at_mut(Epoch::BYTES);
        epoch.copy_from_slice(&event.epoch.0);
        // The least significant digit first, as `base36` has them.
        let sequence: [u8; 7] = base36(event.sequence.into());
        let digits = sequence.into_iter().rev().chain(base36::<1>(target.into()));
        for (place, digit) in rest.iter_mut().zip(digits) {
            *place = digit;
        }
        Self(Prefixed(text))
    }

    /// The event and the target that this is the id [of](Self::of). One that was drawn
    /// at random says something too; no epoch but by chance is the one that it says.
    pub fn place(self) -> (EventId, u8) {
        let (epoch, rest) = self.0.0.split_first_chunk().unwrap_or((&[b'0'; 12], &[]));
        let (target, sequence) = rest.split_last().unwrap_or((&b'0', &[]));
        let value = |digit: &u8| char::from(*digit).to_digit(36).unwrap_or_default();
        let digits = sequence.iter().map(|digit| u64::from(value(digit)));
        let sequence = digits.fold(0, |sum, digit| sum * 36 + digit);
        let target = u8::try_from(value(target)).unwrap_or_default();
        (EventId::new(Epoch(*epoch), sequence), target)
    }
}

/// The text is no id of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdInvalid;

impl fmt::Display for IdInvalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an id of this kind")
    }
}

impl std::error::Error for IdInvalid {}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Prefixed([u8; Self::BYTES]);

impl Prefixed {
    const BYTES: usize = 20;

    fn new(random: u128) -> Self {
        Self(base36(random))
    }

    fn parse(text: &str, prefix: &str) -> Option<Self> {
        let bytes: [u8; Self::BYTES] = text.strip_prefix(prefix)?.as_bytes().try_into().ok()?;
        bytes
            .iter()
            .all(|byte| ALPHABET.contains(byte))
            .then_some(Self(bytes))
    }

    fn text(self, prefix: &str) -> String {
        prefix
            .chars()
            .chain(self.0.iter().map(|&byte| char::from(byte)))
            .collect()
    }
}

const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// `N` characters of base 36. 36^20 is about 2^103, so 128 random bits leave no
/// bias that matters.
fn base36<const N: usize>(mut random: u128) -> [u8; N] {
    [(); N].map(|()| {
        let digit = usize::try_from(random % 36).unwrap_or_default();
        random /= 36;
        ALPHABET.get(digit).copied().unwrap_or(b'0')
    })
}

fn write_ascii(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(std::str::from_utf8(bytes).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn event_ids_have_one_spelling() {
        let id: EventId = "k3f9a2m7q1xz-12".parse().unwrap();
        assert_eq!(id.sequence(), 12);
        for bad in [
            "",
            "-",
            "k3f9a2m7q1xz",
            "k3f9a2m7q1xz-",
            "k3f9a2m7q1xz-0",
            "k3f9a2m7q1xz-012",
            "k3f9a2m7q1xz-+1",
            "K3f9a2m7q1xz-1",
            "k3f9a2m7q1x-1",
            "k3f9a2m7q1xz-18446744073709551616",
            "k3f9a2m7q1xz-1 ",
        ] {
            assert_eq!(bad.parse::<EventId>(), Err(IdInvalid), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn random_ids_read_back(random: u128, sequence in 1u64..) {
            let id = EventId::new(Epoch::from_random(random), sequence);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            let delivery = DeliveryId::from_random(random);
            prop_assert_eq!(delivery.to_string().parse(), Ok(delivery));
            prop_assert!(JobId::parse(JobId::from_random(random).as_str()).is_ok());
        }

        #[test]
        fn a_delivery_id_says_where_it_stands(random: u128, sequence in 1..36u64.pow(7)) {
            let event = EventId::new(Epoch::from_random(random), sequence);
            let text = DeliveryId::of(event, 1).to_string();
            prop_assert_eq!(&text[4..16], event.epoch().to_string());
            prop_assert_eq!(u64::from_str_radix(&text[16..23], 36), Ok(sequence));
            prop_assert_eq!(&text[23..], "1");
        }

        #[test]
        fn where_a_delivery_stands_is_read_from_its_id(
            random: u128, sequence in 1..36u64.pow(7), target in 0u8..36,
        ) {
            let event = EventId::new(Epoch::from_random(random), sequence);
            prop_assert_eq!(DeliveryId::of(event, target).place(), (event, target));
            // Any id says something, and it is the only one that says so.
            let id = DeliveryId::from_random(random);
            let (event, target) = id.place();
            prop_assert_eq!(DeliveryId::of(event, target), id);
        }

        #[test]
        fn parsers_take_any_text(text: String) {
            let _ = JobId::parse(&text);
            let _ = text.parse::<EventId>();
            let _ = text.parse::<DeliveryId>();
            let _ = IdempotencyKey::parse(&text);
        }
    }
}
