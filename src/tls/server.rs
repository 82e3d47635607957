//! The server side: TLS with the clients of a listener.
//!
//! A [`ServerTls`] is shared by all workers. A reload makes a new one for new
//! connections; those that are open keep theirs. Session tickets outlive a
//! reload unless the trusted authorities have changed, so that a reload is not
//! followed by a wave of full handshakes.

use std::{fmt, io, sync::Arc};

use rustls::{
    HandshakeKind, ProtocolVersion, ServerConfig,
    crypto::aws_lc_rs::Ticketer,
    server::{Acceptor, ProducesTickets, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor, server::TlsStream};

use super::{
    AlpnProtocol, InPieces, Obtained, ReadAhead, TlsFacts,
    certificates::{Certificates, normal_name},
    obtained::{is_challenge, of_challenges},
    pinned::Pinned,
    provider, reason, roots,
    subject::subject,
};
use crate::policy::{Authorities, ListenerTls, TlsVersion};

/// ALPN's identifier for clients that speak no later version. They are served
/// like those of HTTP/1.1, as each request of HTTP/1 names its own version.
const HTTP_10: &[u8] = b"http/1.0";

/// A client's connection, inside TLS.
pub type ServerStream<IO> = InPieces<TlsStream<ReadAhead<IO>>>;

/// A connection after its handshake.
#[derive(Debug)]
pub struct Secured<IO> {
    /// The stream of plaintext.
    pub io: ServerStream<IO>,
    /// The negotiated version of HTTP.
    pub protocol: AlpnProtocol,
    /// Facts about the client from the handshake.
    pub facts: TlsFacts,
    /// Whether an earlier session was resumed, so that no certificate was
    /// shown.
    pub is_resumed: bool,
}

/// Why a handshake failed. Its `Display` is for the log.
#[derive(Debug)]
pub enum HandshakeFailure {
    /// The client closed the connection, or the socket failed.
    Closed(io::Error),
    /// The handshake broke a rule or found nothing in common; the client was
    /// sent an alert.
    Failed(rustls::Error),
    /// The client was an ACME authority. It has seen the certificate that it
    /// looked for, and has no request.
    Challenge,
}

impl fmt::Display for HandshakeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandshakeFailure::Closed(error) => error.fmt(f),
            HandshakeFailure::Challenge => {
                f.write_str("an ACME authority has seen what it asked for")
            }
            HandshakeFailure::Failed(error) => write!(f, "{} ({error})", reason::of_error(error)),
        }
    }
}

/// The TLS of a listener. Cheap to clone.
#[derive(Clone)]
pub struct ServerTls {
    /// The configuration of rustls.
    acceptor: TlsAcceptor,
    /// The configuration of rustls for ACME authorities; `None` for a listener
    /// that orders no certificates.
    challenges: Option<Arc<ServerConfig>>,
    /// The certificates, also to tell which names a connection may serve.
    certificates: Arc<Certificates>,
    /// The trusted authorities, with which those of a later configuration are
    /// compared.
    client_ca: Option<Authorities>,
    /// The keys of session tickets (RFC 5077; RFC 8446, 4.6.1).
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
    /// Builds the TLS that `policy` describes, offering the protocols in
    /// `offered`, the preferred one first. Certificates that the policy orders
    /// are taken from `obtained` for each handshake, as they come later.
    ///
    /// Session tickets issued by `earlier` stay valid unless the trusted
    /// authorities have changed: a resumed session does not ask for the
    /// client's certificate again, and so would let in clients that are no
    /// longer trusted.
    ///
    /// # Errors
    /// One of the authorities cannot be used as one, or there is no randomness
    /// for the ticket keys.
    pub fn new(
        policy: &ListenerTls,
        offered: &[AlpnProtocol],
        earlier: Option<&Self>,
        obtained: &Arc<Obtained>,
    ) -> Result<Self, String> {
        let tickets = match earlier.filter(|earlier| earlier.client_ca == policy.client_ca) {
            Some(earlier) => Arc::clone(&earlier.tickets),
            // Rotates its key every six hours and accepts the previous one (RFC
            // 5077, 5.5).
            None => Ticketer::new().map_err(|error| error.to_string())?,
        };
        let ordered = policy.acme.as_ref();
        let challenges = ordered.map(|_| of_challenges(Arc::clone(obtained)));
        let domains = ordered.map(|acme| Arc::clone(&acme.domains));
        let certificates = Arc::new(Certificates::new(
            policy.certificates.clone(),
            domains.unwrap_or_default(),
            Arc::clone(obtained),
        ));
        let versions: &[_] = match policy.min_version {
            TlsVersion::Tls12 => &[&TLS13, &TLS12],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .map_err(|error| error.to_string())?;
        let config = match &policy.client_ca {
            None => config.with_no_client_auth(),
            Some(Authorities {
                certificates: trusted,
            }) => {
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
        // All offered suites are sound; with the server's order a client cannot
        // pick the slowest.
        config.ignore_client_order = true;
        config.alpn_protocols = offered
            .iter()
            .map(|protocol| protocol.id().to_vec())
            .chain([HTTP_10.to_vec()])
            .collect();
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            challenges: challenges.transpose()?.map(Arc::new),
            certificates,
            client_ca: policy.client_ca.clone(),
            tickets,
        })
    }

    /// Performs the handshake with the client at the other end of `io`. Has no
    /// timeout of its own: the caller sets one.
    ///
    /// Cancel safe: dropping the future drops the connection.
    ///
    /// # Errors
    /// The handshake failed, and the client is sent an alert if it still reads;
    /// or the client was an ACME authority, which has no request.
    pub async fn accept<IO>(&self, io: ReadAhead<IO>) -> Result<Secured<IO>, HandshakeFailure>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let io = match &self.challenges {
            None => self.acceptor.accept(io).await.map_err(refusal)?,
            Some(challenges) => self.accept_or_answer(io, challenges).await?,
        };
        let session = io.get_ref().1;
        let sni = session.server_name().map(normal_name);
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
        let protocol = match session.alpn_protocol() {
            Some(id) if id == AlpnProtocol::Http2.id() => AlpnProtocol::Http2,
            _ => AlpnProtocol::Http1,
        };
        let is_resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        Ok(Secured {
            io: InPieces(io),
            protocol,
            facts,
            is_resumed,
        })
    }

    /// The handshake on a listener that orders certificates: with a client, or
    /// with an authority, which is answered.
    async fn accept_or_answer<IO>(
        &self,
        io: ReadAhead<IO>,
        challenges: &Arc<ServerConfig>,
    ) -> Result<TlsStream<ReadAhead<IO>>, HandshakeFailure>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let begun = LazyConfigAcceptor::new(Acceptor::default(), io).await;
        let begun = begun.map_err(refusal)?;
        if !is_challenge(&begun.client_hello()) {
            let config = Arc::clone(self.acceptor.config());
            return begun.into_stream(config).await.map_err(refusal);
        }
        let io = begun.into_stream(Arc::clone(challenges)).await;
        let _ = io.map_err(refusal)?.shutdown().await;
        Err(HandshakeFailure::Challenge)
    }
}

/// Tells errors of TLS from those of the socket.
fn refusal(error: io::Error) -> HandshakeFailure {
    match error.downcast::<rustls::Error>() {
        Ok(error) => HandshakeFailure::Failed(error),
        Err(error) => HandshakeFailure::Closed(error),
    }
}
