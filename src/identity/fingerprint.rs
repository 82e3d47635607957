//! Keyed fingerprints of credentials.
//!
//! A token has some 700 bytes, and each request brings one. So its fingerprint
//! is NH, the fast part of UMAC (Black, Halevi, Krawczyk, Krovetz and Rogaway,
//! "UMAC: Fast and Secure Message Authentication", CRYPTO 1999): half an
//! instruction for a byte and lane, where SipHash takes two.
//!
//! # Collisions
//!
//! For any two different credentials of one length, at most one key in 2^64
//! gives them the same sum. There are two sums, of keys that are shifted
//! against each other as in section 4 of the paper, and so one key in 2^128
//! gives them one fingerprint. The key is random and unknown to everybody, and
//! fingerprints are never shown: a client can do no better than to guess.

use std::{
    fmt,
    hash::{Hash, Hasher},
    iter,
};

/// Bytes of the longest credential that has a fingerprint: the longest token.
const LONGEST: usize = 16 * 1024;
/// Bytes that one step takes.
const STEP: usize = 16;

/// The key of fingerprints: one pair of words for each step, the last one
/// included that overlaps others, and one more for the second sum.
pub(super) struct FingerprintKey(Box<[[u64; 2]]>);

/// The fingerprint of a credential.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    sums: [u128; 2],
    length: usize,
}

/// A part of it, which is as random as the whole: a table need not mix more.
impl Hash for Fingerprint {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.sums[0] as u64);
    }
}

impl FingerprintKey {
    /// A random key.
    pub(super) fn random() -> Self {
        let pairs = LONGEST / STEP + 2;
        Self(iter::repeat_with(rand::random).take(pairs).collect())
    }

    /// The fingerprint of a credential; `None` if it is too long.
    #[inline]
    pub(super) fn of(&self, credential: &[u8]) -> Option<Fingerprint> {
        if credential.len() > LONGEST {
            return None;
        }
        let (steps, _) = credential.as_chunks();
        // Two variables and no array, so that both sums stay in registers.
        let (mut one, mut other) = (0, 0);
        for (step, keys) in steps.iter().zip(self.0.windows(2)) {
            add(&mut one, step, &keys[0]);
            add(&mut other, step, &keys[1]);
        }
        let last = last_step(credential);
        let keys = self.0.get(steps.len()..)?.first_chunk::<2>()?;
        add(&mut one, &last, &keys[0]);
        add(&mut other, &last, &keys[1]);
        Some(Fingerprint {
            sums: [one, other],
            length: credential.len(),
        })
    }
}

/// The last bytes of a credential, of which the step before may have some, too.
/// Zeros follow a credential that is shorter than a step: they are taken for no
/// others, as lengths are compared.
#[inline]
fn last_step(credential: &[u8]) -> [u8; STEP] {
    credential.last_chunk().copied().unwrap_or_else(|| {
        let mut step = [0; STEP];
        step[..credential.len()].copy_from_slice(credential);
        step
    })
}

/// Adds the product of one step to a sum.
#[inline(always)]
fn add(sum: &mut u128, step: &[u8; STEP], key: &[u64; 2]) {
    let both = u128::from_le_bytes(*step);
    let (low, high) = (both as u64, (both >> 64) as u64);
    let product = u128::from(low.wrapping_add(key[0])) * u128::from(high.wrapping_add(key[1]));
    *sum = sum.wrapping_add(product);
}

/// Shows nothing of the key.
impl fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FingerprintKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_changed_byte_or_length_changes_the_fingerprint() {
        let key = FingerprintKey::random();
        for length in [1, 15, 16, 17, 31, 32, 700] {
            let credential = vec![b'a'; length];
            let own = key.of(&credential);
            assert!(own.is_some() && own == key.of(&credential));
            for at in 0..length {
                let mut other = credential.clone();
                other[at] ^= 1;
                assert!(own != key.of(&other), "{length} {at}");
            }
            assert!(own != key.of(&[&credential[..], b"\0"].concat()));
            assert!(own != FingerprintKey::random().of(&credential));
        }
    }

    #[test]
    fn the_longest_credential_has_a_fingerprint_and_a_longer_one_has_none() {
        let key = FingerprintKey::random();
        assert!(key.of(&[1; LONGEST]).is_some());
        assert!(key.of(&[1; LONGEST + 1]).is_none());
    }

    proptest! {
        #[test]
        fn parts_that_change_places_are_other_credentials(
            mut parts in prop::collection::vec(any::<[u8; STEP]>(), 2..8),
            one in any::<prop::sample::Index>(),
            other in any::<prop::sample::Index>(),
        ) {
            let key = FingerprintKey::random();
            let before = parts.clone();
            let (one, other) = (one.index(parts.len()), other.index(parts.len()));
            parts.swap(one, other);
            let is_same = key.of(before.as_flattened()) == key.of(parts.as_flattened());
            prop_assert_eq!(is_same, before == parts);
        }
    }
}
