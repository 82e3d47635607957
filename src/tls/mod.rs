//! TLS on both sides: who we are to clients, whom we trust among servers, and what a handshake showed. A leaf.
//!
//! rustls with aws-lc-rs does all of the work; nothing outside of this folder (and of the file check in `config`) names
//! either. A request passes here before it is one: `server` takes a connection through [`ServerTls::accept`], `upstream`
//! through [`ClientTls::connect`].

mod client;
mod facts;
mod hello;
mod identity;
mod pieces;
mod pinned;
mod read_ahead;
mod resolve;
mod server;
mod subject;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub use self::{
    client::{ClientSettings, ClientTls, Secure, ServerName, last_words, speaks_http2},
    facts::{Names, TlsFacts},
    hello::Hello,
    identity::Identity,
    pieces::InPieces,
    read_ahead::ReadAhead,
    server::{MinVersion, Protocol, Refusal, Secured, ServerSettings, ServerStream, ServerTls},
};

/// Makes aws-lc-rs what every library of the process uses. Further calls change nothing.
pub fn install_provider() {
    // It fails only when there is one already, which is this one.
    let _ = aws_lc_rs::default_provider().install_default();
}

/// X25519MLKEM768 first (the feature `prefer-post-quantum`), then X25519 and the curves of NIST.
fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default()
        .cloned()
        .unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()))
}
