//! API keys as a file lists them: the digest of each key, and who owns it.
//!
//! A key itself is nowhere: only its SHA-256 is stored. Keys are made of 256
//! random bits, so that nobody can guess one back from its digest, and a slow
//! hash for passwords would protect nothing more.
//!
//! # Memory
//!
//! A key takes 36 bytes and the text of its owner; all texts stand in one
//! buffer, also while they are collected. A million keys with a name and a plan
//! take some 90 MB.
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
    /// Whether the file has nothing at all, as one that is being written.
    is_blank: bool,
}

/// Keys while they are collected, in the form that they are kept in.
#[derive(Default)]
pub struct CollectedKeys {
    /// Whether the file has nothing at all.
    pub is_blank: bool,
    entries: Vec<ApiKey>,
    owners: String,
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

impl CollectedKeys {
    /// Adds the keys of one owner. Returns false, and adds nothing, if the texts
    /// of all owners before have more than 4 GiB.
    pub fn add(&mut self, owner: &KeyOwner, digests: &[KeyDigest]) -> bool {
        let Ok(at) = u32::try_from(self.owners.len()) else {
            return false;
        };
        // Texts, numbers, flags and lists of these can always be written.
        let text = serde_json::to_string(owner).unwrap_or_default();
        self.owners.push_str(&text);
        let entries = digests.iter().map(|digest| ApiKey {
            digest: *digest,
            owner: at,
        });
        self.entries.extend(entries);
        true
    }

    /// The keys. Of two equal digests the one that was added first counts.
    pub fn finish(self) -> ApiKeys {
        let Self {
            mut entries,
            owners,
            is_blank,
        } = self;
        // Owners that were added later stand further back.
        entries.sort_unstable_by_key(|entry| (entry.digest, entry.owner));
        entries.dedup_by_key(|entry| entry.digest);
        ApiKeys {
            entries: entries.into(),
            owners: owners.into(),
            is_blank,
        }
    }
}

impl ApiKeys {
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

    /// Whether the file has nothing at all, not even a comment.
    pub fn is_blank(&self) -> bool {
        self.is_blank
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Says how many keys there are, and neither digests nor owners.
impl fmt::Debug for CollectedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectedKeys")
            .field("keys", &self.entries.len())
            .finish_non_exhaustive()
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

    #[test]
    fn of_equal_digests_the_first_one_counts() {
        let mut collected = CollectedKeys::default();
        for (name, digests) in [("a", [[1; 32], [2; 32]]), ("b", [[2; 32], [3; 32]])] {
            collected.add(&owner(name), &digests);
        }
        let keys = collected.finish();
        let names = [1, 2, 3].map(|digest| keys.owner(&[digest; 32]).unwrap().name);
        assert_eq!((keys.len(), names), (3, ["a", "a", "b"].map(String::from)));
    }

    proptest! {
        #[test]
        fn each_digest_leads_to_its_owner_and_no_other_does(
            digests in proptest::collection::hash_set(any::<[u8; 32]>(), 0..40),
            other: [u8; 32],
        ) {
            let mut collected = CollectedKeys::default();
            for digest in &digests {
                let is_added = collected.add(&owner(&format!("{digest:?}")), &[*digest]);
                prop_assert!(is_added);
            }
            let keys = collected.finish();
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
