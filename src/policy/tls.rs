//! TLS settings, with certificates already loaded, so that a changed
//! certificate file is a changed configuration.
//!
//! The module `tls` makes the configurations of rustls from them. Files were
//! read, parsed, and checked to belong together before such a value exists, so
//! that only a handshake can fail.

use std::{
    fmt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use rustls::{pki_types::CertificateDer, sign::CertifiedKey};

/// A certificate with less validity left than this is reported; automated
/// renewal happens well before.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// `[listeners.tls]`: the TLS that a listener speaks with clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// Certificates in the order of the file, the default first; at least one.
    pub certificates: Vec<KeyedCertificate>,
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

/// A certificate chain and its private key.
#[derive(Clone)]
pub struct KeyedCertificate {
    /// The chain and the key, checked to belong together.
    pub certified: Arc<CertifiedKey>,
    /// The names that the certificate is valid for, in lower case: hosts, `*.`
    /// patterns of one label, and IP addresses.
    pub names: Arc<[Box<str>]>,
    /// The end of the certificate's validity.
    pub expires: SystemTime,
    /// The file that the chain was read from.
    pub file: PathBuf,
}

impl KeyedCertificate {
    /// The certificate's first name, or its file if it has no name. It is the
    /// label `name` of `tidegate_certificate_expiry_timestamp_seconds`.
    pub fn name(&self) -> String {
        self.names
            .first()
            .map_or_else(|| self.file.display().to_string(), ToString::to_string)
    }

    /// A warning for the log if the certificate has expired at `now` or expires
    /// within two weeks of it; `None` otherwise.
    pub fn expiry(&self, now: SystemTime) -> Option<String> {
        let file = self.file.display();
        match self.expires.duration_since(now) {
            Err(_) => Some(format!("{file}: the certificate has expired")),
            Ok(left) if left < EXPIRES_SOON => Some(format!(
                "{file}: the certificate expires in {} days",
                left.as_secs() / (24 * 60 * 60)
            )),
            Ok(_) => None,
        }
    }
}

/// Compares certificates and files, not keys: a certificate holds the public
/// half of its key, so that equal certificates have equal keys.
impl PartialEq for KeyedCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.certified.cert == other.certified.cert && self.file == other.file
    }
}

impl Eq for KeyedCertificate {}

/// Shows names and file, never the key.
impl fmt::Debug for KeyedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedCertificate")
            .field("names", &self.names)
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
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
