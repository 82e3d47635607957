//! Certificates that are trusted as they are: a peer that shows one of the
//! certificates in the file of trusted authorities needs no chain.
//!
//! `openssl req -x509` makes self-signed certificates that are marked as
//! authorities (`CA:TRUE`). The rules for chains refuse an authority's
//! certificate as that of a server or client (RFC 5280, by webpki's reading);
//! an operator who names it in the file means it nevertheless.
//!
//! Such a certificate is compared byte by byte. Its period of validity, its key
//! usage and, of a server, its name still have to fit, and the signature of the
//! handshake is verified as always, so that the peer proves that it has the
//! key.
//!
//! # Order of the checks of a pinned certificate
//!
//! * It is one of the trusted certificates, in every byte.
//! * Its period of validity includes the present second.
//! * Its key usage and its extended key usage permit the purpose.
//! * The name of a server is in its subjectAltName.
//! * Its owner has signed the handshake. rustls asks for this separately, and
//!   the verifier of chains does it.
//!
//! A pinned certificate that fails one of these is refused. It is not tried as
//! a chain then.
//!
//! # Cost
//!
//! A certificate is compared with each of the trusted ones, which come from one
//! file of the configuration. It is parsed here only after a match.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use x509_cert::{
    certificate::{CertificateInner, Raw},
    der::Decode,
    ext::pkix::{ExtendedKeyUsage, KeyUsage},
};

/// The extended key usage of a server's certificate (RFC 5280, 4.2.1.12).
const SERVER: &str = "1.3.6.1.5.5.7.3.1";
/// The extended key usage of a client's certificate (RFC 5280, 4.2.1.12).
const CLIENT: &str = "1.3.6.1.5.5.7.3.2";
/// The extended key usage that allows every other one.
const ANYTHING: &str = "2.5.29.37.0";

/// A verifier that accepts certain certificates as they are, and leaves all
/// others to the verifier of chains.
pub(super) struct Pinned<V: ?Sized> {
    /// The certificates that are accepted as they are.
    ///
    /// Empty for an upstream that trusts the authorities of the system: no
    /// certificate is pinned then.
    trusted: Vec<CertificateDer<'static>>,
    /// The verifier of all others.
    ///
    /// It verifies the signatures of handshakes for pinned certificates, too,
    /// and says which schemes are offered.
    by_chain: Arc<V>,
}

impl<V: ?Sized> Pinned<V> {
    /// Accepts `trusted` as they are, and other certificates if `by_chain`
    /// does.
    ///
    /// Unless it is empty, `trusted` is also the list of authorities behind
    /// `by_chain`: an authority in the file both issues certificates and may be
    /// shown itself.
    pub(super) fn new(trusted: &[CertificateDer<'static>], by_chain: Arc<V>) -> Arc<Self> {
        Arc::new(Self {
            trusted: trusted.to_vec(),
            by_chain,
        })
    }

    /// Whether the certificate is one of those that are accepted as they are.
    ///
    /// Two encodings of the same facts are different certificates. The cost is
    /// linear in the number of trusted ones.
    fn is_trusted(&self, certificate: &CertificateDer<'_>) -> bool {
        self.trusted.iter().any(|trusted| trusted == certificate)
    }
}

impl<V: ?Sized + fmt::Debug> fmt::Debug for Pinned<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinned")
            .field("trusted", &self.trusted.len())
            .field("by_chain", &self.by_chain)
            .finish()
    }
}

/// Checks that a certificate is valid at `now` and may be used for `purpose`,
/// an extended key usage. An extension that is absent restricts nothing.
///
/// Both ends of the period are included, to the second. Of the key usages, one
/// of digital signature, key encipherment and key agreement is enough.
///
/// # Errors
/// The rule that the certificate breaks, as rustls reports it for a chain.
fn check_validity(
    certificate: &CertificateDer<'_>,
    purpose: &str,
    now: UnixTime,
) -> Result<(), CertificateError> {
    // `Raw` accepts serial numbers that break the rules, as every other
    // implementation does.
    let certificate = CertificateInner::<Raw>::from_der(certificate)
        .map_err(|_| CertificateError::BadEncoding)?;
    let certificate = certificate.tbs_certificate();
    let validity = certificate.validity();
    let now = now.as_secs();
    if now < validity.not_before.to_unix_duration().as_secs() {
        return Err(CertificateError::NotValidYet);
    }
    if now > validity.not_after.to_unix_duration().as_secs() {
        return Err(CertificateError::Expired);
    }
    // An extension that is absent restricts nothing.
    if let Some((_, usage)) = certificate
        .get_extension::<KeyUsage>()
        .map_err(|_| CertificateError::BadEncoding)?
        && !(usage.digital_signature() || usage.key_encipherment() || usage.key_agreement())
    {
        return Err(CertificateError::InvalidPurpose);
    }
    if let Some((_, purposes)) = certificate
        .get_extension::<ExtendedKeyUsage>()
        .map_err(|_| CertificateError::BadEncoding)?
        && !allows(&purposes, purpose)
    {
        return Err(CertificateError::InvalidPurpose);
    }
    Ok(())
}

/// Whether `purpose`, or every purpose, is among these.
fn allows(purposes: &ExtendedKeyUsage, purpose: &str) -> bool {
    for allowed in &purposes.0 {
        let allowed = allowed.to_string();
        if allowed == purpose || allowed == ANYTHING {
            return true;
        }
    }
    false
}

impl ServerCertVerifier for Pinned<dyn ServerCertVerifier> {
    /// A pinned certificate needs no intermediate ones, and a stapled OCSP
    /// response is not looked at.
    ///
    /// # Errors
    /// The rule that the certificate breaks, or the error of the verifier of
    /// chains for one that is not pinned.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.is_trusted(end_entity) {
            return self.by_chain.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            );
        }
        check_validity(end_entity, SERVER, now)?;
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_chain.supported_verify_schemes()
    }
}

impl ClientCertVerifier for Pinned<dyn ClientCertVerifier> {
    /// The names of authorities that a client is sent, by which it chooses
    /// among its certificates (RFC 8446, 4.2.4).
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.by_chain.root_hint_subjects()
    }

    /// A client has no name that could be compared. A pinned certificate needs
    /// no intermediate ones.
    ///
    /// # Errors
    /// As for a server, without the errors of a name.
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if !self.is_trusted(end_entity) {
            return self
                .by_chain
                .verify_client_cert(end_entity, intermediates, now);
        }
        check_validity(end_entity, CLIENT, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_chain.supported_verify_schemes()
    }
}
