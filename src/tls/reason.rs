//! Errors of rustls in words for operators: short, and about the peer (`it
//! showed no certificate`).
//!
//! The texts are part of the messages that operators see and search for, so
//! they depend on this table and not on the version of rustls.

use rustls::{CertificateError, Error};

/// The reason why a handshake failed. An alert of the peer is shown by its name
/// in the specification.
pub(super) fn of_error(error: &Error) -> &'static str {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::AlertReceived(alert) => alert.as_str().unwrap_or("it refused with an unknown alert"),
        Error::InvalidMessage(_) => "it does not speak TLS",
        Error::PeerIncompatible(_) => "no version, cipher or curve in common",
        Error::NoApplicationProtocol => "no protocol in common (ALPN)",
        Error::NoCertificatesPresented => "it showed no certificate",
        _ => "it broke the protocol",
    }
}

/// The reason why a certificate was refused.
fn of_certificate(error: &CertificateError) -> &'static str {
    use CertificateError::{
        ApplicationVerificationFailure, BadEncoding, BadSignature, Expired, ExpiredContext,
        InvalidPurpose, InvalidPurposeContext, NotValidForName, NotValidForNameContext,
        NotValidYet, NotValidYetContext, Other, Revoked, UnhandledCriticalExtension, UnknownIssuer,
        UnsupportedSignatureAlgorithmContext, UnsupportedSignatureAlgorithmForPublicKeyContext,
    };
    match error {
        Expired | ExpiredContext { .. } => "its certificate has expired",
        NotValidYet | NotValidYetContext { .. } => "its certificate is not valid yet",
        UnknownIssuer => "its certificate was issued by nobody who is trusted",
        NotValidForNameContext { presented, .. } if presented.is_empty() => {
            "its certificate names no host (it has no subjectAltName)"
        }
        NotValidForName | NotValidForNameContext { .. } => "its certificate is for another name",
        BadEncoding => "its certificate cannot be read",
        BadSignature | ApplicationVerificationFailure => "its certificate's signature is wrong",
        InvalidPurpose | InvalidPurposeContext { .. } => "its certificate is for another purpose",
        Revoked => "its certificate is revoked",
        UnhandledCriticalExtension => {
            "its certificate has a critical extension that is unknown here"
        }
        UnsupportedSignatureAlgorithmContext { .. }
        | UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "its certificate is signed by an algorithm that is not accepted"
        }
        Other(broken) => of_webpki(&broken.to_string()),
        _ => "its certificate breaks a rule",
    }
}

/// The reason for an error of webpki that rustls passes on by name only.
fn of_webpki(name: &str) -> &'static str {
    match name {
        "CaUsedAsEndEntity" => {
            "its certificate is an authority's (CA:TRUE), and not itself among those that are trusted"
        }
        "EndEntityUsedAsCa" => {
            "its certificate was issued by a certificate that is no authority (CA:FALSE)"
        }
        "PathLenConstraintViolated" | "MaximumPathDepthExceeded" => {
            "its chain of certificates is too long"
        }
        "NameConstraintViolation" => "its authority may not issue certificates for that name",
        "UnsupportedCertVersion" => "its certificate is not of version 3",
        "MalformedDnsIdentifier" | "MalformedExtensions" | "ExtensionValueInvalid" => {
            "its certificate has a malformed extension"
        }
        "UnsupportedCriticalExtension" => {
            "its certificate has a critical extension that is unknown here"
        }
        _ => "its certificate breaks a rule",
    }
}
