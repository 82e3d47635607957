//! Keys of buckets: a keyed hash over typed parts, made once per request and
//! limit.
//!
//! Only 64 bits are kept, whatever the length of a value: two of a million keys
//! share a bucket with a chance of one in 37 million. The hash is SipHash-1-3
//! under a key drawn at start, so that nobody outside can aim at the bucket of
//! somebody else.
//!
//! # Adding a kind of part
//!
//! A new kind of [`KeyPart`] has three places, and a fourth if operators have
//! to write its values in a special form:
//!
//! 1. `policy::KeyPart`: the variant, with its row in `KeyPart::kind` (word,
//!    name, number in hashes).
//! 2. `config`, syntax of keys: the expression that makes one.
//! 3. `layer::key::value`: the value that a request has of it.
//! 4. `build::keys`: reading a value that an operator names. Text that is taken
//!    as it stands needs nothing there.
//!
//! Hashing, labels, overrides, stand-ins, shared limits, saved debts and the
//! views of the admin listener follow from these.

use std::borrow::Cow;
use std::fmt;
use std::hash::Hasher;
use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::IpNet;
use siphasher::sip::SipHasher13;

use crate::policy::{KeyPart, network};

/// Names one bucket of a limit. Displayed as 16 hexadecimal digits, which are
/// fit for a log, since they do not lead back to a value.
///
/// ```
/// use tidegate::limit::{Key, KeyHasher};
///
/// let key = KeyHasher::new().key("everyone").finish();
/// assert_eq!(key.to_string().parse::<Key>(), Ok(key));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(u64);

impl Key {
    /// Hashes below this mark slots of the table, and no key has one.
    pub(super) const RESERVED: u64 = 3;

    /// The keyed hash; the same for the same parts until the process ends.
    pub const fn hash(self) -> u64 {
        self.0
    }

    /// The key with this hash, as it was read from a table or a file.
    pub(super) const fn from_raw(hash: u64) -> Self {
        Self(hash)
    }
}

impl FromStr for Key {
    type Err = NotAKey;

    /// Reads the 16 hexadecimal digits of a displayed key.
    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let is_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let hash = u64::from_str_radix(text, 16)
            .ok()
            .filter(|hash| is_hex && *hash >= Self::RESERVED);
        hash.map(Self).ok_or(NotAKey)
    }
}

/// The text is not a displayed [`Key`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAKey;

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The value that a request has of one [`KeyPart`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyValue<'v> {
    /// Text, or any other bytes.
    Text(Cow<'v, [u8]>),
    /// A client's address: the network that it counts as, without bits beyond
    /// the prefix. Never one of IPv4-mapped IPv6 addresses.
    Address(IpNet),
}

impl<'v> KeyValue<'v> {
    /// Borrowed text.
    pub const fn text(value: &'v [u8]) -> Self {
        Self::Text(Cow::Borrowed(value))
    }

    /// The value in a wider network of this many bits, if it is an address.
    #[must_use]
    pub fn with_prefix(self, bits: u8) -> Self {
        match self {
            Self::Address(net) => Self::Address(network(net.addr(), bits)),
            text => text,
        }
    }
}

/// Makes [`Key`]s. A process has one, since keys of different hashers do not
/// match. With debts that outlive the process its seed is kept, too: in
/// a file that nobody else may read, since the seed is the secret that keeps
/// clients from aiming at a bucket.
#[derive(Clone, Copy)]
pub struct KeyHasher {
    /// The key of the hash, which must not reach a log or a client.
    seed: [u64; 2],
}

impl KeyHasher {
    /// A hasher with a random seed.
    #[allow(
        clippy::new_without_default,
        reason = "two defaults would not be equal"
    )]
    pub fn new() -> Self {
        Self {
            seed: rand::random(),
        }
    }

    /// A hasher with a known seed: for tests, and where keys have to agree
    /// between processes.
    pub const fn with_seed(seed: [u64; 2]) -> Self {
        Self { seed }
    }

    /// Begins a key of the limit `limit`. Finished without a part it is the one
    /// key of a limit that counts everybody together. The builder may be kept,
    /// and cloned for each request.
    pub fn key(&self, limit: &str) -> KeyBuilder {
        let hasher = SipHasher13::new_with_keys(self.seed[0], self.seed[1]);
        let name = KeyBuilder::over(hasher, limit).hasher.finish();
        KeyBuilder { hasher, name }
    }
}

impl fmt::Debug for KeyHasher {
    /// Leaves out the seed, which must not reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyHasher").finish_non_exhaustive()
    }
}

