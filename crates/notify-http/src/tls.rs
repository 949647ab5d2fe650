//! Whom we trust: the system's roots, and those that the operator adds.
//!
//! The provider of cryptography is named here. A library that installs one for
//! the whole process, or that needs somebody else to have done so, breaks
//! whatever else is linked into that process.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use crate::config::HttpConfigInvalid;

/// The protocols offered by ALPN, the preferred one first.
const ALPN_PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// TLS 1.2 and 1.3, ring, the system's verifier.
pub(crate) fn client_config(
    extra_roots_pem: Option<&[u8]>,
) -> Result<ClientConfig, HttpConfigInvalid> {
    let extra_roots = extra_roots_pem.map(parse_roots).transpose()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| HttpConfigInvalid::Unavailable(error.to_string()))?;

    let verifier = Verifier::new_with_extra_roots(extra_roots.into_iter().flatten(), provider);
    let builder = match verifier {
        Ok(verifier) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier)),
        // A small container image may have no roots at all. Receivers without
        // TLS can be told all the same, so this is no reason not to start;
        // every handshake fails instead.
        Err(error) => {
            tracing::warn!(%error, "no root certificates: webhooks to https URLs will fail");
            builder.with_root_certificates(RootCertStore::empty())
        }
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = ALPN_PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

/// Every certificate in `pem`, which must be at least one; each must be readable.
fn parse_roots(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, HttpConfigInvalid> {
    let roots = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| HttpConfigInvalid::ExtraRoots)?;
    let mut readable = RootCertStore::empty();
    for root in &roots {
        readable
            .add(root.clone())
            .map_err(|_| HttpConfigInvalid::ExtraRoots)?;
    }
    if readable.is_empty() {
        return Err(HttpConfigInvalid::ExtraRoots);
    }
    Ok(roots)
}
