//! Certificates as a checked configuration holds them: loaded, so that a changed file is a changed configuration.

use std::{
    fmt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{pki_types::CertificateDer, sign::CertifiedKey};

/// Who renews certificates by a machine does so with more than this left.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// `[listeners.tls]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// The default first; at least one.
    pub certificates: Vec<Identity>,
    /// Who signs the certificates that clients must show; `None`: they show none.
    pub client_ca: Option<Authorities>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
}

/// Versions of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

/// `[upstreams.NAME.tls]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Who signs the servers' certificates; `None`: whom the system trusts.
    pub ca: Option<Authorities>,
    /// The name that their certificates must stand for; `None`: the host of each URL.
    pub server_name: Option<Arc<str>>,
    /// Whom they are shown; `None`: nobody.
    pub identity: Option<Identity>,
}

/// A certificate chain and its key.
#[derive(Clone)]
pub struct Identity {
    /// Both, checked to belong together.
    pub certified: Arc<CertifiedKey>,
    /// Hosts, `*.` patterns and addresses that it stands for, lower case.
    pub names: Arc<[Box<str>]>,
    /// When it ends to be valid.
    pub expires: SystemTime,
    /// The file it was read from.
    pub file: PathBuf,
}

impl Identity {
    /// What to call it: the first of its names, or else its file.
    pub fn name(&self) -> String {
        self.names
            .first()
            .map_or_else(|| self.file.display().to_string(), ToString::to_string)
    }

    /// A word on its end: that it is over, or in less than two weeks.
    pub fn expiry(&self, now: SystemTime) -> Option<String> {
        let file = self.file.display();
        match self.expires.duration_since(now) {
            Err(_) => Some(format!("{file}: the certificate has expired")),
            Ok(left) if left < SOON => Some(format!(
                "{file}: the certificate expires in {} days",
                left.as_secs() / (24 * 60 * 60)
            )),
            Ok(_) => None,
        }
    }
}

/// The same certificate has the same key: it holds the key's public half.
impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.certified.cert == other.certified.cert && self.file == other.file
    }
}

impl Eq for Identity {}

/// Says nothing of the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("names", &self.names)
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// Certificates of those who are trusted.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorities {
    /// At least one, each sound.
    pub certificates: Vec<CertificateDer<'static>>,
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} certificates", self.certificates.len())
    }
}
