//! API keys: a credential is looked up by its digest.

use aws_lc_rs::digest::{SHA256, digest};

use super::{
    claims::{Identified, KeptClaims},
    rejected::Rejected,
};
use crate::policy::{ApiKeys, KeyOwner};

/// Bytes of the longest credential that is looked at. Keys that the gateway
/// makes have 47; others have no reason to be longer than this.
const LONGEST: usize = 512;

/// The owner of the key `credential`.
///
/// # Errors
/// There is no such key.
pub(super) fn verify(
    keys: &ApiKeys,
    credential: &[u8],
    kept: &KeptClaims,
) -> Result<Identified, Rejected> {
    let unknown = Rejected {
        why: "the API key is not known",
    };
    if credential.len() > LONGEST {
        return Err(unknown);
    }
    let digest = digest(&SHA256, credential);
    let digest = digest.as_ref().try_into().map_err(|_| unknown)?;
    let KeyOwner { name, plan, claims } = keys.owner(digest).ok_or(unknown)?;
    Ok(Identified::new(kept, &name, plan, &claims))
}
