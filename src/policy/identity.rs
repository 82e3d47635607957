//! Identities: the ways in which clients are authenticated, and what a route
//! asks of them.
//!
//! `[identities.NAME]` is one such way: where the credential stands in a
//! request, and how it is verified. A route lists those that it accepts. The
//! parts that run are made of these in [`identity`](crate::identity).

use std::{fmt, sync::Arc, time::Duration};

use http::HeaderName;

use super::{ApiKeys, Jwt, Upstream};

/// `[identities.NAME]`: one way to authenticate a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its key in the file: letters, digits, `-`, `_` and `.`, so that a name
    /// and an id can be written as `NAME:ID`.
    pub name: Arc<str>,
    /// Where the credential of a request stands: the first place of these that
    /// a request has; at least one. Empty for a service that is asked, if the
    /// file does not say what it looks at.
    pub from: Vec<CredentialPlace>,
    /// The claim whose value is the plan of the client; `None` if the method
    /// itself names the plan, or nothing does.
    pub plan: Option<Box<str>>,
    /// The limit that each credential which does not verify is charged to, by
    /// the address of the client; `None` for no limit.
    pub limit: Option<Arc<str>>,
    /// How credentials are verified.
    pub method: Authentication,
}

impl Identity {
    /// The places of credentials: those of the file, or else the fields that its
    /// service gets, without those that describe the request.
    pub fn credentials(&self) -> Vec<CredentialPlace> {
        match &self.method {
            Authentication::Forward(forward) if self.from.is_empty() => {
                let sent = forward.send.iter();
                let sent = sent.filter(|name| !describes_request(name.as_str()));
                sent.cloned().map(CredentialPlace::Header).collect()
            }
            _ => self.from.clone(),
        }
    }
}

/// Whether a field, named in lower case, says something of a request and nothing
/// of the identity of its client. A field that is unknown here may be a
/// credential.
fn describes_request(name: &str) -> bool {
    let is_of_kind = |kind: &str| name.starts_with(kind);
    ["accept", "content-", "sec-fetch-"]
        .into_iter()
        .any(is_of_kind)
        || matches!(
            name,
            "host" | "origin" | "referer" | "user-agent" | "x-request-id" | "x-requested-with"
        )
}

/// How the credentials of an identity are verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication {
    /// They are keys of a file.
    ApiKeys(Arc<ApiKeys>),
    /// They are JSON Web Tokens.
    Jwt(Arc<Jwt>),
    /// A service is asked about each of them.
    Forward(Arc<ForwardAuth>),
}

/// `[identities.NAME.forward]`: a service that says who clients are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardAuth {
    /// The service: one server, with a pool and a concurrency limit of its own.
    pub upstream: Arc<Upstream>,
    /// The path and the query that it is asked by.
    pub target: Box<str>,
    /// The longest time of a question, up to the last byte of a response that
    /// goes to the client. Above zero.
    pub timeout: Duration,
    /// The field of its responses with the id of the client; `None` if it names
    /// no clients.
    pub id: Option<HeaderName>,
    /// Claims, each with the field of its responses that has it.
    pub claims: Vec<(Box<str>, HeaderName)>,
    /// The fields of a request that it gets.
    pub send: Vec<HeaderName>,
    /// The time for which a client that it has vouched for is remembered by the
    /// values of `send`; zero for none.
    pub cache: Duration,
}

/// A place in a request that may hold a credential.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CredentialPlace {
    /// `Authorization` with the scheme `Bearer` (RFC 6750, 2.1).
    Bearer,
    /// A header field, whose whole value is the credential.
    Header(HeaderName),
    /// A query parameter of this name, decoded.
    Query(Box<str>),
    /// A cookie of this name.
    Cookie(Box<str>),
}

/// The place as the configuration writes it.
impl fmt::Display for CredentialPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bearer => f.write_str("bearer"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
        }
    }
}

/// How a route identifies its clients, and its conditions on them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identification {
    /// The names of the identities that are tried, in this order. The first one
    /// whose credentials a request has decides. Empty if the route identifies
    /// nobody.
    pub by: Vec<Arc<str>>,
    /// Whether requests without credentials are refused with 401.
    pub refuses_anonymous: bool,
    /// Claims that each identified client must have.
    pub require: Vec<RequiredClaim>,
    /// Whether services get the credentials of requests.
    pub keeps_credentials: bool,
}

/// Whether a text about a client is read from a header field as it was written.
/// Readers remove blanks around a value, and control characters cannot be in
/// one: without them the text could be that of another client.
pub fn is_exact_in_field(text: &str) -> bool {
    !text.is_empty() && text.trim() == text && !text.contains(char::is_control)
}

/// A claim that clients of a route must have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequiredClaim {
    /// The name of the claim.
    pub claim: Box<str>,
    /// The claim must contain one of these; at least one.
    pub values: Vec<Box<str>>,
}
