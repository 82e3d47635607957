//! Certificates, and the facts in them that the gateway looks at.

use std::{
    fmt,
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    CertificateError, Error as TlsError, InconsistentKeys,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_cert::{
    certificate::{CertificateInner, Raw, Version},
    der::Decode,
    ext::pkix::{BasicConstraints, SubjectAltName, name::GeneralName},
};

/// A certificate with less validity left than this is reported; automated
/// renewal happens well before.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A certificate chain and its private key.
#[derive(Clone)]
pub struct KeyedCertificate {
    /// The chain and the key, checked to belong together.
    pub certified: Arc<CertifiedKey>,
    /// The names that the certificate is valid for, in lower case: hosts, `*.`
    /// patterns of one label, and IP addresses.
    pub names: Arc<[Box<str>]>,
    /// The beginning of the certificate's validity.
    pub begins: SystemTime,
    /// The end of the certificate's validity.
    pub expires: SystemTime,
    /// The file that the chain was read from.
    pub file: PathBuf,
}

impl KeyedCertificate {
    /// A chain, whose first certificate is that of the gateway, with its key.
    /// `file` is where the chain was read from.
    ///
    /// The chain is not held against an authority, as it is for clients to
    /// decide whom they trust.
    ///
    /// # Errors
    /// The chain is empty or no sound X.509, or the key cannot be used or
    /// belongs to another certificate.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        file: PathBuf,
    ) -> Result<Self, CertificateFault> {
        let first = chain.first().ok_or(CertificateFault::Unsound)?;
        let facts = CertificateFacts::of(first).ok_or(CertificateFault::Unsound)?;
        let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
        let certified = certified.map_err(|error| match error {
            TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => CertificateFault::OtherKey,
            TlsError::InvalidCertificate(CertificateError::BadEncoding) => {
                CertificateFault::Unsound
            }
            // Others are about the key. They say nothing of what is in it.
            _ => CertificateFault::UnusableKey,
        })?;
        Ok(Self {
            certified: Arc::new(certified),
            names: facts.names.into(),
            begins: facts.begins,
            expires: facts.expires,
            file,
        })
    }

    /// A key and a chain, both as PEM in one text. `file` is where the text was
    /// read from.
    ///
    /// # Errors
    /// Says what is wrong with the text, to follow its name.
    pub fn from_pem(pem: &[u8], file: PathBuf) -> Result<Self, &'static str> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let chain = chain.map_err(|_| "is not PEM")?;
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| "holds no private key")?;
        Self::new(chain, key, file).map_err(|fault| match fault {
            CertificateFault::Unsound => "holds no sound certificate",
            CertificateFault::UnusableKey => "holds no key that can be used",
            CertificateFault::OtherKey => "holds a certificate of another key",
        })
    }

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

/// Why a certificate and a key cannot be used together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateFault {
    /// The certificate is no sound X.509.
    Unsound,
    /// The key is of no kind that handshakes can be signed with.
    UnusableKey,
    /// The key is that of another certificate.
    OtherKey,
}

/// The facts in a certificate that are looked at.
#[derive(Debug)]
pub struct CertificateFacts {
    /// Its names in lower case, in its order: hosts, `*.` patterns and IP
    /// addresses. Names of other kinds, such as mail addresses, are left out.
    pub names: Vec<Box<str>>,
    /// The beginning of its validity.
    pub begins: SystemTime,
    /// The end of its validity.
    pub expires: SystemTime,
    /// Whether it may vouch for others.
    pub is_authority: bool,
}

impl CertificateFacts {
    /// Reads a certificate; `None` if it is no sound X.509.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        // Raw: a serial number that breaks the rules has never kept anybody
        // from using a certificate.
        let certificate = CertificateInner::<Raw>::from_der(certificate).ok()?;
        let certificate = certificate.tbs_certificate();
        let names = certificate.get_extension::<SubjectAltName>().ok()?;
        let names = names.map(|(_, names)| names.0).unwrap_or_default();
        let constraints = certificate.get_extension::<BasicConstraints>().ok()?;
        let is_authority = constraints.map(|(_, constraints)| constraints.ca);
        let validity = certificate.validity();
        Some(Self {
            // Those of version 1 cannot say.
            is_authority: is_authority.unwrap_or(certificate.version() == Version::V1),
            names: names.iter().filter_map(name).collect(),
            begins: SystemTime::UNIX_EPOCH + validity.not_before.to_unix_duration(),
            expires: SystemTime::UNIX_EPOCH + validity.not_after.to_unix_duration(),
        })
    }
}

/// A name of a certificate as text, if it stands for a server.
fn name(name: &GeneralName) -> Option<Box<str>> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase().into()),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
            Some(v4.or(v6).ok()?.to_string().into())
        }
        _ => None,
    }
}
