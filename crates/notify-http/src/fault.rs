//! Why nothing came back.
//!
//! The client's error is taken apart and thrown away: it may hold the URL, whose
//! query may be a secret, or the address that a name resolved to. What is left is
//! a [`TransportError`], which has room for neither.

use std::error::Error;
use std::io::{self, ErrorKind};

use notify_core::TransportError;
use notify_core::transport::AddressRefused;

/// What an exchange died of before its answer's head was there.
pub(crate) fn of(error: &reqwest::Error, is_https: bool) -> TransportError {
    if error.is_builder() {
        return TransportError::Internal("the request could not be built".to_owned());
    }
    let mut ended_early = false;
    for cause in causes(error) {
        if let Some(&refused) = cause.downcast_ref::<AddressRefused>() {
            return TransportError::Refused(refused);
        }
        if cause.is::<rustls::Error>() {
            return TransportError::Tls;
        }
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            if is_out_of_descriptors(error) {
                return TransportError::Internal("too many open files".to_owned());
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

/// Our own shortage, which must not be charged to the receiver: `ENFILE` and
/// `EMFILE` have these numbers on every Unix.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

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
    fn only_a_shortage_of_descriptors_is_our_own() {
        let refused = io::Error::from(ErrorKind::ConnectionRefused);
        assert!(!is_out_of_descriptors(&refused));
        assert!(!is_out_of_descriptors(&io::Error::from_raw_os_error(111)));
        if cfg!(unix) {
            assert!(is_out_of_descriptors(&io::Error::from_raw_os_error(24)));
        }
    }
}
