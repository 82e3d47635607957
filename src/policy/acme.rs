//! `[listeners.tls] acme`: certificates that the gateway orders itself.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Authorities;

/// The certificates that a listener's gateway orders from an ACME authority
/// (RFC 8555), one for each domain.
///
/// No two listeners have one domain with other settings, so that a domain alone
/// tells which certificate is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// Host names in lower case, without `*` and without a final dot; at least
    /// one, none twice.
    pub domains: Arc<[Box<str>]>,
    /// The address of the people behind the account; `None` if the account has
    /// none.
    pub email: Option<Arc<str>>,
    /// The URL of the authority's directory, with `https`.
    pub directory: Arc<str>,
    /// The authorities that the server of the directory is verified by; `None`
    /// for those that the system trusts.
    pub ca: Option<Authorities>,
    /// How the authority is shown that the domains are ours.
    pub challenge: AcmeChallenge,
}

/// How an ACME authority is shown that a domain belongs to this gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
pub enum AcmeChallenge {
    /// By a certificate in a handshake on port 443 (RFC 8737).
    #[default]
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// By a response on port 80 (RFC 8555, 8.3).
    #[serde(rename = "http-01")]
    Http01,
}