/// A key in the making. The order of the parts counts; parts of different kinds
/// or names never make the same key.
///
/// ```
/// use tidegate::{limit::{KeyHasher, KeyValue}, policy::KeyPart};
///
/// let hasher = KeyHasher::new();
/// let key = |value: &[u8]| {
///     let mut builder = hasher.key("per-tenant");
///     builder.add(&KeyPart::Cookie("tenant".into()), &KeyValue::text(value));
///     builder.finish()
/// };
/// assert_eq!(key(b"a"), key(b"a"));
/// assert_ne!(key(b"a"), key(b"b"));
/// ```
#[derive(Clone)]
#[must_use]
pub struct KeyBuilder<H = SipHasher13> {
    hasher: H,
    /// The hash of the limit's name, which is mixed in at the end: limits with
    /// the same parts share the hash of these. Zero where the name was added to
    /// the hasher.
    name: u64,
}

impl<H: Hasher> KeyBuilder<H> {
    /// Begins a key of the limit `limit` over another hash than [`Key`]'s, such
    /// as the one of shared limits.
    pub fn over(hasher: H, limit: &str) -> Self {
        let mut builder = Self { hasher, name: 0 };
        builder.write(LIMIT, "", limit.as_bytes());
        builder
    }

    /// The hasher, with everything that was added.
    pub fn into_hasher(self) -> H {
        self.hasher
    }

    /// Adds the value of a part.
    #[inline]
    pub fn add(&mut self, part: &KeyPart, value: &KeyValue<'_>) {
        match value {
            KeyValue::Text(text) => {
                let kind = part.kind();
                self.write(kind.number, kind.name.unwrap_or_default(), text);
            }
            KeyValue::Address(IpNet::V4(net)) => {
                self.write(v4_kind(net.prefix_len()), "", &net.addr().octets());
            }
            KeyValue::Address(IpNet::V6(net)) => self.write(IPV6, "", &net.addr().octets()),
        }
    }

    /// Hashes one part. Kind and lengths go first, so that no value can spell
    /// another part.
    #[inline]
    fn write(&mut self, kind: u8, name: &str, value: &[u8]) {
        self.head(kind, name.len(), value.len());
        self.hasher.write(name.as_bytes());
        self.hasher.write(value);
    }

    /// Hashes the kind and the lengths of a part.
    #[inline]
    fn head(&mut self, kind: u8, name: usize, value: usize) {
        let lengths = ((name as u64) << 40) | ((value as u64) << 8); // neither comes near 2^24
        self.hasher.write_u64(lengths | u64::from(kind));
    }
}

impl KeyBuilder {
    /// The finished key.
    #[inline]
    pub fn finish(self) -> Key {
        self.of_parts(self.parts())
    }

    /// The hash of the parts that were added, without the name of the limit.
    #[inline]
    pub fn parts(&self) -> u64 {
        self.hasher.finish()
    }

    /// The key of this limit whose parts have this hash.
    #[inline]
    pub fn of_parts(&self, parts: u64) -> Key {
        Key((parts ^ self.name).max(Key::RESERVED))
    }

    /// This key and an IPv4 network of `bits` leading bits, up to the octets of
    /// its address. A limit that counts by the client's address alone keeps it,
    /// so that a request hashes four bytes.
    pub fn before_v4(mut self, bits: u8) -> Self {
        self.head(v4_kind(bits), 0, size_of::<Ipv4Addr>());
        self
    }

    /// The hash of the parts, the last of which is the network with this
    /// address, of a builder made by [`Self::before_v4`]: the same as that of a
    /// builder to which the network was [added](KeyBuilder::add).
    #[inline]
    pub fn parts_v4(&self, address: Ipv4Addr) -> u64 {
        let mut hasher = self.hasher;
        // Hashes the octets in their order, in one step.
        hasher.write_u32(u32::from_ne_bytes(address.octets()));
        hasher.finish()
    }
}

impl<H> fmt::Debug for KeyBuilder<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyBuilder").finish_non_exhaustive()
    }
}

/// Numbers in hashes beside those of [`KeyPart::kind`].
const LIMIT: u8 = 0;
const IPV4: u8 = 2;
const IPV6: u8 = 3;
const IPV4_NETWORK: u8 = 12;

/// The number in hashes of an IPv4 address of which `bits` count.
const fn v4_kind(bits: u8) -> u8 {
    if bits < 32 { IPV4_NETWORK } else { IPV4 }
}
