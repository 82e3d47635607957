//! The parts of a key: what tells one bucket, one server or one turn in a queue
//! from another.

use std::fmt;

use http::HeaderName;

/// One part of a key: something of a request that distinguishes buckets.
///
/// Limits, `hash_key` of an upstream and `fair_by` of a queue use the same
/// parts, and `layer::key` reads their values. Every value is normalised, so
/// that a client cannot choose a bucket by the spelling.
///
/// ```
/// use tidegate::policy::KeyPart;
///
/// assert_eq!(KeyPart::Cookie("session".into()).to_string(), "cookie:session");
/// assert_eq!(KeyPart::ClientIp { v6_prefix: 56 }.to_string(), "client-ip");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeyPart {
    /// The route's name.
    Route,
    /// The client's address, as trusted proxies report it.
    ClientIp {
        /// Leading bits of an IPv6 address that count, 1 to 128; by default 64,
        /// the network that one customer usually gets. IPv4 addresses count
        /// whole.
        v6_prefix: u8,
    },
    /// A request header, without outer blanks and with single blanks inside.
    Header(HeaderName),
    /// A cookie of this name, without quotes and decoded.
    Cookie(Box<str>),
    /// A query parameter of this name, decoded.
    Query(Box<str>),
    /// A parameter of the route's path, by its name. Escapes that are needed
    /// are kept.
    Param(Box<str>),
    /// The request's host, in lower case and without its port.
    Host,
    /// The path in its normal form.
    Path,
    /// The method.
    Method,
    /// The distinguished name in the client's certificate, in the form of RFC
    /// 4514.
    TlsSubject,
    /// The name of the identity and the id of the client in it.
    Identity,
    /// The plan of the identified client.
    Plan,
    /// A claim of the identified client, by its name.
    Claim(Box<str>),
}

impl KeyPart {
    /// The word of this part in the configuration and its number in hashes. The
    /// one table of all kinds.
    #[inline]
    pub fn kind(&self) -> KeyKind<'_> {
        match self {
            Self::Route => KeyKind::new(1, "route"),
            Self::ClientIp { .. } => KeyKind::new(2, "client-ip"), // 3: an IPv6 network
            Self::Header(name) => KeyKind::new(4, "header").of(name.as_str()),
            Self::Cookie(name) => KeyKind::new(5, "cookie").of(name),
            Self::Query(name) => KeyKind::new(6, "query").of(name),
            Self::Param(name) => KeyKind::new(7, "param").of(name),
            Self::Host => KeyKind::new(8, "host"),
            Self::Path => KeyKind::new(9, "path"),
            Self::Method => KeyKind::new(10, "method"),
            Self::TlsSubject => KeyKind::new(11, "tls:subject"),
            // 12: left to an IPv4 network
            Self::Identity => KeyKind::new(13, "identity"),
            Self::Plan => KeyKind::new(14, "plan"),
            Self::Claim(name) => KeyKind::new(15, "claim").of(name),
        }
    }
}

/// Writes the part as the configuration calls it, such as `header:x-api-key`;
/// addresses without the number of their bits.
impl fmt::Display for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KeyKind { word, name, .. } = self.kind();
        match name {
            Some(name) => write!(f, "{word}:{name}"),
            None => f.write_str(word),
        }
    }
}

/// The kind of a [`KeyPart`], apart from its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyKind<'p> {
    /// The number of this kind in the hash of a key. Keys in stores and in
    /// state files depend on it: a number is never changed and never used
    /// again. 0 is the name of the limit itself. Addresses have two numbers: 2
    /// for IPv4, 3 for an IPv6 network.
    pub number: u8,
    /// The word of this kind in the configuration.
    pub word: &'static str,
    /// The name that follows the word, as in `header:x-api-key`; `None` for a
    /// kind of which a request has one value only.
    pub name: Option<&'p str>,
}

impl<'p> KeyKind<'p> {
    const fn new(number: u8, word: &'static str) -> Self {
        Self {
            number,
            word,
            name: None,
        }
    }

    const fn of(self, name: &'p str) -> Self {
        Self {
            name: Some(name),
            ..self
        }
    }
}
