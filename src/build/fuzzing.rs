//! Private parts of this folder for the fuzz targets, as plain functions.
//!
//! Built for tests too, so that a change to what it calls cannot leave it behind.

use super::key_part::key_part;
use crate::{call::Exchange, layer, policy::KeyPart};

/// The bytes from which the key of a request is hashed, or `None` if the request lacks one of `parts`.
pub fn hashed(parts: &[KeyPart], exchange: &Exchange) -> Option<Vec<u8>> {
    layer::hashed(&parts.iter().map(key_part).collect::<Vec<_>>(), exchange)
}
