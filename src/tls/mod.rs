//! TLS on both sides of the gateway, by rustls with aws-lc-rs.
//!
//! A connection passes through here before it carries requests: `server` takes
//! client connections through [`ServerTls::accept`], `upstream` takes
//! connections to servers through [`ClientTls::connect`]. Both are built from
//! the policy that the configuration resolves to, and both are rebuilt only
//! when that policy changes, as they hold the state that makes the next
//! handshake cheap: ticket keys on the server side, sessions on the client
//! side.
//!
//! Versions 1.2 and 1.3 are spoken, with the cipher suites that rustls
//! considers sound; there is no setting for them. Certificates are checked by
//! webpki, with the exception that `pinned` explains.
//!
//! Only this folder, `policy`, and the file check in `config` name rustls.
//!
//! * `server`, `client`: the configuration of each side and its handshake.
//! * `certificates`: the choice of the certificate that a client is shown.
//! * `obtained`: certificates that come while the gateway serves, and those of
//!   ACME challenges.
//! * `facts`, `subject`: the facts of a handshake that requests carry along.
//! * `pinned`: certificates that are trusted as they are, without an authority.
//! * `reason`: rustls's errors in words for operators.
//! * `hello`: whether a client's first message has arrived completely.
//! * `read_ahead`, `pieces`: fewer system calls and cheaper copies than rustls
//!   makes by itself.
//!
//! # Layers of a connection
//!
//! ```text
//! InPieces     cuts writes into pieces that are cheap to copy
//!   TlsStream  rustls: records, encryption
//!     ReadAhead  reads the socket in large pieces
//!       socket
//! ```

mod certificates;
mod client;
mod facts;
mod hello;
mod obtained;
mod pieces;
mod pinned;
mod read_ahead;
mod reason;
mod server;
mod subject;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use rustls::{
    RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::CertificateDer,
};

pub use self::{
    client::{ClientStream, ClientTls, ServerName},
    facts::TlsFacts,
    hello::Hello,
    obtained::{Obtained, ShownChallenge},
    pieces::InPieces,
    read_ahead::ReadAhead,
    server::{HandshakeFailure, Secured, ServerStream, ServerTls},
};

/// A version of HTTP as it is negotiated by ALPN (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlpnProtocol {
    /// HTTP/1.1, which is also assumed if nothing was negotiated.
    Http1,
    /// HTTP/2.
    Http2,
}

impl AlpnProtocol {
    /// The registered identifier (IANA, TLS ALPN Protocol IDs).
    fn id(self) -> &'static [u8] {
        match self {
            AlpnProtocol::Http1 => b"http/1.1",
            AlpnProtocol::Http2 => b"h2",
        }
    }
}

/// Makes aws-lc-rs the provider of cryptography for every library of the
/// process, such as the client of the store. Further calls change nothing.
pub fn install_provider() {
    // It fails only if a provider is installed already, and nothing else
    // installs one.
    let _ = aws_lc_rs::default_provider().install_default();
}

/// The process's provider. Its preferred key exchange is X25519MLKEM768 (by the
/// feature `prefer-post-quantum` of rustls), then X25519 and the NIST curves.
fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default()
        .cloned()
        .unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()))
}

/// A store of the given authorities.
///
/// # Errors
/// One of the certificates cannot be an authority's; the text says why.
fn roots(certificates: &[CertificateDer<'static>]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots
            .add(certificate.clone())
            .map_err(|error| reason::of_error(&error).to_owned())?;
    }
    Ok(roots)
}
