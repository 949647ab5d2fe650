//! `notify check-url`: whether webhooks may go to a URL, and why not.
//!
//! The verdict is the server's own: the same policy from the same settings, and the
//! same resolver. Nobody is connected to, and no address is shown.

use notify_core::transport::VetError;
use notify_core::{EndpointUrl, TransportError};
use notify_http::egress::Policy;
use notify_http::{HttpConfig, HttpTransport};
use notify_hub::EgressConfig;

use crate::exit::{Exit, Stop, block_on};
use crate::print;

/// What there is to say about a URL.
struct Verdict {
    line: String,
    exit: Exit,
}

/// Says whether webhooks may go to the URL that `text` names; whether its name may be
/// resolved for that.
pub(crate) fn run(text: &str, egress: &EgressConfig, resolves: bool) -> Result<Exit, Stop> {
    let policy = egress.policy().map_err(Stop::usage)?;
    let verdict = match policy.vet(text) {
        Ok(url) if resolves => resolved(&url, policy)?,
        Ok(url) => Verdict::allowed(&url),
        Err(VetError::Refused { url, refused }) => Verdict::refused(&url.to_string(), refused.rule),
        Err(VetError::Invalid(invalid)) => {
            Verdict::refused(text, &format!("{} ({invalid})", invalid.rule()))
        }
    };
    print::line(&print::escaped(&verdict.line));
    Ok(verdict.exit)
}

fn resolved(url: &EndpointUrl, policy: Policy) -> Result<Verdict, Stop> {
    let mut config = HttpConfig::default();
    config.egress = policy;
    let transport = HttpTransport::new(config).map_err(Stop::failure)?;
    match block_on(transport.check(url))? {
        Ok(()) => Ok(Verdict::allowed(url)),
        Err(TransportError::Refused(refused)) => {
            Ok(Verdict::refused(&url.to_string(), refused.rule))
        }
        Err(error) => Err(Stop::failure(format!("{url}: {error}"))),
    }
}

impl Verdict {
    fn allowed(url: &EndpointUrl) -> Self {
        Self {
            line: format!("allowed: {url}"),
            exit: Exit::Success,
        }
    }

    fn refused(url: &str, rule: &str) -> Self {
        Self {
            line: format!("not allowed: {url}: {rule}"),
            exit: Exit::Failure,
        }
    }
}
