//! The side that servers see: whom we trust, who we are, and the handshake.

use std::{fmt, io, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    pki_types::CertificateDer,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    Identity, InPieces, Protocol, ReadAhead,
    pinned::Pinned,
    provider,
    server::{reason, roots},
};

pub use rustls::pki_types::ServerName;

/// How servers are believed, plainly described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSettings {
    /// Authorities that may sign the servers' certificates, and certificates that are trusted as they are; `None`: whom the system
    /// trusts.
    pub ca: Option<Vec<CertificateDer<'static>>>,
    /// Whom they are shown; `None`: nobody.
    pub identity: Option<Identity>,
    /// What is offered to be spoken, the best first.
    pub offered: Vec<Protocol>,
}

/// Whether a handshake agreed on HTTP/2.
pub fn speaks_http2<IO>(io: &Secure<IO>) -> bool {
    io.get_ref().1.alpn_protocol() == Some(Protocol::Http2.name())
}

/// What is still to be sent of a connection that ends, `close_notify` last; nothing if that was sent.
pub fn last_words<IO>(io: &mut Secure<IO>) -> Vec<u8> {
    let (_, session) = io.get_mut();
    session.send_close_notify();
    let mut words = Vec::new();
    while session.wants_write()
        && session
            .write_tls(&mut words)
            .is_ok_and(|written| written > 0)
    {}
    words
}

/// A connection's bytes inside of TLS.
pub type Secure<IO> = InPieces<TlsStream<ReadAhead<IO>>>;

/// An upstream's TLS. Keeps sessions, so that a further connection costs no signature.
#[derive(Clone)]
pub struct ClientTls {
    settings: ClientSettings,
    connector: TlsConnector,
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl PartialEq for ClientTls {
    fn eq(&self, other: &Self) -> bool {
        self.settings == other.settings
    }
}

impl Eq for ClientTls {}

impl ClientTls {
    /// Builds an upstream's TLS. Reads the system's roots where they are wanted: blocks.
    ///
    /// # Errors
    /// There is nobody to trust, or an authority is no certificate.
    pub fn new(settings: ClientSettings) -> Result<Self, String> {
        let (trusted, pinned) = match &settings.ca {
            Some(ca) => (roots(ca)?, &ca[..]),
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
        let mut config = match &settings.identity {
            None => config.with_no_client_auth(),
            Some(identity) => config.with_client_cert_resolver(Arc::new(Always(identity.clone()))),
        };
        config.alpn_protocols = settings
            .offered
            .iter()
            .map(|protocol| protocol.name().to_vec())
            .collect();
        Ok(Self {
            settings,
            connector: TlsConnector::from(Arc::new(config)),
        })
    }

    /// As it was described.
    pub fn settings(&self) -> &ClientSettings {
        &self.settings
    }

    /// Takes a new connection through the handshake.
    ///
    /// # Errors
    /// What is wrong, in a few words.
    pub async fn connect<IO>(
        &self,
        name: ServerName<'static>,
        io: IO,
    ) -> Result<Secure<IO>, &'static str>
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

fn failure(error: &io::Error) -> &'static str {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        Some(error) => reason(error),
        None => "it closed the connection during the handshake",
    }
}

fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some systems list certificates that no longer parse; the others still count.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(
            "the system trusts nobody: install ca-certificates, or name `ca` in its `tls` table"
                .to_owned(),
        );
    }
    Ok(roots)
}

/// Shows the one certificate there is to any server that asks.
#[derive(Debug)]
struct Always(Identity);

impl rustls::client::ResolvesClientCert for Always {
    fn resolve(
        &self,
        _: &[&[u8]],
        schemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        self.0
            .key
            .key
            .choose_scheme(schemes)
            .map(|_| Arc::clone(&self.0.key))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
