//! Certificates that are obtained while the gateway serves, and those that show
//! an ACME authority that a domain is ours (TLS-ALPN-01, RFC 8737).
//!
//! # Concurrency
//!
//! All listeners share one value. Each map is replaced as a whole, and a
//! handshake looks at one without a lock. It changes a few times a day.
//!
//! # Bounds
//!
//! Names come from the configuration alone: a handshake adds none, whatever
//! name it asks for.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

use super::{certificates::normal_name, provider};
use crate::policy::KeyedCertificate;

/// The protocol that an authority asks for, and no other client (RFC 8737,
/// 6.2).
const ACME_TLS: &[u8] = b"acme-tls/1";

/// The certificates that are obtained while the gateway serves, by domain.
#[derive(Debug, Default)]
pub struct Obtained {
    /// Those that clients are shown.
    certificates: ArcSwap<HashMap<Box<str>, KeyedCertificate>>,
    /// Those that authorities are shown, while they look.
    challenges: ArcSwap<HashMap<Box<str>, Arc<CertifiedKey>>>,
}

impl Obtained {
    /// The certificate for `domain`, in lower case; `None` while there is none.
    pub fn get(&self, domain: &str) -> Option<KeyedCertificate> {
        self.certificates.load().get(domain).cloned()
    }

    /// Shows `certificate` from now on to clients that ask for `domain`.
    pub fn put(&self, domain: &str, certificate: KeyedCertificate) {
        self.certificates.rcu(|all| {
            let mut all = HashMap::clone(all);
            all.insert(domain.into(), certificate.clone());
            all
        });
    }

    /// Drops the certificates of all domains but those that are `wanted`.
    pub fn retain(&self, wanted: impl Fn(&str) -> bool) {
        self.certificates.rcu(|all| {
            let mut all = HashMap::clone(all);
            all.retain(|domain, _| wanted(domain));
            all
        });
    }

    /// Shows a certificate to an authority that asks for `domain`, until the
    /// guard is dropped. Certificate and key are DER, the key as PKCS #8.
    ///
    /// The certificate is not parsed: an extension that every parser has to
    /// refuse keeps others from accepting it (RFC 8737, 3).
    ///
    /// # Errors
    /// The key cannot be used. The text is a sentence for people.
    pub fn challenge(
        self: &Arc<Self>,
        domain: &str,
        certificate: &[u8],
        key: &[u8],
    ) -> Result<ShownChallenge, String> {
        let key = PrivateKeyDer::Pkcs8(key.to_vec().into());
        let key = provider().key_provider.load_private_key(key);
        let key = key.map_err(|error| error.to_string())?;
        let chain = vec![CertificateDer::from(certificate.to_vec())];
        let certificate = Arc::new(CertifiedKey::new(chain, key));
        self.challenges.rcu(|all| {
            let mut all = HashMap::clone(all);
            all.insert(domain.into(), Arc::clone(&certificate));
            all
        });
        Ok(ShownChallenge {
            obtained: Arc::clone(self),
            domain: domain.into(),
        })
    }
}

/// A certificate that authorities are shown; no longer, once this is dropped.
#[derive(Debug)]
pub struct ShownChallenge {
    /// Where it is shown.
    obtained: Arc<Obtained>,
    /// The domain that it is for.
    domain: Box<str>,
}

impl Drop for ShownChallenge {
    fn drop(&mut self) {
        self.obtained.challenges.rcu(|all| {
            let mut all = HashMap::clone(all);
            all.remove(&self.domain);
            all
        });
    }
}

/// Whether a client is an authority that looks for a challenge. It offers the
/// protocol for that and no other one (RFC 8737, 3).
pub(super) fn is_challenge(hello: &ClientHello<'_>) -> bool {
    let Some(mut offered) = hello.alpn() else {
        return false;
    };
    offered.next() == Some(ACME_TLS) && offered.next().is_none()
}

/// The TLS of authorities that look for a challenge. They show no certificate,
/// and their sessions are not resumed.
///
/// # Errors
/// The provider has none of the versions that are needed.
pub(super) fn of_challenges(obtained: Arc<Obtained>) -> Result<ServerConfig, String> {
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| error.to_string())?;
    let mut config = config
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Challenges(obtained)));
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The choice of the certificate that an authority is shown.
#[derive(Debug)]
struct Challenges(Arc<Obtained>);

impl ResolvesServerCert for Challenges {
    /// `None`, which ends the handshake, unless the domain is being ordered.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let domain = normal_name(hello.server_name()?);
        self.0.challenges.load().get(&domain).cloned()
    }
}
