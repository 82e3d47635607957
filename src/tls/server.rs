//! The side that clients see: certificates, tickets, and the handshake.

use std::{fmt, io, sync::Arc};

use rustls::{
    CertificateError, HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig,
    crypto::aws_lc_rs::Ticketer,
    pki_types::CertificateDer,
    server::{ProducesTickets, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    Identity, InPieces, ReadAhead, TlsFacts,
    pinned::Pinned,
    provider,
    resolve::{Certificates, asked},
    subject::subject,
};

/// What a listener shows and asks for, plainly described.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Certificates, the default first; at least one.
    pub identities: Vec<Identity>,
    /// Authorities that may sign the certificates that clients must show, and certificates that are trusted as they are; `None`: they
    /// show none.
    pub client_ca: Option<Vec<CertificateDer<'static>>>,
    /// The oldest version that is spoken.
    pub min_version: MinVersion,
    /// HTTP/2 is offered, too.
    pub http2: bool,
}

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// What is spoken inside of TLS, as the handshake agreed (ALPN).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, also when the client named nothing.
    Http1,
    /// HTTP/2.
    Http2,
}

impl Protocol {
    /// As ALPN spells it.
    pub(super) fn name(self) -> &'static [u8] {
        match self {
            Protocol::Http1 => b"http/1.1",
            Protocol::Http2 => b"h2",
        }
    }
}

/// Protocols that are offered, the best first.
const OFFERED: [Protocol; 2] = [Protocol::Http2, Protocol::Http1];

/// The protocol that clients offer which speak no later version (RFC 7301, 6): served as HTTP/1.1 is, where each request says its own.
const HTTP_10: &[u8] = b"http/1.0";

/// A connection's bytes inside of TLS.
pub type ServerStream<IO> = InPieces<TlsStream<ReadAhead<IO>>>;

/// A connection after its handshake.
#[derive(Debug)]
pub struct Secured<IO> {
    /// Its bytes.
    pub io: ServerStream<IO>,
    /// What was agreed to be spoken.
    pub protocol: Protocol,
    /// What the client showed.
    pub facts: TlsFacts,
    /// An earlier session went on: no certificate was shown.
    pub is_resumed: bool,
}

/// Why there is no connection. Displayed for logs.
#[derive(Debug)]
pub enum Refusal {
    /// The client left, or the socket broke.
    Closed(io::Error),
    /// What the client sent or wants does not do; it was sent an alert.
    Failed(rustls::Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Closed(error) => error.fmt(f),
            Refusal::Failed(error) => write!(f, "{} ({error})", reason(error)),
        }
    }
}

/// A listener's TLS.
#[derive(Clone)]
pub struct ServerTls {
    acceptor: TlsAcceptor,
    certificates: Arc<Certificates>,
    client_ca: Option<Vec<CertificateDer<'static>>>,
    tickets: Arc<dyn ProducesTickets>,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("certificates", &self.certificates)
            .finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Builds a listener's TLS. Tickets that `earlier` gave out stay valid, unless others are trusted now: a session
    /// goes on without asking for a certificate again.
    ///
    /// # Errors
    /// An authority that is no certificate; no random numbers for the tickets' keys.
    pub fn new(settings: ServerSettings, earlier: Option<&Self>) -> Result<Self, String> {
        let ServerSettings {
            identities,
            client_ca,
            min_version,
            http2,
        } = settings;
        let tickets = match earlier.filter(|earlier| earlier.client_ca == client_ca) {
            Some(earlier) => Arc::clone(&earlier.tickets),
            // The key changes every six hours; the one before it is still taken (RFC 5077, 5.5).
            None => Ticketer::new().map_err(|error| error.to_string())?,
        };
        let certificates = Arc::new(Certificates::new(identities));
        let versions: &[_] = match min_version {
            MinVersion::Tls12 => &[&TLS13, &TLS12],
            MinVersion::Tls13 => &[&TLS13],
        };
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .map_err(|error| error.to_string())?;
        let config = match &client_ca {
            None => config.with_no_client_auth(),
            Some(trusted) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(
                    Arc::new(roots(trusted)?),
                    provider(),
                );
                let by_chain = verifier.build().map_err(|error| error.to_string())?;
                config.with_client_cert_verifier(Pinned::<dyn ClientCertVerifier>::new(
                    trusted, by_chain,
                ))
            }
        };
        let mut config = config.with_cert_resolver(Arc::clone(&certificates) as _);
        config.ticketer = Arc::clone(&tickets);
        // All suites on offer are sound; that the order is ours keeps a client from choosing the slowest.
        config.ignore_client_order = true;
        let offered = OFFERED
            .into_iter()
            .filter(|protocol| http2 || *protocol != Protocol::Http2);
        config.alpn_protocols = offered
            .map(|protocol| protocol.name().to_vec())
            .chain([HTTP_10.to_vec()])
            .collect();
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificates,
            client_ca,
            tickets,
        })
    }

    /// Takes a connection through the handshake. Cancel safe: dropping it drops the connection.
    ///
    /// # Errors
    /// The client is told by an alert where it still listens.
    pub async fn accept<IO>(&self, io: ReadAhead<IO>) -> Result<Secured<IO>, Refusal>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let io = self.acceptor.accept(io).await.map_err(refusal)?;
        let session = io.get_ref().1;
        let sni = session.server_name().map(asked);
        let facts = TlsFacts {
            subject: session
                .peer_certificates()
                .and_then(|chain| subject(chain.first()?)),
            version: match session.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "TLSv1.3",
            },
            names: self.certificates.names(sni.as_deref()),
            is_mutual: self.client_ca.is_some(),
            sni,
        };
        let agreed = session.alpn_protocol();
        let protocol = OFFERED
            .into_iter()
            .find(|protocol| Some(protocol.name()) == agreed);
        let protocol = protocol.unwrap_or(Protocol::Http1);
        let is_resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        Ok(Secured {
            io: InPieces(io),
            protocol,
            facts,
            is_resumed,
        })
    }
}

/// A store of these authorities.
pub(super) fn roots(certificates: &[CertificateDer<'static>]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots
            .add(certificate.clone())
            .map_err(|error| reason(&error).to_owned())?;
    }
    Ok(roots)
}

fn refusal(error: io::Error) -> Refusal {
    match error.downcast::<rustls::Error>() {
        Ok(error) => Refusal::Failed(error),
        Err(error) => Refusal::Closed(error),
    }
}

/// What is wrong, in a few words for people.
pub(super) fn reason(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(error) => certificate_reason(error),
        rustls::Error::AlertReceived(alert) => {
            alert.as_str().unwrap_or("it refused with an unknown alert")
        }
        rustls::Error::InvalidMessage(_) => "it does not speak TLS",
        rustls::Error::PeerIncompatible(_) => "no version, cipher or curve in common",
        rustls::Error::NoApplicationProtocol => "no protocol in common (ALPN)",
        rustls::Error::NoCertificatesPresented => "it showed no certificate",
        _ => "it broke the protocol",
    }
}

fn certificate_reason(error: &CertificateError) -> &'static str {
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
        Other(broken) => rule(&broken.to_string()),
        _ => "its certificate breaks a rule",
    }
}

/// The rule for chains that a certificate breaks, by webpki's name for it.
fn rule(name: &str) -> &'static str {
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
