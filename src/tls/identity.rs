//! A certificate with its key: who we are.

use std::{fmt, sync::Arc};

use rustls::sign::CertifiedKey;

use super::Names;

/// A certificate chain and the key that signs for it.
#[derive(Clone)]
pub struct Identity {
    /// Both, checked to belong together.
    pub key: Arc<CertifiedKey>,
    /// Whom it stands for.
    pub names: Names,
}

/// The same certificate has the same key: it holds the key's public half.
impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }
}

impl Eq for Identity {}

/// Says nothing of the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.names.0).finish()
    }
}
