//! Errors of rustls in words for operators: short, and about the peer (`it
//! showed no certificate`).
//!
//! The texts are part of the messages that operators see and search for, so
//! they depend on this table and not on the version of rustls.
//!
//! # Callers
//!
//! * Handshakes with the servers of an upstream: the text is the error of
//!   `ClientTls::connect`.
//! * Handshakes with clients: the text is in the log, with the name that rustls
//!   has for the error behind it (`HandshakeFailure`).
//! * Trusted authorities that cannot be used as such: the text is the error of
//!   `ServerTls::new` and `ClientTls::new`, through `roots`.
//!
//! # Form
//!
//! Apart from the names of alerts, each text is in lower case and has no full
//! stop, so that callers can put it behind a colon or in the middle of a
//! sentence. All texts are constants: nothing that a peer has sent becomes part
//! of one.
//!
//! # Errors that are not listed
//!
//! The enumerations of rustls are open to additions. An unknown error of the
//! protocol is `it broke the protocol`, and one of a certificate `its
//! certificate breaks a rule`.

use rustls::{CertificateError, Error};

/// The reason why a handshake failed. An alert of the peer is shown by its name
/// in the specification.
///
/// An alert tells what the peer dislikes about this side; every other error
/// tells what this side dislikes about the peer (RFC 8446, 6.2).
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
///
/// Two variants of rustls exist for many reasons, one with the context and one
/// without. Both have the same text, because which one occurs depends on the
/// verifier and not on the certificate.
///
/// An empty list of presented names is told apart from a wrong name: such a
/// certificate has a common name at most, which clients no longer look at (RFC
/// 9525).
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
///
/// rustls wraps these errors in `CertificateError::Other`, of which only the
/// `Display` can be examined. The names are those of the variants of
/// `webpki::Error`. A name that is unknown falls back to the general text.
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
