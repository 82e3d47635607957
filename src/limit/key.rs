//! Keys of buckets: a keyed hash over typed parts, made once per request and limit.
//!
//! Only 64 bits are kept, whatever the length of a value: two of a million keys share a bucket with a chance of one
//! in 37 million. The hash is SipHash-1-3 under a key drawn at start, so nobody outside can aim at a neighbour's slot.

use std::fmt;
use std::hash::Hasher;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use siphasher::sip::SipHasher13;

/// Names one bucket of a limit. Shown as 16 hexadecimal digits: fit for a log, since it does not lead back to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(u64);

impl Key {
    /// Hashes below this are marks of the table's slots.
    pub(super) const RESERVED: u64 = 3;

    /// The keyed hash; the same for the same parts until the process ends.
    pub const fn hash(self) -> u64 {
        self.0
    }

    pub(super) const fn from_raw(hash: u64) -> Self {
        Self(hash)
    }
}

impl FromStr for Key {
    type Err = NotAKey;

    /// The 16 hexadecimal digits that it is shown as.
    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let is_it = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let hash = u64::from_str_radix(text, 16)
            .ok()
            .filter(|hash| is_it && *hash >= Self::RESERVED);
        hash.map(Self).ok_or(NotAKey)
    }
}

/// The text is not what a [`Key`] is shown as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAKey;

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Makes [`Key`]s; one for the process, since keys of different hashers do not match.
#[derive(Clone, Copy)]
pub struct KeyHasher {
    seed: [u64; 2],
}

impl KeyHasher {
    /// With a random seed.
    #[allow(
        clippy::new_without_default,
        reason = "two defaults would not be equal"
    )]
    pub fn new() -> Self {
        Self {
            seed: rand::random(),
        }
    }

    /// With a known seed, for tests.
    pub const fn with_seed(seed: [u64; 2]) -> Self {
        Self { seed }
    }

    /// Begins a key of the limit `limit`; finished without a part it is the limit's one key for everybody. What is
    /// begun may be kept, and cloned for each request.
    pub fn key(&self, limit: &str) -> KeyBuilder {
        let hasher = SipHasher13::new_with_keys(self.seed[0], self.seed[1]);
        KeyBuilder::over(hasher, limit)
    }
}

impl fmt::Debug for KeyHasher {
    /// Without the seed, which must not reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyHasher").finish_non_exhaustive()
    }
}

/// A key in the making. The order of the parts counts; parts of different kinds or names never make the same key.
#[derive(Clone)]
#[must_use]
pub struct KeyBuilder<H = SipHasher13> {
    hasher: H,
}

impl<H: Hasher> KeyBuilder<H> {
    /// Begins a key of the limit `limit` over another hash, for who needs another kind of name.
    pub fn over(hasher: H, limit: &str) -> Self {
        Self { hasher }.part(Kind::Limit, "", limit.as_bytes())
    }

    /// Everything that was written.
    pub fn into_hasher(self) -> H {
        self.hasher
    }

    /// The route's name.
    pub fn route(self, name: &str) -> Self {
        self.part(Kind::Route, "", name.as_bytes())
    }

    /// A client's address: whole for IPv4 and IPv4-mapped IPv6, else the first `v6_prefix` bits (0 to 128).
    pub fn ip(self, address: IpAddr, v6_prefix: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => self.part(Kind::Ipv4, "", &v4.octets()),
            IpAddr::V6(v6) => self.part(Kind::Ipv6, "", &network(v6, v6_prefix).to_be_bytes()),
        }
    }

    /// A header's value; `name` in lower case.
    pub fn header(self, name: &str, value: &[u8]) -> Self {
        self.part(Kind::Header, name, value)
    }

    /// A cookie's value.
    pub fn cookie(self, name: &str, value: &[u8]) -> Self {
        self.part(Kind::Cookie, name, value)
    }

    /// A query parameter's value.
    pub fn query(self, name: &str, value: &[u8]) -> Self {
        self.part(Kind::Query, name, value)
    }

    /// A path parameter's value.
    pub fn param(self, name: &str, value: &[u8]) -> Self {
        self.part(Kind::Param, name, value)
    }

    /// The host, in lower case.
    pub fn host(self, host: &str) -> Self {
        self.part(Kind::Host, "", host.as_bytes())
    }

    /// The path.
    pub fn path(self, path: &[u8]) -> Self {
        self.part(Kind::Path, "", path)
    }

    /// The method.
    pub fn method(self, method: &str) -> Self {
        self.part(Kind::Method, "", method.as_bytes())
    }

    /// The distinguished name of the client's certificate.
    pub fn tls_subject(self, subject: &[u8]) -> Self {
        self.part(Kind::TlsSubject, "", subject)
    }

    /// Kind and lengths go first, so that no value can spell another part.
    fn part(mut self, kind: Kind, name: &str, value: &[u8]) -> Self {
        let lengths = ((name.len() as u64) << 40) | ((value.len() as u64) << 8); // neither comes near 2^24
        self.hasher.write_u64(lengths | kind as u64);
        self.hasher.write(name.as_bytes());
        self.hasher.write(value);
        self
    }
}

impl KeyBuilder {
    /// The key.
    pub fn finish(self) -> Key {
        let hash = self.hasher.finish();
        Key(if hash < Key::RESERVED {
            hash + Key::RESERVED
        } else {
            hash
        })
    }
}

impl<H> fmt::Debug for KeyBuilder<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyBuilder").finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    Limit,
    Route,
    Ipv4,
    Ipv6,
    Header,
    Cookie,
    Query,
    Param,
    Host,
    Path,
    Method,
    TlsSubject,
}

/// The address with everything after the prefix cleared.
pub(super) fn network(address: Ipv6Addr, prefix: u8) -> u128 {
    let host_bits = 128 - u32::from(prefix.min(128));
    address.to_bits() & u128::MAX.checked_shl(host_bits).unwrap_or(0)
}
