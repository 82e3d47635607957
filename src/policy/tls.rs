//! TLS settings, with certificates already loaded, so that a changed
//! certificate file is a changed configuration.
//!
//! The module `tls` makes the configurations of rustls from them. Files were
//! read, parsed, and checked to belong together before such a value exists, so
//! that only a handshake can fail.

use std::{fmt, sync::Arc};

use rustls::pki_types::CertificateDer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Acme, KeyedCertificate};

/// `[listeners.tls]`: the TLS that a listener speaks with clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// Certificates in the order of the file, the default first; at least one
    /// unless there is `acme`.
    pub certificates: Vec<KeyedCertificate>,
    /// The certificates that the gateway orders itself; `None` if it orders
    /// none.
    pub acme: Option<Acme>,
    /// The authorities that must have signed client certificates; `None` if
    /// clients show no certificate.
    pub client_ca: Option<Authorities>,
    /// The oldest version of TLS that is accepted.
    pub min_version: TlsVersion,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    #[serde(rename = "1.3")]
    Tls13,
}

/// `[upstreams.NAME.tls]`: the TLS that is spoken with the servers of an
/// upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The authorities that must have signed server certificates; `None` for
    /// those that the system trusts.
    pub ca: Option<Authorities>,
    /// The name that server certificates must be valid for; `None` for the host
    /// in each server's URL.
    pub server_name: Option<Arc<str>>,
    /// The certificate shown to servers that ask for one; `None` to show none.
    pub identity: Option<KeyedCertificate>,
}

/// Trusted certificates: of authorities, or of single peers that are trusted as
/// they are.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorities {
    /// At least one certificate, each checked to parse.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// Shows how many certificates there are, as their bytes say nothing to a
/// reader.
impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} certificates", self.certificates.len())
    }
}
