//! Whether one customer's trouble touches another, for the bench `isolation`.
//!
//! **Cast.** [`receivers`], in a process of their own: as many hosts of loopback as
//! there are endpoints, of which some fall into [`Trouble`] when they are told to. The
//! [`load`]: events that come at a fixed rate, whatever becomes of those before, and
//! what the healthy endpoints see of it.
//!
//! **Fairness.** Runs without and with trouble take turns, each with a notifier of its
//! own. The rate is a share of what the same notifier delivered at most in the same
//! run of the bench. A lag is counted from when its event was to come, so that what is
//! late in being told is late too.

pub mod load;
pub mod receivers;

use std::net::Ipv4Addr;

pub use crate::delivery::Outcome;

/// How many endpoints there are.
pub const ENDPOINTS: u32 = 400;

/// What an endpoint falls into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It goes on as before.
    None,
    /// It takes requests and never answers.
    Hangs,
    /// It answers 500.
    Fails,
    /// Its name never resolves.
    HasNoName,
}

impl Trouble {
    /// What this endpoint falls into: of 400, 100 hang, 20 fail, 20 lose their names.
    pub const fn of(endpoint: u32) -> Self {
        match endpoint % 20 {
            0..=4 => Self::Hangs,
            5 => Self::Fails,
            6 => Self::HasNoName,
            _ => Self::None,
        }
    }

    /// The first part of the path at which such endpoints are.
    pub const fn path(self) -> &'static str {
        match self {
            Self::None => "/sound/",
            Self::Hangs => "/hangs/",
            Self::Fails => "/fails/",
            Self::HasNoName => "/no-name/",
        }
    }
}

const HOSTS_A_NET: u32 = 250;

/// The URL of an endpoint. Each has a host of its own, as customers do.
pub fn url(endpoint: u32, port: u16) -> String {
    let [.., high] = (endpoint / HOSTS_A_NET).to_be_bytes();
    let [.., low] = (endpoint % HOSTS_A_NET + 1).to_be_bytes();
    let host = Ipv4Addr::new(127, 1, high, low);
    let path = Trouble::of(endpoint).path();
    format!("http://{host}:{port}{path}{endpoint}")
}
