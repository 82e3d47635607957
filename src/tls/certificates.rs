//! The choice of the certificate that a client is shown: the one for the name
//! that it asks for (SNI, RFC 6066, 3). Of several, such as RSA and ECDSA, the
//! first whose signatures the client can verify; the first of the file if there
//! is none for that name.
//!
//! A client that asks for no name, or for an unknown one, gets the default
//! rather than an alert: it may connect by IP address, and a certificate for
//! another name tells its user more than an alert does. Whether the connection
//! may carry requests for that host is a later question
//! ([`TlsFacts`](super::TlsFacts)). A domain that the gateway itself orders a
//! certificate for is the exception: until there is one the handshake fails, as
//! a certificate of another site would be accepted by nobody.
//!
//! # Concurrency
//!
//! The index never changes once it is built. All workers share it, and a reload
//! replaces it together with the rest of the listener's TLS. Certificates that
//! come later are in [`Obtained`], which is looked at for each handshake. rustls
//! asks in the middle of a handshake, and nothing here waits.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use rustls::{
    SignatureScheme,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::Obtained;
use crate::policy::KeyedCertificate;

/// The certificates of a listener, indexed by the names in them. A look-up
/// costs at most two hashes, however many certificates there are.
///
/// Names and indices take memory in proportion to the file of the
/// configuration.
#[derive(Debug)]
pub(super) struct Certificates {
    /// In the order of the file; empty if all certificates are ordered.
    ///
    /// The first one is the default.
    all: Vec<KeyedCertificate>,
    /// The domains of the listener whose certificates are ordered.
    domains: HashSet<Box<str>>,
    /// The first of the domains: its certificate is the default if the file has
    /// none.
    first_domain: Option<Box<str>>,
    /// The certificates that were obtained, also those of other listeners.
    obtained: Arc<Obtained>,
    /// Indices into `all`, by name. A pattern `*.x` is a key by itself.
    ///
    /// The indices of a name are in the order of the file, which is the order
    /// of preference.
    by_name: HashMap<Box<str>, Vec<usize>>,
}

impl Certificates {
    /// Indexes certificates by their names. `all` is in the order of the file.
    /// Certificates for `domains` are taken from `obtained`.
    ///
    /// A name that occurs in several certificates, such as one with RSA and one
    /// with ECDSA, gets all of their indices.
    pub(super) fn new(
        all: Vec<KeyedCertificate>,
        domains: Arc<[Box<str>]>,
        obtained: Arc<Obtained>,
    ) -> Self {
        let mut by_name: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        for (index, identity) in all.iter().enumerate() {
            for name in identity.names.iter() {
                by_name.entry(name.clone()).or_default().push(index);
            }
        }
        Self {
            all,
            domains: domains.iter().cloned().collect(),
            first_domain: domains.first().cloned(),
            obtained,
            by_name,
        }
    }

    /// The certificate that was obtained for `name`, unless the file has one for
    /// this very name. `None` asks for the default, which is one only if the
    /// file has no certificate.
    fn obtained(&self, name: Option<&str>) -> Option<KeyedCertificate> {
        if self.domains.is_empty() {
            return None;
        }
        match name.and_then(|name| self.domains.get(name)) {
            Some(domain) if self.by_name.contains_key(domain) => None,
            Some(domain) => self.obtained.get(domain),
            None if self.all.is_empty() => self.obtained.get(self.first_domain.as_deref()?),
            None => None,
        }
    }

    /// Indices of the certificates for `name`, in lower case: exact matches if
    /// there are any, wildcards otherwise.
    ///
    /// A wildcard stands for exactly one label (RFC 9525, 6.3): only the first
    /// one of `name` is replaced. Empty if no certificate is for the name.
    fn matching(&self, name: &str) -> &[usize] {
        if let Some(exact) = self.by_name.get(name) {
            return exact;
        }
        if let Some((_, domain)) = name.split_once('.')
            && let Some(wildcard) = self.by_name.get(&*format!("*.{domain}"))
        {
            return wildcard;
        }
        &[]
    }

    /// The names in the certificate that a client is shown that asks for
    /// `name`. They are those of the first match: of several matches the client
    /// may be shown another one, by its signatures.
    ///
    /// `None` asks for the default. The result is shared and not copied.
    pub(super) fn names(&self, name: Option<&str>) -> Arc<[Box<str>]> {
        if let Some(obtained) = self.obtained(name) {
            return obtained.names;
        }
        let first = match name.map(|name| self.matching(name)) {
            Some([first, ..]) => *first,
            _ => 0,
        };
        match self.all.get(first) {
            Some(identity) => Arc::clone(&identity.names),
            None => Arc::default(),
        }
    }

    /// The certificate for a client that asks for `name` and verifies
    /// `schemes`. A client that can verify none of them gets the first, so that
    /// the handshake fails with the reason.
    ///
    /// `None` for a domain whose certificate is ordered and not there yet, and if
    /// there is no certificate at all. The search is linear in the number of
    /// certificates for this one name.
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        if let Some(obtained) = self.obtained(name) {
            return Some(obtained.certified);
        }
        let matching = match name {
            Some(name) => self.matching(name),
            None => &[],
        };
        if matching.is_empty() && name.is_some_and(|name| self.domains.contains(name)) {
            return None;
        }
        let mut chosen = matching.first().copied().unwrap_or(0);
        for &index in matching {
            let key = &self.all[index].certified.key;
            if key.choose_scheme(schemes).is_some() {
                chosen = index;
                break;
            }
        }
        let identity = self.all.get(chosen)?;
        Some(Arc::clone(&identity.certified))
    }
}

impl ResolvesServerCert for Certificates {
    /// The choice for one handshake. Names are compared in the form of
    /// [`normal_name`].
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(normal_name);
        self.choose(name.as_deref(), hello.signature_schemes())
    }
}

/// A server name in lower case and without a final dot, which RFC 6066 (3)
/// excludes but some clients send.
pub(super) fn normal_name(name: &str) -> Box<str> {
    name.strip_suffix('.')
        .unwrap_or(name)
        .to_ascii_lowercase()
        .into()
}

#[cfg(test)]
mod tests {
    use super::{super::tests::identity, *};

    const ECDSA: &[SignatureScheme] = &[SignatureScheme::ECDSA_NISTP256_SHA256];

    #[test]
    fn an_exact_name_goes_before_a_wildcard_and_the_first_certificate_is_for_all_others() {
        let all = [
            &["default.example"][..],
            &["*.example.com"],
            &["a.example.com", "b.example"],
        ]
        .map(identity);
        let certificates = Certificates::new(all.to_vec(), Arc::default(), Arc::default());
        for (name, index) in [
            (Some("a.example.com"), 2),
            (Some("b.example"), 2),
            (Some("x.example.com"), 1),
            (Some("x.y.example.com"), 0),
            (Some("example.com"), 0),
            (None, 0),
        ] {
            let chosen = certificates.choose(name, ECDSA).unwrap();
            assert!(Arc::ptr_eq(&chosen, &all[index].certified), "{name:?}");
            assert_eq!(certificates.names(name), all[index].names, "{name:?}");
        }
    }
}
