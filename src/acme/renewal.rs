//! Renewal information (ARI, RFC 9773): an authority suggests when a
//! certificate is to be replaced, such as at once before it is revoked.

use std::{
    ops::Range,
    time::{Duration, SystemTime},
};

use instant_acme::{Account, CertificateIdentifier, Error};
use x509_cert::{
    certificate::{CertificateInner, Raw},
    der::Decode,
    ext::pkix::AuthorityKeyIdentifier,
};

use super::fault::OrderFault;
use crate::policy::KeyedCertificate;

/// A suggestion, and the time after which it is to be asked for again.
pub(super) type Suggestion = (Range<SystemTime>, Duration);

/// Asks an authority when it wants a certificate to be renewed; `None` if it has
/// no opinion.
///
/// # Errors
/// The authority cannot be used, or its response is malformed.
pub(super) async fn ask(
    account: &Account,
    id: &CertificateIdentifier<'_>,
) -> Result<Option<Suggestion>, OrderFault> {
    match account.renewal_info(id).await {
        Ok((info, after)) => {
            let window = info.suggested_window;
            Ok(Some((window.start.into()..window.end.into(), after)))
        }
        Err(Error::Unsupported(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The name of a certificate in requests for renewal information (RFC 9773,
/// 4.1); `None` if it does not name the key of its authority.
pub(super) fn id(certificate: &KeyedCertificate) -> Option<CertificateIdentifier<'static>> {
    let first = certificate.certified.cert.first()?;
    let certificate = CertificateInner::<Raw>::from_der(first).ok()?;
    let certificate = certificate.tbs_certificate();
    let authority = certificate.get_extension::<AuthorityKeyIdentifier>().ok()?;
    let (_, authority) = authority?;
    let key = authority.key_identifier?;
    let serial = certificate.serial_number().as_bytes();
    let id = CertificateIdentifier::new(key.as_bytes().into(), serial.into());
    Some(id.into_owned())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyIdMethod, KeyPair};

    use super::*;

    /// The certificate of RFC 9773, 4.1, as far as the name depends on it.
    #[test]
    fn a_certificate_is_named_as_in_the_rfc() {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = [
            0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0,
            0xae, 0x2c, 0xde, 0x01, 0xc8, 0xd4,
        ];
        params.key_identifier_method = KeyIdMethod::PreSpecified(key.to_vec());
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(vec![0x87, 0x65, 0x43, 0x21].into());
        let key = KeyPair::generate().unwrap();
        let pem = key.serialize_pem() + &params.signed_by(&key, &issuer).unwrap().pem();
        let certificate = KeyedCertificate::from_pem(pem.as_bytes(), "".into()).unwrap();
        let id = id(&certificate).unwrap();
        assert_eq!(id.to_string(), "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
    }

    #[test]
    fn a_certificate_that_does_not_name_its_authority_has_no_name() {
        assert!(id(&crate::tls::tests::identity(&["a.example"])).is_none());
    }
}
