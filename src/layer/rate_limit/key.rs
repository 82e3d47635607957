//! Who is asking: the parts of a limit's key, found in a request.

use std::hash::Hasher;

use super::{
    super::key::{KeyPart, feed, is_there, write},
    LimitPolicy,
};
use crate::{
    call::Exchange,
    limit::{Key, KeyBuilder, Label},
};

/// What to do for a part of a key that is absent or empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// Use this part instead.
    Use(KeyPart),
    /// Do not apply the limit.
    Skip,
    /// Refuse.
    Refuse,
}

/// The bucket of a request.
#[derive(Debug)]
pub(super) enum Found {
    Key(Key),
    Skip,
    Refuse,
}

/// The key that a request has for this limit.
#[inline]
pub(super) fn find(limit: &LimitPolicy, exchange: &Exchange) -> Found {
    match fed(limit.begun.clone(), limit, exchange) {
        Ok(fed) => Found::Key(fed.finish()),
        Err(_) if limit.missing == Missing::Skip => Found::Skip,
        Err(_) => Found::Refuse,
    }
}

/// All parts of the key, in order; an error where the request has one of them not.
#[inline]
pub(super) fn fed<H: Hasher>(
    begun: KeyBuilder<H>,
    limit: &LimitPolicy,
    exchange: &Exchange,
) -> Result<KeyBuilder<H>, KeyBuilder<H>> {
    limit.key.iter().try_fold(begun, |builder, part| {
        feed_or_replace(builder, part, limit, exchange)
    })
}

/// Whether another part stands in for one of the key's that the request does not have.
pub(super) fn has_stand_in(limit: &LimitPolicy, exchange: &Exchange) -> bool {
    limit.key.iter().any(|part| !is_there(part, exchange))
}

/// The key over those parts of the limit's that are `wanted`.
pub(super) fn find_some(limit: &LimitPolicy, wanted: &[bool], exchange: &Exchange) -> Option<Key> {
    let mut parts = limit.key.iter().zip(wanted).filter(|(_, wanted)| **wanted);
    let fed = parts.try_fold(limit.begun.clone(), |builder, (part, _)| {
        feed_or_replace(builder, part, limit, exchange)
    });
    fed.ok().map(KeyBuilder::finish)
}

/// The key with the client's address cut to `prefix` bits, which begins as `begun`; nothing if no address is in it.
pub(super) fn find_wider<H: Hasher + Clone>(
    limit: &LimitPolicy,
    begun: &KeyBuilder<H>,
    prefix: u8,
    exchange: &Exchange,
) -> Option<KeyBuilder<H>> {
    let (mut builder, mut is_of_address, address) =
        (begun.clone(), false, KeyPart::ClientIp(prefix));
    for part in &limit.key {
        let part = match (part, &limit.missing) {
            (part, Missing::Use(other)) if !is_there(part, exchange) => other,
            (part, _) => part,
        };
        let is_address = matches!(part, KeyPart::ClientIp(_));
        is_of_address |= is_address;
        builder = feed(builder, if is_address { &address } else { part }, exchange).ok()?;
    }
    is_of_address.then_some(builder)
}

#[inline]
fn feed_or_replace<H: Hasher>(
    builder: KeyBuilder<H>,
    part: &KeyPart,
    limit: &LimitPolicy,
    exchange: &Exchange,
) -> Result<KeyBuilder<H>, KeyBuilder<H>> {
    match (feed(builder, part, exchange), &limit.missing) {
        (Err(unfed), Missing::Use(other)) => feed(unfed, other, exchange),
        (fed, _) => fed,
    }
}

/// Writes what the key of a request is made of, with its address cut to `prefix` bits if that is given.
pub(super) fn describe(
    label: &mut Label,
    limit: &LimitPolicy,
    prefix: Option<u8>,
    exchange: &Exchange,
) {
    for part in &limit.key {
        let from = label.len();
        if !write(label, part, prefix, exchange)
            && let Missing::Use(other) = &limit.missing
            && write(label, other, prefix, exchange)
        {
            label.mark_fallback(from);
        }
    }
}
