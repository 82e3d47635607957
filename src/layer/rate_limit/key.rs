//! The bucket that a request has under a limit, and the tokens that it takes
//! from it: its key, found part by part, and its cost.
//!
//! # Keys
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
//! # Cost
//!
//! The tokens that a request takes are known before any bucket is asked, and a
//! retry does not change them. Where the cost is known in the end, they are its
//! reserve, and `meter` settles the rest. A cost of 0 is always admitted.
//! The configuration is refused if the highest cost of a limit does not fit
//! into each of its bursts, since such a request would never be admitted.
//!
//! The header is the client's word unless a proxy before the gateway overwrites
//! it. The cost therefore has an upper bound, and a header that is malformed
//! costs the default instead of nothing: a client gains nothing by sending
//! nonsense.
//!
//! All functions here read the request and change nothing. They are called
//! before a limit decides; those of keys again, with another hash, for a bucket
//! in the store.

use std::{hash::Hasher, iter};

use super::super::key::value;
use crate::{
    call::Exchange,
    limit::{Key, KeyBuilder, KeyValue, Label},
    message::Headers,
    policy::{Cost, KeyPart, Limit, Missing},
};

/// One part of a request's key.
struct FoundPart<'l, 'e> {
    /// The part of the policy, or another one that stands in for it.
    part: &'l KeyPart,
    value: KeyValue<'e>,
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
) -> Option<FoundPart<'l, 'e>> {
    if let Some(value) = value(part, exchange) {
        return Some(FoundPart { part, value });
    }
    let Missing::Use(other) = &limit.missing else {
        return None;
    };
    let value = value(other, exchange)?;
    Some(FoundPart { part: other, value })
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

/// Like [`whole`], with the client's address cut to `bits` bits: the key of a
/// tier. `None` also if no address is in the key.
///
/// The values of other parts stay as they are, so that a tier is counted for
/// each of their values as well.
pub(super) fn wider<H: Hasher + Clone>(
    begun: &KeyBuilder<H>,
    limit: &Limit,
    bits: u8,
    exchange: &Exchange,
) -> Option<KeyBuilder<H>> {
    let (mut builder, mut has_address) = (begun.clone(), false);
    for part in &limit.key {
        let found = find(limit, part, exchange)?;
        has_address |= matches!(found.value, KeyValue::Address { .. });
        builder.add(found.part, &found.value.with_prefix(bits));
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
/// `bits` bits if that is given.
///
/// Parts that the request lacks are left out. A stand-in is marked as one, so
/// that an operator can tell it from a value of the part itself.
pub(super) fn describe(label: &mut Label, limit: &Limit, bits: Option<u8>, exchange: &Exchange) {
    for part in &limit.key {
        let Some(found) = find(limit, part, exchange) else {
            continue;
        };
        let value = match bits {
            Some(bits) => found.value.with_prefix(bits),
            None => found.value,
        };
        if found.part != part {
            label.add_stand_in(&value);
        } else {
            label.add(&value);
        }
    }
}

/// The tokens that a request with these headers takes.
///
/// The result is at most `max` for a cost from a header. Does not allocate.
#[inline]
pub(super) fn cost(cost: &Cost, headers: &Headers) -> u32 {
    match cost {
        Cost::Fixed(cost) => *cost,
        Cost::Header { name, default, max } => whole_number(headers.all(name))
            .unwrap_or(*default)
            .min(*max),
        Cost::InTheEnd(cost) => cost.reserve.get(),
    }
}

/// The whole number in the lines of a field. A number above [`u32::MAX`] counts as that,
/// and is cut to the maximum of the limit afterwards.
///
/// `None` without a line, with several, or with anything but ASCII digits in it:
/// a sign, a blank, a list and a fraction are no numbers here. Leading zeros are
/// allowed.
pub(super) fn whole_number<'a>(mut lines: impl Iterator<Item = &'a [u8]>) -> Option<u32> {
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return None;
    };
    let digits = line;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0_u32, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(u32::from(digit - b'0'))
    }))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;

    fn cost(lines: &[&str]) -> u32 {
        let headers = lines.iter().map(|line| ("x-cost", line)).collect();
        let cost = Cost::Header {
            name: HeaderName::from_static("x-cost"),
            default: 7,
            max: 100,
        };
        super::cost(&cost, &headers)
    }

    #[test]
    fn a_header_tells_a_whole_number_and_nothing_else() {
        for (lines, expected) in [
            (&["5"][..], 5),
            (&["0"], 0),
            (&["0100"], 100),
            (&["101"], 100),
            (&["99999999999999999999999"], 100),
            (&["-1"], 7),
            (&["+1"], 7),
            (&["1.5"], 7),
            (&["1, 2"], 7),
            (&["1", "1"], 7),
            (&[""], 7),
            (&[], 7),
        ] {
            assert_eq!(cost(lines), expected, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_header_says_the_cost_is_within_its_bounds(text in "[ -~]{0,30}") {
            prop_assert!(cost(&[&text]) <= 100);
        }
    }
}
