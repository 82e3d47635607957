//! A key that verifies signatures.

use std::fmt;

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    hmac,
    rsa::{PublicEncryptingKey, PublicKeyComponents},
    signature::ParsedPublicKey,
};
use thiserror::Error;

use super::algorithm::{Algorithm, KeyType};

/// Bits of the shortest RSA key that is taken: shorter ones can be broken (NIST
/// SP 800-131A).
const SHORTEST_RSA: usize = 2048;
/// Bits of the longest RSA key: a check with it takes 0.3 ms.
const LONGEST_RSA: usize = 8192;
/// Bytes of the longest exponent. All keys in use have 3 or 65537.
const LONGEST_EXPONENT: usize = 8;

/// A key of one kind. Equal if it has the same material and the same names.
#[derive(Clone)]
pub struct VerifyingKey {
    /// Its `kid`; `None` for a key without a name.
    pub id: Option<Box<str>>,
    /// The only algorithm that it is for; `None` for all of its kind.
    pub only: Option<Algorithm>,
    kind: KeyType,
    material: Material,
}

/// The material that signatures are held against.
#[derive(Clone)]
enum Material {
    /// For each algorithm of the kind, the key as that algorithm takes it.
    Public(Box<[(Algorithm, ParsedPublicKey)]>),
    /// A secret.
    Secret(Box<[u8]>),
}

/// Why something is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyFault {
    /// An RSA key is too short.
    #[error("its RSA key has less than 2048 bits")]
    Short,
    /// An RSA key is too long.
    #[error("its RSA key has more than 8192 bits, or a long exponent")]
    Long,
    /// The numbers of the key are no key of its kind.
    #[error("it is no sound key")]
    Unsound,
}

impl VerifyingKey {
    /// The RSA key with this modulus and exponent, as big-endian numbers.
    ///
    /// # Errors
    /// It is too short, too long, or no key.
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyFault> {
        let (n, e) = (without_zeros(modulus), without_zeros(exponent));
        // Looked at before any arithmetic, whose time grows with the lengths.
        if n.len() > LONGEST_RSA / 8 || e.len() > LONGEST_EXPONENT {
            return Err(KeyFault::Long);
        }
        if n.len() < SHORTEST_RSA / 8 {
            return Err(KeyFault::Short);
        }
        let components = PublicKeyComponents { n, e };
        let key: PublicEncryptingKey = components.try_into().map_err(|_| KeyFault::Unsound)?;
        Self::of_rsa(&key)
    }

    fn of_rsa(key: &PublicEncryptingKey) -> Result<Self, KeyFault> {
        match key.key_size_bits() {
            ..SHORTEST_RSA => return Err(KeyFault::Short),
            SHORTEST_RSA..=LONGEST_RSA => {}
            _ => return Err(KeyFault::Long),
        }
        let der: PublicKeyX509Der<'_> = key.as_der().map_err(|_| KeyFault::Unsound)?;
        Self::public(KeyType::Rsa, der.as_ref())
    }

    /// The key on a curve that is this uncompressed point (SEC 1, 2.3.3), or
    /// the key of Ed25519 with these bytes.
    ///
    /// # Errors
    /// It is not on the curve of this kind.
    pub fn point(kind: KeyType, bytes: &[u8]) -> Result<Self, KeyFault> {
        Self::public(kind, bytes)
    }

    /// The key in a SubjectPublicKeyInfo (RFC 5280, 4.1).
    ///
    /// # Errors
    /// It is of no kind that is known here, too short, or no key.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyFault> {
        if let Ok(key) = PublicEncryptingKey::from_der(der) {
            return Self::of_rsa(&key);
        }
        let kinds = [KeyType::P256, KeyType::P384, KeyType::Ed25519];
        let found = kinds
            .into_iter()
            .find_map(|kind| Self::public(kind, der).ok());
        found.ok_or(KeyFault::Unsound)
    }

    /// The bytes of a secret.
    pub fn secret(bytes: &[u8]) -> Self {
        Self {
            id: None,
            only: None,
            kind: KeyType::Secret,
            material: Material::Secret(bytes.into()),
        }
    }

    fn public(kind: KeyType, bytes: &[u8]) -> Result<Self, KeyFault> {
        let fitting = Algorithm::ALL.into_iter().filter(|one| one.kind() == kind);
        let mut parsed = Vec::new();
        for algorithm in fitting {
            let how = algorithm.of_public_key().ok_or(KeyFault::Unsound)?;
            let key = ParsedPublicKey::new(how, bytes).map_err(|_| KeyFault::Unsound)?;
            parsed.push((algorithm, key));
        }
        Ok(Self {
            id: None,
            only: None,
            kind,
            material: Material::Public(parsed.into()),
        })
    }

    /// The key with this `kid` and `alg`.
    pub(super) fn named(self, id: Option<Box<str>>, only: Option<Algorithm>) -> Self {
        Self { id, only, ..self }
    }

    /// Whether a signature by this algorithm can be of this key.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        self.kind == algorithm.kind() && self.only.is_none_or(|only| only == algorithm)
    }

    /// Whether this key has signed the message with this algorithm. False for
    /// an algorithm that does not fit.
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.fits(algorithm) {
            return false;
        }
        match &self.material {
            Material::Public(keys) => {
                let key = keys.iter().find(|(one, _)| *one == algorithm);
                key.is_some_and(|(_, key)| key.verify_sig(message, signature).is_ok())
            }
            Material::Secret(secret) => algorithm.of_secret().is_some_and(|how| {
                hmac::verify(&hmac::Key::new(how, secret), message, signature).is_ok()
            }),
        }
    }
}

/// A number without the zeros before it.
fn without_zeros(number: &[u8]) -> &[u8] {
    let leading = number.iter().take_while(|byte| **byte == 0).count();
    &number[leading..]
}

/// The bytes of a public key, which are the same for all of its algorithms.
fn first(keys: &[(Algorithm, ParsedPublicKey)]) -> Option<&[u8]> {
    keys.first().map(|(_, key)| key.as_ref())
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        let is_same = match (&self.material, &other.material) {
            (Material::Public(one), Material::Public(other)) => first(one) == first(other),
            (Material::Secret(one), Material::Secret(other)) => one == other,
            _ => false,
        };
        is_same && self.kind == other.kind && self.id == other.id && self.only == other.only
    }
}

impl Eq for VerifyingKey {}

/// Shows the names of the key and nothing of a secret.
impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
