//! API keys as a file lists them: the digest of each key, and who owns it.
//!
//! A key itself is nowhere: only its SHA-256 is stored. Keys are made of 256
//! random bits, so that nobody can guess one back from its digest, and a slow
//! hash for passwords would protect nothing more.
//!
//! # Memory
//!
//! A key takes 36 bytes and the text of its owner; all texts stand in one
//! buffer. A million keys with a name and a plan take some 90 MB.
//!
//! # Timing
//!
//! A look-up compares digests, never keys. A client that measures how far the
//! search went would learn bits of a digest that it cannot aim at. The last
//! comparison, of the whole digest, takes the same time wherever two differ.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The SHA-256 of an API key.
pub type KeyDigest = [u8; 32];

/// All keys of a file.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKeys {
    /// In ascending order of the digests, each of which occurs once.
    entries: Box<[ApiKey]>,
    /// The owners as JSON, one behind the other, in any order.
    owners: Box<str>,
}

/// A digest, and the place of the text of its owner.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ApiKey {
    digest: KeyDigest,
    owner: u32,
}

/// The owner of an API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyOwner {
    /// The name of the owner, which is the id of the client.
    pub name: String,
    /// The plan of the owner; `None` for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Claims by name, each a scalar or a list of scalars.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub claims: Map<String, Value>,
}

impl ApiKeys {
    /// The keys with these owners, in any order. Of two equal digests the first
    /// one in that order counts.
    ///
    /// `None` if the texts of all owners together have more than 4 GiB.
    pub fn new(keys: impl IntoIterator<Item = (KeyDigest, KeyOwner)>) -> Option<Self> {
        let (mut entries, mut owners) = (Vec::new(), String::new());
        for (digest, owner) in keys {
            let at = u32::try_from(owners.len()).ok()?;
            owners.push_str(&serde_json::to_string(&owner).ok()?);
            entries.push(ApiKey { digest, owner: at });
        }
        entries.sort_by_key(|entry| entry.digest);
        entries.dedup_by_key(|entry| entry.digest);
        Some(Self {
            entries: entries.into(),
            owners: owners.into(),
        })
    }

    /// The owner of the key with this digest; `None` if there is no such key.
    ///
    /// Takes logarithmic time in the number of keys.
    pub fn owner(&self, digest: &KeyDigest) -> Option<KeyOwner> {
        let at = self.entries.partition_point(|entry| entry.digest < *digest);
        let entry = self.entries.get(at)?;
        verify_slices_are_equal(&entry.digest, digest).ok()?;
        let text = self.owners.get(entry.owner as usize..)?;
        // The next owner follows at once.
        serde_json::Deserializer::from_str(text)
            .into_iter()
            .next()?
            .ok()
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Says how many keys there are, and neither digests nor owners.
impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeys")
            .field("keys", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owner(name: &str) -> KeyOwner {
        KeyOwner {
            name: name.to_owned(),
            plan: None,
            claims: Map::new(),
        }
    }

    proptest! {
        #[test]
        fn each_digest_leads_to_its_owner_and_no_other_does(
            digests in proptest::collection::hash_set(any::<[u8; 32]>(), 0..40),
            other: [u8; 32],
        ) {
            let keys = digests.iter().map(|digest| (*digest, owner(&format!("{digest:?}"))));
            let keys = ApiKeys::new(keys).expect("few owners");
            prop_assert_eq!(keys.len(), digests.len());
            for digest in &digests {
                prop_assert_eq!(keys.owner(digest), Some(owner(&format!("{digest:?}"))));
            }
            if !digests.contains(&other) {
                prop_assert_eq!(keys.owner(&other), None);
            }
        }
    }
}
