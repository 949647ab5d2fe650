//! Why a request gets no stream.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use notify_hub::NotifyError;

use crate::answer::ErrorAnswer;

/// A request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It shows no credentials.
    CredentialsMissing,
    /// What it shows opens no such stream. Which of token, job and job id is at
    /// fault is not said, so that nobody can find out which jobs exist.
    Forbidden,
    /// There are too many streams.
    Overloaded {
        /// When it may be worth another try.
        retry_after: Duration,
    },
    /// It can't be read, and asking again won't help.
    Broken {
        /// The reason, by its name on the wire.
        code: &'static str,
    },
    /// The hub takes no calls now.
    Unavailable {
        /// The reason, by its name on the wire.
        code: &'static str,
    },
}

impl From<NotifyError> for Refusal {
    fn from(error: NotifyError) -> Self {
        match error {
            NotifyError::JobId(_) => Self::Forbidden,
            NotifyError::Overloaded { retry_after } => Self::Overloaded { retry_after },
            NotifyError::StoreFull | NotifyError::StoreFailed | NotifyError::OutcomeUnknown => {
                Self::Unavailable { code: error.code() }
            }
            NotifyError::RowDamaged(_) | NotifyError::Internal => {
                Self::Broken { code: error.code() }
            }
            // A wrong setting is the operator's business, not the reader's.
            _ => Self::NOT_READY,
        }
    }
}

impl Refusal {
    /// The hub has not begun, or is shutting down.
    pub(crate) const NOT_READY: Self = Self::Unavailable { code: "not_ready" };

    fn status(self) -> StatusCode {
        match self {
            Self::CredentialsMissing => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Broken { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Overloaded { .. } | Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::CredentialsMissing => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Overloaded { .. } => "overloaded",
            Self::Broken { code } | Self::Unavailable { code } => code,
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::CredentialsMissing => "send Authorization: Bearer and the job's token",
            Self::Forbidden => "this token opens no such stream",
            Self::Overloaded { .. } => "there are too many streams; try again later",
            Self::Broken { .. } => "this stream can't be read",
            Self::Unavailable { .. } => "the service is not available; try again later",
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response<Body> {
        let answer = ErrorAnswer::new(self.status(), self.code(), self.message());
        let answer = match self {
            Self::CredentialsMissing => answer.asking_for_bearer(),
            Self::Overloaded { retry_after } => answer.retry_after(retry_after),
            Self::Forbidden | Self::Broken { .. } | Self::Unavailable { .. } => answer,
        };
        answer.into_response()
    }
}

#[cfg(test)]
mod tests {
    use notify_core::JobId;

    use super::*;

    #[test]
    fn a_malformed_job_id_is_like_any_wrong_token() {
        let malformed = JobId::parse("..").unwrap_err();
        let refusal = Refusal::from(NotifyError::from(malformed));
        assert_eq!(refusal, Refusal::Forbidden);
    }

    #[test]
    fn what_stays_broken_is_not_called_unavailable() {
        let damaged = Refusal::from(NotifyError::RowDamaged("a row".to_owned()));
        assert_eq!(damaged.code(), "row_damaged");
        assert_eq!(damaged.into_response().status(), 500);
        let bug = Refusal::from(NotifyError::Internal);
        assert_eq!((bug.code(), bug.status().as_u16()), ("internal", 500));
    }

    #[test]
    fn a_failed_store_is_named_and_anything_else_is_not_ready() {
        let failed = Refusal::from(NotifyError::StoreFailed);
        assert_eq!(failed.code(), "store_failed");
        assert_eq!(
            Refusal::from(NotifyError::NotReady("x")),
            Refusal::NOT_READY
        );
        assert_eq!(
            Refusal::from(NotifyError::SigningSecretMissing),
            Refusal::NOT_READY
        );
    }
}
