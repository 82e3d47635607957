//! JSON Web Tokens (RFC 7519): what makes a token one of a client.
//!
//! Algorithms and keys are types here, so that neither can be taken for
//! another: a key verifies with the algorithms of its own kind only, a secret
//! is no public key, and there is no algorithm `none`.

mod algorithm;
mod key;
mod set;

use std::{sync::Arc, time::Duration};

pub use self::{
    algorithm::{Algorithm, KeyType},
    key::{KeyFault, VerifyingKey},
    set::{KeySet, KeySetFault},
};
use super::{UpstreamServer, UpstreamTls};

/// `[identities.NAME.jwt]`: the tokens that an identity accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwt {
    /// The keys that may have signed them.
    pub keys: TokenKeys,
    /// The algorithms that a token may be signed with, at least one: of public
    /// keys, or of a secret, never both.
    pub algorithms: Vec<Algorithm>,
    /// The value that `iss` must have; `None` if any is accepted.
    pub issuer: Option<Box<str>>,
    /// Values of which `aud` must have one; empty if any is accepted.
    pub audience: Vec<Box<str>>,
    /// The claim whose value is the id of the client.
    pub id: Box<str>,
    /// How far the clocks of the issuer and of this machine may be apart; at
    /// most an hour.
    pub leeway: Duration,
}

/// The keys of an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenKeys {
    /// Those of a file, or a secret.
    Fixed(Arc<KeySet>),
    /// Those that a URL has at the time.
    Fetched(Box<KeyUrl>),
}

/// The URL of a key set (RFC 7517, 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUrl {
    /// The server, whose `url` is that of logs.
    pub server: UpstreamServer,
    /// The path and the query.
    pub target: Box<str>,
    /// How a server with `https` is verified.
    pub tls: UpstreamTls,
}
