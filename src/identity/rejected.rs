//! Reasons against a credential.

/// Why a credential does not identify a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected {
    /// A short sentence for the client, which repeats nothing of the
    /// credential and needs no escape in a quoted string.
    pub why: &'static str,
}

impl Rejected {
    /// A rejection for this reason.
    pub(super) fn new(why: &'static str) -> Self {
        Self { why }
    }
}
