//! The key that a request has for a limit, found part by part.
//!
//! One key names a bucket of this gateway and another one, over another hash, a
//! bucket in the store; both are made of the same parts in the same way, so the
//! functions are generic over the hasher. A limit without parts has one key for
//! everybody. A part that the request lacks is replaced or makes the whole key
//! `None`, as [`Limit::missing`] says; two missing parts are replaced by the
//! same other part, which then counts twice and does no harm.
//!
//! Parts enter a key in the order of the policy. `KeyBuilder` separates them,
//! so that two parts cannot run together into the value of another pair. Keys
//! are hashes: neither the buckets nor the store see a value of a request, and
//! only the list of the heaviest keys describes some for people.
//!
//! All of these functions read the request and change nothing. They are called
//! before a limit decides, and again with another hash for a bucket in the
//! store.

use std::{hash::Hasher, iter};

use super::super::key::value;
use crate::{
    call::Exchange,
    limit::{Key, KeyBuilder, KeyValue, Label},
    policy::{KeyPart, Limit, Missing},
};

/// One part of a request's key.
struct Part<'l, 'e> {
    part: &'l KeyPart,
    value: KeyValue<'e>,
    /// The part takes the place of one that the request lacks.
    is_stand_in: bool,
}

/// The request's value of `part`, or of the part that stands in for it.
///
/// `None` if the request lacks the part and the policy names no other, or if it
/// lacks the other one as well.
#[inline]
fn find<'l, 'e>(
    limit: &'l Limit,
    part: &'l KeyPart,
    exchange: &'e Exchange,
) -> Option<Part<'l, 'e>> {
    if let Some(value) = value(part, exchange) {
        return Some(Part {
            part,
            value,
            is_stand_in: false,
        });
    }
    let Missing::Use(other) = &limit.missing else {
        return None;
    };
    Some(Part {
        part: other,
        value: value(other, exchange)?,
        is_stand_in: true,
    })
}

/// Adds all parts of the key to `begun`; `None` if the request lacks one.
///
/// `begun` has the name of the limit already and is cloned, which copies the
/// state of a hasher.
#[inline]
pub(super) fn whole<H: Hasher + Clone>(
    begun: &KeyBuilder<H>,
    limit: &Limit,
    exchange: &Exchange,
) -> Option<KeyBuilder<H>> {
    let mut builder = begun.clone();
    for part in &limit.key {
        let found = find(limit, part, exchange)?;
        builder.add(found.part, &found.value);
    }
    Some(builder)
}

/// Like [`whole`], with the client's address cut to `prefix` bits: the key of a
/// tier. `None` also if no address is in the key.
///
/// The values of other parts stay as they are, so that a tier is counted for
/// each of their values as well.
pub(super) fn wider<H: Hasher + Clone>(
    begun: &KeyBuilder<H>,
    limit: &Limit,
    prefix: u8,
    exchange: &Exchange,
) -> Option<KeyBuilder<H>> {
    let (mut builder, mut has_address) = (begun.clone(), false);
    for part in &limit.key {
        let found = find(limit, part, exchange)?;
        has_address |= matches!(found.value, KeyValue::Address { .. });
        builder.add(found.part, &found.value.with_prefix(prefix));
    }
    has_address.then_some(builder)
}

/// The key over those parts alone that are `wanted`; `None` if the request
/// lacks one of them.
///
/// `wanted` has one element for each part of the key, in its order. Overrides
/// use it to look up all patterns that fix the same parts at once.
pub(super) fn partial(
    begun: &KeyBuilder,
    limit: &Limit,
    wanted: &[bool],
    exchange: &Exchange,
) -> Option<Key> {
    let mut builder = begun.clone();
    for (part, is_wanted) in iter::zip(&limit.key, wanted) {
        if *is_wanted {
            let found = find(limit, part, exchange)?;
            builder.add(found.part, &found.value);
        }
    }
    Some(builder.finish())
}

/// Whether the request lacks a part of the key, so that another part stands in
/// for it.
pub(super) fn has_stand_in(limit: &Limit, exchange: &Exchange) -> bool {
    limit.key.iter().any(|part| value(part, exchange).is_none())
}

/// Writes the parts of a request's key for people, with the address cut to
/// `prefix` bits if that is given.
///
/// Parts that the request lacks are left out. A stand-in is marked as one, so
/// that an operator can tell it from a value of the part itself.
pub(super) fn describe(label: &mut Label, limit: &Limit, prefix: Option<u8>, exchange: &Exchange) {
    for part in &limit.key {
        let Some(found) = find(limit, part, exchange) else {
            continue;
        };
        let value = match prefix {
            Some(prefix) => found.value.with_prefix(prefix),
            None => found.value,
        };
        if found.is_stand_in {
            label.add_stand_in(&value);
        } else {
            label.add(&value);
        }
    }
}
