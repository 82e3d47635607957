//! The client side: TLS with the servers of an upstream.
//!
//! A [`ClientTls`] belongs to an upstream and remembers the sessions of its
//! servers. If neither the policy nor the protocol has changed, a reload keeps
//! it, and with it the sessions.

use std::{fmt, io, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{AlpnProtocol, InPieces, ReadAhead, pinned::Pinned, provider, reason, roots};
use crate::policy::{KeyedCertificate, Protocol, UpstreamTls};

pub use rustls::pki_types::ServerName;

/// A connection to a server, inside TLS.
pub type ClientStream<IO> = InPieces<TlsStream<ReadAhead<IO>>>;

impl<IO> ClientStream<IO> {
    /// The socket below TLS.
    pub fn socket(&self) -> &IO {
        self.get_ref().0.io()
    }

    /// Whether the handshake agreed on HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.get_ref().1.alpn_protocol() == Some(AlpnProtocol::Http2.id())
    }

    /// Ends the session and returns the bytes that remain to be sent,
    /// `close_notify` last (RFC 8446, 6.1). Empty if it was sent before.
    pub fn close(&mut self) -> Vec<u8> {
        let (_, session) = self.get_mut();
        session.send_close_notify();
        let mut bytes = Vec::new();
        while session.wants_write()
            && session
                .write_tls(&mut bytes)
                .is_ok_and(|written| written > 0)
        {}
        bytes
    }
}

/// TLS with the servers of one upstream.
///
/// Keeps the sessions of earlier connections, so that a further connection to
/// the same server costs no signature.
#[derive(Clone)]
pub struct ClientTls {
    /// The policy that this was built from.
    policy: UpstreamTls,
    /// The protocol that is offered.
    protocol: Protocol,
    /// The configuration of rustls, with the cache of sessions.
    connector: TlsConnector,
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// Equal if made of the same policy.
impl PartialEq for ClientTls {
    fn eq(&self, other: &Self) -> bool {
        self.implements(&other.policy, other.protocol)
    }
}

impl Eq for ClientTls {}

impl ClientTls {
    /// Builds the TLS that `policy` describes, offering `protocol` by ALPN.
    /// Blocks to read the system's trusted certificates if `policy` names no
    /// authorities.
    ///
    /// # Errors
    /// No certificate is trusted, or one of the authorities cannot be used as
    /// one.
    pub fn new(policy: &UpstreamTls, protocol: Protocol) -> Result<Self, String> {
        let (trusted, pinned) = match &policy.ca {
            Some(ca) => (roots(&ca.certificates)?, ca.certificates.as_slice()),
            None => (system_roots()?, &[][..]),
        };
        let by_chain = WebPkiServerVerifier::builder_with_provider(Arc::new(trusted), provider());
        let by_chain = by_chain.build().map_err(|error| error.to_string())?;
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Pinned::<dyn ServerCertVerifier>::new(
                pinned, by_chain,
            ));
        let mut config = match &policy.identity {
            None => config.with_no_client_auth(),
            Some(identity) => {
                config.with_client_cert_resolver(Arc::new(SameForAll(identity.clone())))
            }
        };
        config.alpn_protocols = offered(protocol)
            .iter()
            .map(|protocol| protocol.id().to_vec())
            .collect();
        Ok(Self {
            policy: policy.clone(),
            protocol,
            connector: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Whether this is equal to the result of [`new`](Self::new) for `policy`
    /// and `protocol`, so that a reload can keep it.
    pub fn implements(&self, policy: &UpstreamTls, protocol: Protocol) -> bool {
        self.policy == *policy && self.protocol == protocol
    }

    /// Performs the handshake with the server at the other end of `io`, whose
    /// certificate must be valid for `name`. `name` is also sent as SNI, unless
    /// it is an IP address. Has no timeout of its own: the caller sets one.
    ///
    /// Cancel safe: dropping the future drops the connection.
    ///
    /// # Errors
    /// The reason of the failure in a few words, such as `its certificate has
    /// expired`.
    pub async fn connect<IO>(
        &self,
        name: ServerName<'static>,
        io: IO,
    ) -> Result<ClientStream<IO>, &'static str>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let io = ReadAhead::new(io, bytes::BytesMut::new());
        self.connector
            .connect(name, io)
            .await
            .map(InPieces)
            .map_err(|error| failure(&error))
    }
}

/// The versions of HTTP that are offered, the preferred one first.
fn offered(protocol: Protocol) -> &'static [AlpnProtocol] {
    match protocol {
        Protocol::Http1 => &[AlpnProtocol::Http1],
        Protocol::Http2 => &[AlpnProtocol::Http2],
        Protocol::Auto => &[AlpnProtocol::Http2, AlpnProtocol::Http1],
    }
}

/// The reason of a failed handshake.
fn failure(error: &io::Error) -> &'static str {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        Some(error) => reason::of_error(error),
        None => "it closed the connection during the handshake",
    }
}

/// The authorities that the system trusts. Reads files and blocks.
///
/// # Errors
/// There are none.
fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some systems list certificates that no longer parse; the others still
    // count.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(
            "the system trusts nobody: install ca-certificates, or name `ca` in its `tls` table"
                .to_owned(),
        );
    }
    Ok(roots)
}

/// Shows the same certificate to every server that asks for one and can verify
/// its signature.
#[derive(Debug)]
struct SameForAll(KeyedCertificate);

impl rustls::client::ResolvesClientCert for SameForAll {
    fn resolve(
        &self,
        _: &[&[u8]],
        schemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        let certified = &self.0.certified;
        certified
            .key
            .choose_scheme(schemes)
            .map(|_| Arc::clone(certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
