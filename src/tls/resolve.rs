//! Which certificate a client is shown: the one for the name that it asks for, of several the first whose key it can
//! verify, otherwise the first of the file.

use std::{collections::HashMap, sync::Arc};

use rustls::{
    SignatureScheme,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{Identity, Names};

/// The certificates of a listener by the names inside.
#[derive(Debug)]
pub(super) struct Certificates {
    /// In the order of the file, at least one.
    all: Vec<Identity>,
    /// Places in `all`, by name; a pattern `*.x` stands under `*.x`.
    by_name: HashMap<Box<str>, Vec<usize>>,
}

impl Certificates {
    pub(super) fn new(all: Vec<Identity>) -> Self {
        let mut by_name: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        for (index, identity) in all.iter().enumerate() {
            for name in identity.names.0.iter() {
                by_name.entry(name.clone()).or_default().push(index);
            }
        }
        Self { all, by_name }
    }

    /// Those for a name (lower case): exact before wildcard. Empty when no certificate stands for it.
    fn of(&self, name: &str) -> &[usize] {
        let wildcard = || self.by_name.get(&*format!("*.{}", name.split_once('.')?.1));
        self.by_name
            .get(name)
            .or_else(wildcard)
            .map_or(&[], Vec::as_slice)
    }

    /// Whom the certificate stands for that a client is shown who asks for this name.
    pub(super) fn names(&self, name: Option<&str>) -> Names {
        let first = name
            .and_then(|name| self.of(name).first())
            .copied()
            .unwrap_or(0);
        self.all
            .get(first)
            .map(|identity| identity.names.clone())
            .unwrap_or_default()
    }

    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let of_name = name.map_or(&[][..], |name| self.of(name));
        let can_verify = |index: &usize| self.all[*index].key.key.choose_scheme(schemes).is_some();
        let chosen = of_name
            .iter()
            .copied()
            .find(can_verify)
            .or_else(|| of_name.first().copied())
            .unwrap_or(0);
        self.all
            .get(chosen)
            .map(|identity| Arc::clone(&identity.key))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(asked);
        self.choose(name.as_deref(), hello.signature_schemes())
    }
}

/// A name as it is asked for: in lower case, and without the dot that ends a whole name (RFC 6066, 3 has none).
pub(super) fn asked(name: &str) -> Box<str> {
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
        let certificates = Certificates::new(all.to_vec());
        for (name, index) in [
            (Some("a.example.com"), 2),
            (Some("b.example"), 2),
            (Some("x.example.com"), 1),
            (Some("x.y.example.com"), 0),
            (Some("example.com"), 0),
            (None, 0),
        ] {
            let chosen = certificates.choose(name, ECDSA).unwrap();
            assert!(Arc::ptr_eq(&chosen, &all[index].key), "{name:?}");
            assert_eq!(certificates.names(name), all[index].names, "{name:?}");
        }
    }
}
