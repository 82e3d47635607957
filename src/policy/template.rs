//! Texts that are filled in for each request: values of header fields, paths
//! that are rewritten to, and targets of redirects.
//!
//! The file has them as text with `{name}` places, and they are taken apart when
//! it is read: filling one in looks nothing up by name. `layer::fill` does that.

use std::fmt;

use http::HeaderName;

/// A text with at least one place that is filled in, or a URL, which may have
/// none.
///
/// Displayed as the configuration has it: a place is `{name}`, and a brace is
/// written twice.
///
/// ```
/// use tidegate::policy::{RequestValue, Template, TextPiece};
///
/// let pieces = [TextPiece::Literal("{".into()), TextPiece::Value(RequestValue::Host)];
/// assert_eq!(Template(pieces.into()).to_string(), "{{{host}");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(pub Box<[TextPiece]>);

impl Template {
    /// The values of a request that are filled in, in their order.
    pub fn values(&self) -> impl Iterator<Item = &RequestValue> {
        self.0.iter().filter_map(|piece| match piece {
            TextPiece::Literal(_) => None,
            TextPiece::Value(value) => Some(value),
        })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.0 {
            match piece {
                TextPiece::Literal(text) => {
                    f.write_str(&text.replace('{', "{{").replace('}', "}}"))?;
                }
                TextPiece::Value(value) => write!(f, "{{{value}}}")?,
            }
        }
        Ok(())
    }
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextPiece {
    /// This text, which a header field can hold. Never empty, and never beside
    /// another one.
    Literal(Box<str>),
    /// A value of the request.
    Value(RequestValue),
}

/// A value of a request, by which a template is filled in. Displayed by the name
/// that stands between the braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestValue {
    /// The address of the client.
    ClientIp,
    /// The address of the other end of the connection.
    Peer,
    /// The host, in lower case and without its port.
    Host,
    /// The path as received, with the query.
    Path,
    /// The method.
    Method,
    /// `https` or `http`, as the client's connection is.
    Scheme,
    /// The id of the request.
    RequestId,
    /// The name of the route.
    Route,
    /// The name of the listener.
    Listener,
    /// The id of the client in its identity.
    Identity,
    /// The plan of the client.
    Plan,
    /// A claim of the client; the items of a list with a blank between them.
    Claim(Box<str>),
    /// A header field of the request as received; several lines with a comma
    /// between them.
    Header(HeaderName),
    /// A parameter of the route's path, as received.
    Param(Box<str>),
    /// The distinguished name in the client's certificate.
    TlsSubject,
}

impl RequestValue {
    /// Whether the value says who the client is.
    pub fn is_of_client(&self) -> bool {
        self.is_of_identity() || matches!(self, Self::ClientIp | Self::Peer | Self::TlsSubject)
    }

    /// Whether only identified clients have such a value.
    pub fn is_of_identity(&self) -> bool {
        matches!(self, Self::Identity | Self::Plan | Self::Claim(_))
    }
}

impl fmt::Display for RequestValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientIp => "client_ip",
            Self::Peer => "peer",
            Self::Host => "host",
            Self::Path => "path",
            Self::Method => "method",
            Self::Scheme => "scheme",
            Self::RequestId => "request_id",
            Self::Route => "route",
            Self::Listener => "listener",
            Self::Identity => "identity",
            Self::Plan => "plan",
            Self::TlsSubject => "tls:subject",
            Self::Claim(name) => return write!(f, "claim:{name}"),
            Self::Header(name) => return write!(f, "header:{name}"),
            Self::Param(name) => name,
        })
    }
}
