//! Certificates and keys: PEM files in, checked and ready to be used out, or
//! the fault of the file that has one.
//!
//! Everything that would fail in the first handshake fails here, while the
//! previous configuration still runs: a key that belongs to another certificate,
//! an encrypted key, a file that breaks off. A message never repeats bytes of a
//! key file, and buffers with a key are overwritten when they are dropped.
//!
//! The chain is used as it is. It is not checked against an authority, as it is
//! for clients to decide whom they trust.

use std::{path::Path, time::SystemTime};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
};
use zeroize::{Zeroize, Zeroizing};

use super::source;
use crate::policy::{Authorities, CertificateFacts, CertificateFault, KeyedCertificate};

/// Longest file of certificates; the system's whole list of authorities is a
/// fourth of it.
const LONGEST_CERTIFICATES: u64 = 1024 * 1024;
/// Longest key file: an RSA key of 16384 bits has 13 KB.
const LONGEST_KEY: u64 = 64 * 1024;

/// The fault of a file with something else than X.509 between its PEM lines.
const UNSOUND: &str = "holds no sound certificate";

/// The fault of a key that rustls has no use for.
const UNUSABLE: &str =
    "holds no key of a kind that can be used (RSA from 2048 bits, ECDSA, Ed25519)";

/// A fault of a file, phrased to follow its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileFault {
    /// With the file of certificates.
    Certificates(String),
    /// With the file of the key.
    Key(String),
}

/// A certificate chain and its key, which has to match. Blocks.
///
/// # Errors
/// The first fault, with the file that has it.
///
/// The first certificate of the file is that of the gateway; its names and its
/// end are what is looked at.
pub(super) fn identity(certificates: &Path, key: &Path) -> Result<KeyedCertificate, FileFault> {
    let chain = read_certificates(certificates).map_err(FileFault::Certificates)?;
    let mut key = read_key(key).map_err(FileFault::Key)?;
    let identity = KeyedCertificate::new(chain, key.clone_key(), certificates.to_path_buf());
    key.zeroize();
    identity.map_err(|fault| match fault {
        CertificateFault::Unsound => FileFault::Certificates(UNSOUND.to_owned()),
        CertificateFault::OtherKey => {
            FileFault::Key("is not the key of this certificate".to_owned())
        }
        CertificateFault::UnusableKey => FileFault::Key(UNUSABLE.to_owned()),
    })
}

/// Certificates of authorities, and of peers that are trusted themselves.
/// Blocks.
///
/// # Errors
/// A fault of the file, phrased to follow its name.
///
/// A file with one certificate that cannot be used is refused as a whole.
pub(super) fn authorities(file: &Path) -> Result<Authorities, String> {
    let certificates = read_certificates(file)?;
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        let added = roots.add(certificate.clone());
        added.map_err(|_| format!("{UNSOUND} of an authority"))?;
    }
    Ok(Authorities { certificates })
}

/// The reasons for which trusted certificates are useless, one for each such
/// certificate. It is no authority, so that only a peer that shows this very
/// certificate could be trusted, and such a peer is refused: the certificate has
/// expired, or has no name and the peer has to stand for one (`by_name`).
pub(super) fn useless(trusted: &Authorities, by_name: bool, now: SystemTime) -> Vec<&'static str> {
    let why = |certificate: &CertificateDer<'_>| {
        let facts = CertificateFacts::of(certificate).filter(|facts| !facts.is_authority)?;
        match facts {
            CertificateFacts { expires, .. } if expires < now => Some("has expired"),
            CertificateFacts { names, .. } if by_name && names.is_empty() => {
                Some("stands for no name (it has no subjectAltName)")
            }
            _ => None,
        }
    };
    trusted.certificates.iter().filter_map(why).collect()
}

/// The certificates of a PEM file, at least one; anything else in it is
/// skipped.
fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = source::read_secret(file, LONGEST_CERTIFICATES)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates = certificates.map_err(not_pem)?;
    if certificates.is_empty() {
        return Err("holds no certificate (PEM, -----BEGIN CERTIFICATE-----)".to_owned());
    }
    Ok(certificates)
}

/// The first private key of a PEM file, in PKCS #8, PKCS #1 or SEC 1.
fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let bytes: Zeroizing<Vec<u8>> = source::read_secret(file, LONGEST_KEY)?;
    // `BEGIN ENCRYPTED PRIVATE KEY`, or the older `Proc-Type: 4,ENCRYPTED`,
    // whose base64 follows other lines.
    let is_encrypted = memchr::memmem::find(&bytes, b"ENCRYPTED").is_some();
    let encrypted =
        "holds an encrypted key; write it without a passphrase, readable by this process only";
    let none = "holds no private key (PEM, -----BEGIN PRIVATE KEY-----)";
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        _ if is_encrypted => encrypted.to_owned(),
        pem::Error::NoItemsFound => none.to_owned(),
        error => not_pem(error),
    })
}

/// Never repeats what the file holds.
fn not_pem(error: pem::Error) -> String {
    let why = match error {
        pem::Error::MissingSectionEnd { .. } => ": it breaks off before an -----END line",
        pem::Error::Base64Decode(_) => ": its base64 is damaged",
        _ => "",
    };
    format!("is not PEM{why}")
}
