//! The name of a bucket in the store: the same in every gateway, and without
//! the values of its key.
//!
//! # Why SHA-256 and not the table's hash
//!
//! A key of the local table is 64 bits of SipHash under a seed of the process:
//! nobody outside can aim at it. Gateways share no such seed, and one that is
//! printed in the source protects nothing: anybody who knows SipHash's key can
//! search for two values with one hash, and so drain another's bucket with a
//! header of their choice. SHA-256 needs no secret. Cut to 128 bits, hitting
//! one given bucket takes 2^128 tries, and making any two of one's own collide
//! takes 2^64 and wins nothing, as both would belong to the same person. By
//! chance, two of a billion keys meet once in 10^20.
//!
//! A name does not show its value, but anybody who can read the store can try
//! all IPv4 addresses: it provides no anonymity.

use std::{fmt, hash::Hasher};

use aws_lc_rs::digest::{Context, SHA256};

/// The beginning of every key of this format. The number is that of the format:
/// of the parts that a key is made of, of the value that it holds, and of the
/// script that reads it. Gateways of two formats beside each other, during an
/// upgrade, do not meet: each has buckets of its own instead of misreading
/// those of the other. A change of one of the three increments the number.
pub(super) const PREFIX: &str = "tidegate:2:";

/// Names one bucket, the same in every gateway. Displayed as 32 hexadecimal
/// digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name(u128);

impl Name {
    /// The name of the bucket that further keys share, while the gateway has as
    /// many keys as the limit may have. No digest is 0.
    pub(super) const OVERFLOW: Self = Self(0);

    /// The name as a number.
    pub(super) const fn number(self) -> u128 {
        self.0
    }

    /// Bits of the name for spreading over shards; all bits are equally good.
    pub(super) const fn spread(self) -> usize {
        (self.0 >> 64) as usize
    }

    #[cfg(test)]
    pub(super) const fn from_raw(number: u128) -> Self {
        Self(number)
    }

    /// The key in the store. The text in braces decides on the slot in a
    /// cluster (Redis Cluster Specification, "Hash tags").
    pub fn key(self, limit: &str) -> String {
        format!("{PREFIX}{{{limit}:{self}}}")
    }

    /// The key in the store of requests in flight. Another one than that of a
    /// bucket: a limit may change its kind.
    pub(super) fn cap_key(self, limit: &str) -> String {
        format!("{PREFIX}{{{limit}:{self}}}:in-flight")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Hashes the parts of a key as [`KeyBuilder`](crate::limit::KeyBuilder) writes
/// them.
#[derive(Clone)]
pub struct NameHasher(Context);

impl NameHasher {
    /// A hasher into which nothing was written.
    #[allow(
        clippy::new_without_default,
        reason = "a hasher is begun, not defaulted"
    )]
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// The name of everything that was written.
    pub fn name(self) -> Name {
        let digest = self.0.finish();
        let mut number = [0; 16];
        for (to, from) in number.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Name(u128::from_be_bytes(number))
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Writes a number in the same way on every machine.
    fn write_u64(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn finish(&self) -> u64 {
        self.clone().name().number() as u64
    }
}

impl fmt::Debug for NameHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NameHasher").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        limit::{KeyBuilder, KeyValue},
        policy::KeyPart,
    };

    /// Another name here is another format: [`PREFIX`] has to change with it.
    #[test]
    fn gateways_of_one_format_call_a_bucket_the_same() {
        let mut builder = KeyBuilder::over(NameHasher::new(), "l");
        let part = KeyPart::Header(http::HeaderName::from_static("x-user"));
        builder.add(&part, &KeyValue::text(b"a"));
        let name = builder.into_hasher().name();
        assert_eq!(
            name.key("l"),
            "tidegate:2:{l:6944504f11630f955c559192a6516dcc}"
        );
    }
}
