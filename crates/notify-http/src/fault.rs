//! Why nothing came back.
//!
//! The client's error is taken apart and thrown away: it may hold the URL, whose
//! query may be a secret, or the address that a name resolved to. What is left is
//! a [`TransportError`], which has room for neither.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};

use notify_core::TransportError;
use notify_core::transport::AddressRefused;

/// What an exchange died of before its answer's head was there.
pub(crate) fn of(error: &reqwest::Error, is_https: bool) -> TransportError {
    if error.is_builder() {
        return OurOwn("the request could not be built").into();
    }
    let mut ended_early = false;
    for cause in causes(error) {
        if let Some(&refused) = cause.downcast_ref::<AddressRefused>() {
            return TransportError::Refused(refused);
        }
        if let Some(&ours) = cause.downcast_ref::<OurOwn>() {
            return ours.into();
        }
        if cause.is::<rustls::Error>() {
            return TransportError::Tls;
        }
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            if let Some(ours) = own_shortage(error) {
                return ours.into();
            }
            ended_early |= is_early_end(error);
        }
    }
    if error.is_dns() {
        TransportError::Dns
    } else if error.is_connect() {
        // There was a connection, or it could not have ended; so it was the
        // handshake that the other side cut short.
        if is_https && ended_early {
            TransportError::Tls
        } else {
            TransportError::Connect
        }
    } else {
        TransportError::Http
    }
}

/// The error, its cause, its cause's cause and so on.
///
/// An [`io::Error`] that wraps another error names as its source the *source* of
/// that one, so a plain walk along the sources would leave it out.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>().map(io::Error::get_ref) {
            Some(Some(wrapped)) => Some(wrapped as &(dyn Error + 'static)),
            _ => error.source(),
        }
    })
}

/// Our own failure, which must not be charged to the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OurOwn(pub(crate) &'static str);

impl fmt::Display for OurOwn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for OurOwn {}

impl OurOwn {
    const FILES: Self = Self("too many open files");
    const MEMORY: Self = Self("no memory");
    const BUFFERS: Self = Self("no buffers");

    /// Whether this machine has run out of something that idle connections hold.
    fn is_held_by_connections(self) -> bool {
        matches!(self, Self::FILES | Self::MEMORY | Self::BUFFERS)
    }
}

/// Whether the exchange died because this machine has run out of something of which
/// idle connections have some.
pub(crate) fn is_shortage(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| {
        let ours = cause.downcast_ref::<OurOwn>().copied();
        let ours = ours.or_else(|| own_shortage(cause.downcast_ref()?));
        ours.is_some_and(OurOwn::is_held_by_connections)
    })
}

impl From<OurOwn> for TransportError {
    fn from(ours: OurOwn) -> Self {
        Self::Internal(ours.0.to_owned())
    }
}

/// What this machine has run out of, if that is what failed.
///
/// No answer and no address can make these happen; `EADDRNOTAVAIL` also says that
/// this machine has no address of the receiver's kind (IPv6) at all. What a
/// firewall of ours says (`EACCES`, `EPERM`) is not among them: the same comes of a
/// URL that names a broadcast address.
pub(crate) fn own_shortage(error: &io::Error) -> Option<OurOwn> {
    if matches!(
        error.kind(),
        ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse
    ) {
        return Some(OurOwn("no local port"));
    }
    if error.kind() == ErrorKind::OutOfMemory {
        return Some(OurOwn::MEMORY);
    }
    match error.raw_os_error().filter(|_| cfg!(unix)) {
        // `ENFILE` and `EMFILE` have these numbers on every Unix.
        Some(23 | 24) => Some(OurOwn::FILES),
        Some(ENOBUFS) => Some(OurOwn::BUFFERS),
        _ => None,
    }
}

const ENOBUFS: i32 = if cfg!(target_os = "linux") { 105 } else { 55 };

fn is_early_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_inside_an_io_error_is_found() {
        let refused = AddressRefused {
            rule: "forbidden ip",
        };
        let wrapped = io::Error::other(io::Error::other(refused));
        let found = causes(&wrapped).find_map(|cause| cause.downcast_ref::<AddressRefused>());
        assert_eq!(found, Some(&refused));
    }

    #[test]
    fn what_this_machine_has_run_out_of_is_our_own() {
        let text = |error: &io::Error| own_shortage(error).map(|ours| ours.0);
        if cfg!(target_os = "linux") {
            for (code, expected) in [
                (12, "no memory"),
                (23, "too many open files"),
                (24, "too many open files"),
                (98, "no local port"),
                (99, "no local port"),
                (105, "no buffers"),
            ] {
                let error = io::Error::from_raw_os_error(code);
                assert_eq!(text(&error), Some(expected), "{error}");
            }
            // Access denied, unreachable, reset, timed out, refused.
            for code in [1, 13, 101, 104, 110, 111, 113] {
                assert_eq!(text(&io::Error::from_raw_os_error(code)), None);
            }
        }
        assert_eq!(text(&ErrorKind::ConnectionRefused.into()), None);
    }
}
