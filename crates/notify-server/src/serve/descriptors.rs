//! Files that may be open at a time, and what they are for.
//!
//! Every connection is one, to a receiver or from a caller, and so are the files
//! of the store. What deliveries, the store and the operator's API need is set
//! aside first; only what is left is for those who connect. Where there is less
//! than that takes, all of it is made smaller, so that what was set aside is
//! there when it is needed.

/// Kept beside deliveries: the store's files, the listener, the runtime's own, and
/// one connection that waits for its seat.
const RESERVE: usize = 64;

/// As many of those as are needed however few there are.
const RESERVE_MIN: usize = 40;

/// Connections that are kept for the next webhook.
const IDLE_POOLED_MAX: usize = 256;

/// Connections beside those that hold a stream.
const BESIDE_STREAMS: usize = 1_024;

/// What may be open at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptors {
    /// Attempts in flight.
    pub(super) in_flight_max: usize,
    /// Connections that are kept for the next webhook.
    pub(super) idle_pooled_max: usize,
    /// For everything that is no connection.
    pub(super) reserve: usize,
    /// Connections from outside, streams among them.
    pub(super) connections_max: usize,
    /// Connections that hold a stream.
    pub(super) streams_max: usize,
    /// Whether the limit leaves less than was asked for to deliveries.
    pub(super) is_scaled: bool,
}

impl Descriptors {
    /// Divides `limit` among those who need it, as far as they ask for it.
    pub(super) fn divide(limit: usize, in_flight_max: usize, streams_max: usize) -> Self {
        let wanted = in_flight_max + IDLE_POOLED_MAX + RESERVE;
        // A quarter, at least, is for those who connect.
        let kept_max = limit / 4 * 3;
        let is_scaled = wanted > kept_max;
        let (in_flight_max, idle_pooled_max, reserve) = match is_scaled {
            false => (in_flight_max, IDLE_POOLED_MAX, RESERVE),
            true => {
                let reserve = (RESERVE * kept_max / wanted).max(RESERVE_MIN);
                let left = kept_max.saturating_sub(reserve);
                let pair = in_flight_max + IDLE_POOLED_MAX;
                let in_flight = (in_flight_max * left / pair).max(1);
                (in_flight, left.saturating_sub(in_flight), reserve)
            }
        };
        let kept = in_flight_max + idle_pooled_max + reserve;
        let connections_max = limit
            .saturating_sub(kept)
            .clamp(1, streams_max.saturating_add(BESIDE_STREAMS));
        Self {
            in_flight_max,
            idle_pooled_max,
            reserve,
            connections_max,
            // Of these, a quarter is for calls.
            streams_max: streams_max.min(connections_max / 4 * 3),
            is_scaled,
        }
    }
}

/// Raises the limit as far as this process may, and tells it.
#[cfg(unix)]
pub(super) fn raise_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    // Some systems name a higher one than they grant; this much they do.
    const GRANTED: u64 = 10_240;
    let before = getrlimit(Resource::Nofile);
    let hard = before.maximum.unwrap_or(u64::MAX);
    let soft = before.current.unwrap_or(u64::MAX);
    let raise_to = |limit: u64| {
        let wanted = Rlimit {
            current: Some(limit),
            maximum: before.maximum,
        };
        setrlimit(Resource::Nofile, wanted).ok().map(|()| limit)
    };
    let raised = [hard, hard.min(GRANTED)]
        .into_iter()
        .filter(|&limit| limit > soft)
        .find_map(raise_to);
    usize::try_from(raised.unwrap_or(soft)).unwrap_or(usize::MAX)
}

/// Elsewhere there is no such limit.
#[cfg(not(unix))]
pub(super) fn raise_limit() -> usize {
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAMS: usize = 16_000;

    #[test]
    fn with_room_for_all_everyone_gets_what_he_asks_for() {
        for limit in [20_000, 1 << 20, usize::MAX] {
            let divided = Descriptors::divide(limit, 512, STREAMS);
            assert_eq!((divided.in_flight_max, divided.reserve), (512, 64));
            assert_eq!(
                (divided.idle_pooled_max, divided.streams_max),
                (256, 12_768)
            );
            assert_eq!(divided.connections_max, 17_024);
            assert!(!divided.is_scaled);
        }
    }

    #[test]
    fn a_smaller_limit_leaves_less_to_strangers_first() {
        let divided = Descriptors::divide(2_048, 512, STREAMS);
        assert_eq!(divided.connections_max, 2_048 - 512 - 256 - 64);
        assert!(!divided.is_scaled);
    }

    #[test]
    fn under_a_small_limit_all_are_scaled() {
        let divided = Descriptors::divide(256, 512, STREAMS);
        let expected = Descriptors {
            in_flight_max: 101,
            idle_pooled_max: 51,
            reserve: 40,
            connections_max: 64,
            streams_max: 48,
            is_scaled: true,
        };
        assert_eq!(divided, expected);
    }

    #[test]
    fn what_is_given_out_is_never_more_than_there_is() {
        for limit in (64..20_000).step_by(7) {
            for in_flight in [1, 8, 512, 10_000] {
                let divided = Descriptors::divide(limit, in_flight, STREAMS);
                let sum = divided.in_flight_max
                    + divided.idle_pooled_max
                    + divided.reserve
                    + divided.connections_max;
                assert!(sum <= limit, "{limit}: {divided:?}");
                assert!(divided.in_flight_max <= in_flight && divided.in_flight_max > 0);
                assert!(divided.idle_pooled_max <= IDLE_POOLED_MAX);
                assert!(divided.streams_max < divided.connections_max);
            }
        }
    }
}
