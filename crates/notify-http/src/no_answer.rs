//! Why nothing came back.
//!
//! What the libraries say is taken apart and thrown away: it may hold the address
//! that a name resolved to, or what a receiver said. What is left is a
//! [`TransportError`], which has room for neither.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};

use notify_core::TransportError;
use notify_core::transport::AddressRefused;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct NoAnswer {
    pub(crate) error: TransportError,
    /// Whether this machine has run out of something of which idle connections have
    /// some.
    pub(crate) is_shortage: bool,
}

/// How far it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Finding the receiver and connecting to it.
    Connect,
    /// The handshake with whom is there.
    Tls,
    /// The request, and the head of its answer.
    Exchange,
}

impl NoAnswer {
    /// What an exchange died of before its answer's head was there.
    pub(crate) fn of(stage: Stage, error: &(dyn Error + 'static)) -> Self {
        let mut ended_early = false;
        for cause in causes(error) {
            if let Some(&refused) = cause.downcast_ref::<AddressRefused>() {
                return TransportError::Refused(refused).into();
            }
            if let Some(&ours) = cause.downcast_ref::<OurOwn>() {
                return ours.into();
            }
            if cause.is::<NameFailed>() {
                return TransportError::Dns.into();
            }
            if cause.is::<rustls::Error>() {
                return TransportError::Tls.into();
            }
            if let Some(error) = cause.downcast_ref::<io::Error>() {
                if let Some(ours) = own_shortage(error) {
                    return ours.into();
                }
                ended_early |= is_early_end(error);
            }
        }
        let error = match stage {
            Stage::Tls if ended_early => TransportError::Tls,
            Stage::Connect | Stage::Tls => TransportError::Connect,
            Stage::Exchange => TransportError::Http,
        };
        error.into()
    }
}

impl From<TransportError> for NoAnswer {
    fn from(error: TransportError) -> Self {
        Self {
            error,
            is_shortage: false,
        }
    }
}

impl From<OurOwn> for NoAnswer {
    fn from(ours: OurOwn) -> Self {
        Self {
            error: ours.into(),
            is_shortage: ours.is_held_by_connections(),
        }
    }
}

/// Whether HTTP/2 has given the request back as one that was not looked at
/// ([RFC 9113 §8.7](https://www.rfc-editor.org/rfc/rfc9113#section-8.7)).
pub(crate) fn is_unprocessed(error: &hyper::Error) -> bool {
    let http2 = causes(error).find_map(|cause| cause.downcast_ref::<h2::Error>());
    http2
        .filter(|error| error.is_remote())
        .is_some_and(|error| {
            error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR)
                || error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM)
        })
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

/// A name that did not resolve.
#[derive(Debug)]
pub(crate) struct NameFailed;

impl fmt::Display for NameFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name could not be resolved")
    }
}

impl Error for NameFailed {}

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
