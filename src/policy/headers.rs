//! Header fields that a route sets and removes, in requests or in responses.
//!
//! Used by `layer::forward` for requests, and by the layer of response changes
//! for responses. Trailers of the same message follow the same rules, so a body
//! that arrives in pieces holds the list of names to its end.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

/// `set_headers` and `remove_headers` of a route, for requests or for
/// responses.
///
/// No name is both set and removed, and no name is set twice: the configuration
/// refuses it.
///
/// ```
/// use http::header::{HeaderValue, SERVER, VIA};
/// use tidegate::policy::HeaderChanges;
///
/// let set = vec![(VIA, HeaderValue::from_static("1.1 edge"))];
/// let changes = HeaderChanges::new(set, vec![SERVER]);
/// assert!(changes.decides(&SERVER) && changes.decides(&VIA));
/// assert!(HeaderChanges::<HeaderValue>::default().is_empty());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderChanges<V = HeaderValue> {
    /// Names and values, in the order of the configuration.
    set: Vec<(HeaderName, V)>,
    /// Names of fields that are removed.
    remove: Vec<HeaderName>,
    /// The names of both lists, `None` if both are empty. Shared, because a
    /// body that arrives in pieces holds them until its trailers.
    names: Option<Arc<[HeaderName]>>,
}

impl<V> Default for HeaderChanges<V> {
    /// Changes nothing.
    fn default() -> Self {
        Self {
            set: Vec::new(),
            remove: Vec::new(),
            names: None,
        }
    }
}

impl<V> HeaderChanges<V> {
    /// Sets the fields `set`, each in place of all fields of its name that a
    /// message has, and removes the fields `remove`.
    pub fn new(set: Vec<(HeaderName, V)>, remove: Vec<HeaderName>) -> Self {
        let names: Arc<[_]> = set
            .iter()
            .map(|(name, _)| name)
            .chain(&remove)
            .cloned()
            .collect();
        Self {
            set,
            remove,
            names: Some(names).filter(|names| !names.is_empty()),
        }
    }

    /// The fields that are set, in the order of the configuration.
    pub fn set(&self) -> &[(HeaderName, V)] {
        &self.set
    }

    /// The names of the fields that are removed.
    pub fn remove(&self) -> &[HeaderName] {
        &self.remove
    }

    /// The names of all fields that are set or removed; `None` if there are
    /// none, so that the common message without changes costs no reference
    /// count.
    pub fn names(&self) -> Option<&Arc<[HeaderName]>> {
        self.names.as_ref()
    }

    /// Whether no field is set or removed.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.names.is_none()
    }

    /// Whether the route sets or removes this field. The gateway then adds no
    /// value of its own under this name: the route alone decides what is sent.
    ///
    /// Names are compared without letter case.
    #[inline]
    pub fn decides(&self, name: impl AsRef<[u8]>) -> bool {
        let is = |known: &HeaderName| {
            let known = known.as_str().as_bytes();
            known.eq_ignore_ascii_case(name.as_ref())
        };
        self.names
            .as_ref()
            .is_some_and(|names| names.iter().any(is))
    }
}

/// The value of a field that a route sets in requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderText {
    /// The same for all requests.
    Fixed(HeaderValue),
    /// Pieces, one behind the other, at least one of which is filled in for
    /// each request. A request that lacks the value of one of them gets no such
    /// field at all.
    Template(Box<[TextPiece]>),
}

/// A piece of a value that is filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextPiece {
    /// This text, which a header field can hold.
    Literal(Box<str>),
    /// A value of the request.
    Value(RequestValue),
}

/// A value of a request, by which a header field is filled in.
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
    /// The listener, by its address.
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
    /// Whether only identified clients have such a value.
    pub fn is_of_identity(&self) -> bool {
        matches!(self, Self::Identity | Self::Plan | Self::Claim(_))
    }
}
