//! The distinguished name in a client's certificate, as text.
//!
//! It is a part of keys of limits, so its form has to be stable: RFC 4514, as
//! x509-cert writes it.
//!
//! `server` calls this once for each full or resumed handshake in which the
//! client has a certificate, and stores the result in the facts that every
//! request of the connection carries. Later uses of the name therefore cost no
//! parsing.
//!
//! # Escapes
//!
//! The parts of a name are joined by commas, and the characters with a meaning
//! in that notation are escaped inside of a part (RFC 4514, 2.4). A comma in
//! the name of a client thus never looks like the border of two parts.
//!
//! # Trust
//!
//! The name is as trustworthy as the authority that has issued the certificate.
//! The caller passes only certificates that were verified, or that are pinned.

use rustls::pki_types::CertificateDer;
use x509_cert::{
    certificate::{CertificateInner, Raw},
    der::Decode,
};

/// The longest name that is kept, in bytes. A longer one serves no purpose as a
/// key of a limit or in a log.
///
/// The bound is on the text, after escapes. The certificate itself is bounded
/// by the size of a handshake message.
const LONGEST: usize = 4096;

/// The subject in the notation of RFC 4514, the most specific part first:
/// `CN=billing,O=Example`. `None` if it is empty or too long.
///
/// `None` also stands for a certificate that cannot be read. The connection
/// goes on, and its requests have no subject.
///
/// The parts appear in reverse of their order in the certificate, as the
/// notation demands (RFC 4514, 2.1). The cost is one parse of the whole
/// certificate.
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
