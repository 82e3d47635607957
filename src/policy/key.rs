//! The parts of a key: what tells one bucket, one server or one turn in a queue
//! from another.

use std::{fmt, net::IpAddr};

use http::HeaderName;
use ipnet::IpNet;

/// One part of a key: something of a request that distinguishes buckets.
///
/// Limits, `hash_key` of an upstream and `fair_by` of a queue use the same
/// parts, and `layer::key` reads their values. Every value is normalised, so
/// that a client cannot choose a bucket by the spelling.
///
/// ```
/// use tidegate::policy::{KeyPart, Prefixes};
///
/// assert_eq!(KeyPart::Cookie("session".into()).to_string(), "cookie:session");
/// assert_eq!(KeyPart::ClientIp(Prefixes { v4: 32, v6: 56 }).to_string(), "client-ip");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeyPart {
    /// The route's name.
    Route,
    /// The client's address, as trusted proxies report it, cut to its network.
    ClientIp(Prefixes),
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
            Self::ClientIp(_) => KeyKind::new(2, "client-ip"), // 3 and 12: networks
            Self::Header(name) => KeyKind::new(4, "header").of(name.as_str()),
            Self::Cookie(name) => KeyKind::new(5, "cookie").of(name),
            Self::Query(name) => KeyKind::new(6, "query").of(name),
            Self::Param(name) => KeyKind::new(7, "param").of(name),
            Self::Host => KeyKind::new(8, "host"),
            Self::Path => KeyKind::new(9, "path"),
            Self::Method => KeyKind::new(10, "method"),
            Self::TlsSubject => KeyKind::new(11, "tls:subject"),
            // 12 is an IPv4 network.
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

/// How many leading bits of a client's address count: clients in one network
/// of this size are the same client for a key.
///
/// ```
/// use tidegate::policy::Prefixes;
///
/// let prefixes = Prefixes { v4: 24, v6: 56 };
/// let network = |ip: &str| prefixes.network(ip.parse().unwrap()).to_string();
/// assert_eq!(network("203.0.113.9"), "203.0.113.0/24");
/// assert_eq!(network("::ffff:203.0.113.9"), "203.0.113.0/24");
/// assert_eq!(network("2001:db8:0:1ff::9"), "2001:db8:0:100::/56");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefixes {
    /// Bits of an IPv4 address, 1 to 32; by default 32, so that each address
    /// counts by itself.
    pub v4: u8,
    /// Bits of an IPv6 address, 1 to 128; by default 64, the network that one
    /// customer usually gets.
    pub v6: u8,
}

impl Prefixes {
    /// The network that this client counts as. An IPv4-mapped address is one of
    /// IPv4.
    pub fn network(self, ip: IpAddr) -> IpNet {
        match ip.to_canonical() {
            ip @ IpAddr::V4(_) => network(ip, self.v4),
            ip @ IpAddr::V6(_) => network(ip, self.v6),
        }
    }

    /// The bits that count of an address in `network`.
    pub fn bits(self, network: &IpNet) -> u8 {
        match network {
            IpNet::V4(_) => self.v4,
            IpNet::V6(_) => self.v6,
        }
    }
}

/// The network around an address with this number of leading bits. More bits
/// than an address has are all of them.
pub fn network(ip: IpAddr, bits: u8) -> IpNet {
    IpNet::new(ip, bits).map_or_else(|_| IpNet::from(ip), |network| network.trunc())
}

/// The kind of a [`KeyPart`], apart from its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyKind<'p> {
    /// The number of this kind in the hash of a key. Keys in stores and in
    /// state files depend on it: a number is never changed and never used
    /// again. 0 is the name of the limit itself. Addresses have three numbers:
    /// 2 for a whole IPv4 address, 3 for an IPv6 network, 12 for an IPv4
    /// network.
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
