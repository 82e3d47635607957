//! Key expressions over a request: the values that tell one key from another.
//!
//! Shared by everything that is keyed: buckets of limits, turns in the queue of
//! a concurrency limit, servers chosen by a hash.
//!
//! A value that stands in a request more than once, and not the same each time,
//! counts as missing. Which one a server behind the gateway takes is unknown
//! here, and a client that could hide one behind another would choose its
//! bucket at will.
//!
//! # Absent values
//!
//! A value is absent if the request does not have it, if it is empty, or if it
//! is ambiguous. The caller decides what follows: a limit skips, refuses or
//! takes another part of the request; a queue leaves the part out of the key; a
//! balance chooses the server without a key. The client's address, the route
//! and the method are never absent.
//!
//! # Cost
//!
//! A part is looked up when it is needed, and nothing is kept: a header takes a
//! walk over the names of all fields, a cookie or a parameter of the query a
//! pass over the field or the query.

mod spelling;

use std::{borrow::Cow, hash::Hasher};

use http::HeaderName;

pub use self::spelling::named;
use crate::{
    call::{Exchange, cookies, query},
    limit::{KeyBuilder, KeyValue},
    policy::KeyPart,
};

/// The value that a request has of one part of a key; `None` where it has none,
/// or several that differ.
#[inline]
pub(super) fn value<'e>(part: &KeyPart, exchange: &'e Exchange) -> Option<KeyValue<'e>> {
    let request = &exchange.request;
    let text = match part {
        KeyPart::ClientIp(prefixes) => {
            return Some(KeyValue::Address(prefixes.network(exchange.client.ip)));
        }
        KeyPart::Route => borrowed(exchange.route.name.as_deref().unwrap_or_default()),
        KeyPart::Header(name) => header_value(name, exchange)?,
        KeyPart::Cookie(name) => cookie(name, exchange)?,
        KeyPart::Query(name) => query_value(name, exchange)?,
        KeyPart::Param(name) => parameter(name, exchange)?,
        KeyPart::Host if exchange.host.is_empty() => return None,
        KeyPart::Host => borrowed(&exchange.host),
        KeyPart::Path => spelling::path(exchange.target.normal_path()),
        KeyPart::Method => borrowed(request.method.as_str()),
        KeyPart::TlsSubject => borrowed(exchange.origin.tls.as_ref()?.subject.as_deref()?),
        KeyPart::Identity => borrowed(exchange.identified.get()?.full_id()?),
        KeyPart::Plan => borrowed(exchange.identified.get()?.plan.as_deref()?),
        KeyPart::Claim(name) => borrowed(exchange.identified.get()?.claims.get(name)?),
    };
    Some(KeyValue::Text(text))
}

/// Text of the request that needs no other spelling.
fn borrowed(text: &str) -> Cow<'_, [u8]> {
    Cow::Borrowed(text.as_bytes())
}

/// Adds the request's value of `part` to a key. Returns whether the request has
/// one.
#[inline]
pub(super) fn add<H: Hasher>(
    builder: &mut KeyBuilder<H>,
    part: &KeyPart,
    exchange: &Exchange,
) -> bool {
    match value(part, exchange) {
        Some(value) => {
            builder.add(part, &value);
            true
        }
        None => false,
    }
}

/// The value of the header field of this name, over all of its lines.
#[inline]
fn header_value<'e>(name: &HeaderName, exchange: &'e Exchange) -> Option<Cow<'e, [u8]>> {
    let mut only = Only(None);
    for line in exchange.request.headers.all(name) {
        only.meet(spelling::field(name, line))?;
    }
    only.0
}

/// The value of the cookie of this name, over all `Cookie` fields.
///
/// Names are compared with their letter case.
fn cookie<'e>(name: &str, exchange: &'e Exchange) -> Option<Cow<'e, [u8]>> {
    let mut only = Only(None);
    for (known, value) in cookies(&exchange.request.headers) {
        if known == name.as_bytes() {
            only.meet(spelling::cookie(value))?;
        }
    }
    only.0
}

/// The decoded value of the query parameter of this name.
///
/// Names are compared decoded, so that an escape in a name does not hide the
/// parameter.
fn query_value<'e>(name: &str, exchange: &'e Exchange) -> Option<Cow<'e, [u8]>> {
    let mut only = Only(None);
    for (known, value) in query::pairs(exchange.target.query().unwrap_or_default()) {
        if *known == *name.as_bytes() {
            only.meet(value)?;
        }
    }
    only.0
}

/// The segment of the path that the route's pattern gives this name.
///
/// Compared in the spelling of paths, as a service may decode it.
fn parameter<'e>(name: &str, exchange: &'e Exchange) -> Option<Cow<'e, [u8]>> {
    for (known, value) in &exchange.parameters {
        if **known == *name {
            let value = spelling::path(value.as_bytes());
            return if value.is_empty() { None } else { Some(value) };
        }
    }
    None
}

/// The one value among several that a request may have under one name; `None`
/// before the first.
struct Only<'e>(Option<Cow<'e, [u8]>>);

impl<'e> Only<'e> {
    /// Takes in one more value. `None` if the request counts as having no
    /// value: the first one is empty, or this one differs from it.
    #[inline]
    fn meet(&mut self, value: Cow<'e, [u8]>) -> Option<()> {
        match &self.0 {
            None if value.is_empty() => return None,
            None => self.0 = Some(value),
            Some(first) if *first == value => {}
            Some(_) => return None,
        }
        Some(())
    }
}

/// The bytes that the key of a request is hashed from, without its limit's
/// name; `None` where the request lacks a part. For tests of whether two keys
/// are the same, which hashes cannot prove.
#[cfg(any(test, fuzzing))]
pub fn hashed(parts: &[KeyPart], exchange: &Exchange) -> Option<Vec<u8>> {
    let mut builder = KeyBuilder::over(Written::default(), "");
    let prefix = builder.clone().into_hasher().0.len();
    let has_all = parts.iter().all(|part| add(&mut builder, part, exchange));
    has_all.then(|| builder.into_hasher().0.split_off(prefix))
}

/// A hasher that keeps the bytes it is given.
#[cfg(any(test, fuzzing))]
#[derive(Clone, Default)]
struct Written(Vec<u8>);

#[cfg(any(test, fuzzing))]
impl Hasher for Written {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}
