//! Endpoints: one by its URL, with its secrets.

use std::time::Duration;

use notify_core::endpoint::{Endpoint, EventFilter};
use notify_core::{EndpointId, EndpointUrl, Keyring, Secret, Timestamp};

use super::Model;

/// A job's wish to tell an endpoint.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Where it is.
    pub url: EndpointUrl,
    /// What it asks for.
    pub filter: EventFilter,
    /// The secret that it is said to have.
    pub secret: Option<Secret>,
    /// The secret that it is given if it has none and none is said.
    pub secret_if_new: Option<Secret>,
}

/// Why a registration or a change of an endpoint is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The job has a token.
    JobExists,
    /// The endpoint has another secret than was said.
    SecretConflict,
    /// There is no such endpoint.
    NoEndpoint,
    /// The endpoint has two active secrets.
    RotationInProgress,
}

impl Model {
    /// One endpoint.
    pub fn endpoint(&self, id: EndpointId) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.id == id)
    }

    /// The endpoint at this URL.
    pub fn endpoint_at(&self, url: &EndpointUrl) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.url == *url)
    }

    /// Says whether deliveries are attempted; the endpoint afterwards.
    pub fn enable(&mut self, now: Timestamp, id: EndpointId, enabled: bool) -> Option<&Endpoint> {
        let endpoint = self.endpoints.iter_mut().find(|it| it.id == id)?;
        endpoint.enabled = enabled;
        if !enabled && endpoint.sick_since.is_none() {
            endpoint.sick_since = Some(now);
        }
        Some(endpoint)
    }

    /// Says how an endpoint is. One that is disabled is sick for as long as it is.
    pub fn examine(&mut self, now: Timestamp, id: EndpointId, is_sick: bool) {
        let Some(endpoint) = self.endpoints.iter_mut().find(|it| it.id == id) else {
            return;
        };
        if is_sick {
            // Not since a time that is yet to come.
            let since = endpoint.sick_since.unwrap_or(now);
            endpoint.sick_since = Some(since.min(now));
        } else if endpoint.enabled && endpoint.sick_since.is_some() {
            endpoint.sick_since = None;
            endpoint.well_since = Some(now);
        }
    }

    /// Gives it another secret; the one before is active for a while. Up to two are,
    /// and the same one again changes nothing. The endpoint afterwards.
    pub fn rotate(
        &mut self,
        now: Timestamp,
        id: EndpointId,
        secret: Secret,
        expire_old_after: Duration,
    ) -> Result<&Endpoint, Refusal> {
        let endpoint = self.endpoints.iter_mut().find(|it| it.id == id);
        let endpoint = endpoint.ok_or(Refusal::NoEndpoint)?;
        let old = endpoint.keyring.as_ref().map(|own| own.newest().clone());
        let until = endpoint.keyring.as_ref().and_then(|own| own.previous()?.1);
        match old {
            Some(old) if old == secret => {}
            _ if until.is_some_and(|until| now < until) => {
                return Err(Refusal::RotationInProgress);
            }
            Some(old) => {
                let until = now.plus(expire_old_after);
                endpoint.keyring = Some(Keyring::rotating(secret, old, Some(until)));
            }
            None => endpoint.keyring = Some(Keyring::new(secret)),
        }
        Ok(endpoint)
    }

    /// Makes the endpoint if it is new, and gives it a secret if it has none. Says
    /// whether that was the one for new ones.
    pub(super) fn grant(&mut self, wish: &Wish, id: EndpointId) -> Result<bool, Refusal> {
        let known = self.endpoint_at(&wish.url);
        let own = known.and_then(|endpoint| endpoint.keyring.as_ref());
        if let (Some(_), Some(said)) = (known, &wish.secret) {
            // One that is signed for with the operator's secret has another one too.
            return match own {
                Some(own) if own.newest() == said => Ok(false),
                _ => Err(Refusal::SecretConflict),
            };
        }
        let given = match own {
            Some(_) => None,
            None => wish.secret.as_ref().or(wish.secret_if_new.as_ref()),
        };
        let endpoint = self.endpoint_or_new(&wish.url, id);
        if let Some(secret) = given {
            endpoint.keyring = Some(Keyring::new(secret.clone()));
        }
        Ok(given.is_some() && wish.secret.is_none())
    }

    pub(super) fn endpoint_or_new(&mut self, url: &EndpointUrl, id: EndpointId) -> &mut Endpoint {
        let at = self.endpoints.iter().position(|it| it.url == *url);
        let at = at.unwrap_or_else(|| {
            self.endpoints.push(Endpoint {
                id,
                url: url.clone(),
                keyring: None,
                enabled: true,
                sick_since: None,
                well_since: None,
            });
            self.endpoints.len() - 1
        });
        &mut self.endpoints[at]
    }
}
