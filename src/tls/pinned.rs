//! Certificates that are trusted as they are: one that is itself in the file of those who are trusted needs nobody who
//! vouches for it.
//!
//! `openssl req -x509` makes certificates that sign themselves and say of themselves that they are authorities. The rules
//! for chains refuse those as the certificate of a server or a client; named in the file they are meant nevertheless.

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

/// The uses that a certificate may have (RFC 5280, 4.2.1.12).
const SERVER: &str = "1.3.6.1.5.5.7.3.1";
const CLIENT: &str = "1.3.6.1.5.5.7.3.2";
const ANYTHING: &str = "2.5.29.37.0";

/// Trusts some certificates as they are, and others by the rules for chains.
pub(super) struct Pinned<V: ?Sized> {
    trusted: Vec<CertificateDer<'static>>,
    by_chain: Arc<V>,
}

impl<V: ?Sized> Pinned<V> {
    /// Trusts `trusted` as they are, and others as `by_chain` does.
    pub(super) fn new(trusted: &[CertificateDer<'static>], by_chain: Arc<V>) -> Arc<Self> {
        Arc::new(Self {
            trusted: trusted.to_vec(),
            by_chain,
        })
    }

    fn holds(&self, certificate: &CertificateDer<'_>) -> bool {
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

/// Whether a certificate is valid now, and may be used for `purpose`.
fn holds_now(
    certificate: &CertificateDer<'_>,
    purpose: &str,
    now: UnixTime,
) -> Result<(), CertificateError> {
    // Raw: a serial number that breaks the rules has never kept anybody from using a certificate.
    let certificate = CertificateInner::<Raw>::from_der(certificate)
        .map_err(|_| CertificateError::BadEncoding)?;
    let certificate = certificate.tbs_certificate();
    let (validity, now) = (certificate.validity(), now.as_secs());
    if now < validity.not_before.to_unix_duration().as_secs() {
        return Err(CertificateError::NotValidYet);
    }
    if now > validity.not_after.to_unix_duration().as_secs() {
        return Err(CertificateError::Expired);
    }
    let bad = |_| CertificateError::BadEncoding;
    // Absent, either allows everything.
    let usage = certificate.get_extension::<KeyUsage>().map_err(bad)?;
    let proves = |usage: KeyUsage| {
        usage.digital_signature() || usage.key_encipherment() || usage.key_agreement()
    };
    let purposes = certificate
        .get_extension::<ExtendedKeyUsage>()
        .map_err(bad)?;
    let is_for = |id: &str| id == purpose || id == ANYTHING;
    let is_meant =
        purposes.is_none_or(|(_, purposes)| purposes.0.iter().any(|id| is_for(&id.to_string())));
    if usage.is_none_or(|(_, usage)| proves(usage)) && is_meant {
        Ok(())
    } else {
        Err(CertificateError::InvalidPurpose)
    }
}

impl ServerCertVerifier for Pinned<dyn ServerCertVerifier> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.holds(end_entity) {
            return self.by_chain.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            );
        }
        holds_now(end_entity, SERVER, now)?;
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
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.by_chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if !self.holds(end_entity) {
            return self
                .by_chain
                .verify_client_cert(end_entity, intermediates, now);
        }
        holds_now(end_entity, CLIENT, now)?;
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
