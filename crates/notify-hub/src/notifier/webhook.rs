//! Webhooks as callers name them: where they may be sent.

use notify_core::endpoint::EventFilter;
use notify_core::store::{RegisterWebhook, Webhook};
use notify_core::transport::VetError;
use notify_core::{DeadReason, EndpointUrl, Secret};

use super::WebhookSpec;
use crate::engine::Engine;
use crate::error::NotifyError;
use crate::random;

/// What is wrong with a webhook never costs the event: services pass on what a
/// customer typed.
pub(super) fn judged(engine: &Engine, url: &str) -> Webhook {
    match engine.vet(url) {
        Ok(url) => Webhook::To(url),
        Err(VetError::Refused { url, .. }) => Webhook::Refused {
            url: url.as_str().to_owned(),
            reason: DeadReason::AddressRefused,
        },
        Err(VetError::Invalid(_)) => Webhook::Refused {
            url: shown(url),
            reason: DeadReason::UrlInvalid,
        },
    }
}

/// A text as it may be shown anywhere: bounded, control characters escaped.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    for escaped in text.chars().map(shown_char) {
        if shown.len() + escaped.len() > EndpointUrl::BYTES_MAX {
            break;
        }
        shown.push_str(&escaped);
    }
    shown
}

/// A character as it may be shown anywhere.
fn shown_char(c: char) -> String {
    if c.is_control() {
        c.escape_default().collect()
    } else {
        c.into()
    }
}

/// What a registration asks for, if it may be: here what is wrong is said aloud.
pub(super) fn to_register(
    engine: &Engine,
    spec: WebhookSpec,
) -> Result<RegisterWebhook, NotifyError> {
    let url = engine.vet(&spec.url)?;
    let secret = spec.secret.as_deref().map(Secret::parse).transpose()?;
    let has_global = engine.settings().keyring.is_some();
    let secret_if_new = match &secret {
        None if !has_global => Some(Secret::from_random(*random::secret_bytes()?)),
        _ => None,
    };
    let filter = spec.events.map_or(EventFilter::ALL, EventFilter::only);
    Ok(RegisterWebhook {
        url,
        filter,
        secret,
        secret_if_new,
    })
}
