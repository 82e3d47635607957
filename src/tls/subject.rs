//! The distinguished name in a client's certificate, as text.
//!
//! It is a part of keys of limits, so its form has to be stable: RFC 4514, as
//! x509-cert writes it.

use rustls::pki_types::CertificateDer;
use x509_cert::{
    certificate::{CertificateInner, Raw},
    der::Decode,
};

/// The longest name that is kept, in bytes. A longer one serves no purpose as a
/// key of a limit or in a log.
const LONGEST: usize = 4096;

/// The subject in the notation of RFC 4514, the most specific part first:
/// `CN=billing,O=Example`. `None` if it is empty or too long.
pub(super) fn subject(certificate: &CertificateDer<'_>) -> Option<Box<str>> {
    // `Raw` accepts serial numbers that break the rules; the chain was verified
    // before.
    let certificate = CertificateInner::<Raw>::from_der(certificate).ok()?;
    let name = certificate.tbs_certificate().subject();
    Some(name.to_string())
        .filter(|text| !text.is_empty() && text.len() <= LONGEST)
        .map(Into::into)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    fn of(parts: &[(DnType, &str)]) -> Option<Box<str>> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        subject(
            params
                .self_signed(&KeyPair::generate().unwrap())
                .unwrap()
                .der(),
        )
    }

    #[test]
    fn a_name_is_spelt_from_its_most_specific_part() {
        let name = of(&[
            (DnType::OrganizationName, "Example"),
            (DnType::CommonName, "billing"),
        ]);
        assert_eq!(name.as_deref(), Some("CN=billing,O=Example"));
    }

    #[test]
    fn what_separates_parts_is_escaped_inside_of_one() {
        assert_eq!(
            of(&[(DnType::CommonName, "a,O=b")]).as_deref(),
            Some("CN=a\\,O=b")
        );
    }

    #[test]
    fn an_empty_name_is_none() {
        assert_eq!(of(&[]), None);
    }
}
