//! Key expressions as policies read them: what of a request tells one key from another.
//!
//! Shared by everything that is keyed: buckets of limits, turns in the line of a cap.
//!
//! A value that stands in a request more than once, and not the same each time, is no value: it counts as missing. Which
//! of them a server behind the gateway takes is its own affair, and whoever could hide one behind another would choose a
//! bucket at will.

mod spelling;

use std::{borrow::Cow, hash::Hasher};

use http::{HeaderName, header};

pub use self::spelling::named;
use crate::{
    call::{Exchange, query},
    limit::{KeyBuilder, Label},
};

/// One part of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPart {
    /// The route's name.
    Route,
    /// The client's address, IPv6 cut to so many bits.
    ClientIp(u8),
    /// A request header, without outer and repeated blanks.
    Header(HeaderName),
    /// A cookie, decoded.
    Cookie(Box<str>),
    /// A query parameter, decoded.
    Query(Box<str>),
    /// A parameter of the route's path; escapes that are needed are kept.
    Param(Box<str>),
    /// The host, lower case, without its port.
    Host,
    /// The path in its normal form.
    Path,
    /// The method.
    Method,
    /// The distinguished name in the client's certificate.
    TlsSubject,
}

/// Adds the value that an override names; addresses it names as networks.
pub(super) fn feed_text(builder: KeyBuilder, part: &KeyPart, text: &str) -> KeyBuilder {
    let value = &*named(part, text.as_bytes());
    match part {
        KeyPart::Route => builder.route(text),
        KeyPart::ClientIp(_) => builder,
        KeyPart::Header(name) => builder.header(name.as_str(), value),
        KeyPart::Cookie(name) => builder.cookie(name, value),
        KeyPart::Query(name) => builder.query(name, value),
        KeyPart::Param(name) => builder.param(name, value),
        KeyPart::Host => builder.host(text.strip_suffix('.').unwrap_or(text)),
        KeyPart::Path => builder.path(value),
        KeyPart::Method => builder.method(text),
        KeyPart::TlsSubject => builder.tls_subject(value),
    }
}

/// Adds a part's value to the key; gives the builder back as an error where the request has none.
#[inline]
pub(super) fn feed<H: Hasher>(
    builder: KeyBuilder<H>,
    part: &KeyPart,
    exchange: &Exchange,
) -> Result<KeyBuilder<H>, KeyBuilder<H>> {
    let request = &exchange.request;
    Ok(match part {
        KeyPart::Route => builder.route(exchange.route.name.as_deref().unwrap_or_default()),
        KeyPart::ClientIp(prefix) => builder.ip(exchange.client.ip, *prefix),
        KeyPart::Header(name) => match header_value(name, exchange) {
            Some(value) => builder.header(name.as_str(), &value),
            None => return Err(builder),
        },
        KeyPart::Cookie(name) => match cookie(name, exchange) {
            Some(value) => builder.cookie(name, &value),
            None => return Err(builder),
        },
        KeyPart::Query(name) => match query_value(name, exchange) {
            Some(value) => builder.query(name, &value),
            None => return Err(builder),
        },
        KeyPart::Param(name) => match parameter(name, exchange) {
            Some(value) => builder.param(name, &value),
            None => return Err(builder),
        },
        KeyPart::Host if request.host.is_empty() => return Err(builder),
        KeyPart::Host => builder.host(&request.host),
        KeyPart::Path => builder.path(&spelling::path(request.target.normal_path())),
        KeyPart::Method => builder.method(request.method.as_str()),
        KeyPart::TlsSubject => match subject(exchange) {
            Some(subject) => builder.tls_subject(subject.as_bytes()),
            None => return Err(builder),
        },
    })
}

/// Writes a part's value; says whether the request has one.
pub(super) fn write(
    label: &mut Label,
    part: &KeyPart,
    prefix: Option<u8>,
    exchange: &Exchange,
) -> bool {
    let request = &exchange.request;
    let value = match part {
        KeyPart::Route => exchange
            .route
            .name
            .as_deref()
            .map(|name| Cow::Borrowed(name.as_bytes())),
        KeyPart::ClientIp(own) => {
            label.ip(exchange.client.ip, prefix.unwrap_or(*own));
            return true;
        }
        KeyPart::Header(name) => header_value(name, exchange),
        KeyPart::Cookie(name) => cookie(name, exchange),
        KeyPart::Query(name) => query_value(name, exchange),
        KeyPart::Param(name) => parameter(name, exchange),
        KeyPart::Host => {
            Some(Cow::Borrowed(request.host.as_bytes())).filter(|host| !host.is_empty())
        }
        KeyPart::Path => Some(spelling::path(request.target.normal_path())),
        KeyPart::Method => Some(Cow::Borrowed(request.method.as_str().as_bytes())),
        KeyPart::TlsSubject => subject(exchange).map(|subject| Cow::Borrowed(subject.as_bytes())),
    };
    value.map(|value| label.text(&value)).is_some()
}

/// Whether the request has a value of this part.
pub(super) fn is_there(part: &KeyPart, exchange: &Exchange) -> bool {
    match part {
        KeyPart::Header(name) => header_value(name, exchange).is_some(),
        KeyPart::Cookie(name) => cookie(name, exchange).is_some(),
        KeyPart::Query(name) => query_value(name, exchange).is_some(),
        KeyPart::Param(name) => parameter(name, exchange).is_some(),
        KeyPart::Host => !exchange.request.host.is_empty(),
        KeyPart::TlsSubject => subject(exchange).is_some(),
        KeyPart::Route | KeyPart::ClientIp(_) | KeyPart::Path | KeyPart::Method => true,
    }
}

#[inline]
fn header_value<'e>(name: &HeaderName, exchange: &'e Exchange) -> Option<Cow<'e, [u8]>> {
    only(
        exchange
            .request
            .headers
            .get_all(name)
            .iter()
            .map(|value| spelling::field(name, value.as_bytes())),
    )
}

fn cookie<'e>(name: &str, exchange: &'e Exchange) -> Option<Cow<'e, [u8]>> {
    let lines = exchange.request.headers.get_all(header::COOKIE).iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    only(pairs.filter_map(|pair| {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        (pair[..equals].trim_ascii() == name.as_bytes())
            .then(|| spelling::cookie(&pair[equals + 1..]))
    }))
}

fn query_value<'e>(name: &str, exchange: &'e Exchange) -> Option<Cow<'e, [u8]>> {
    let pairs = query::pairs(exchange.request.target.query().unwrap_or_default());
    only(
        pairs
            .filter(|(known, _)| **known == *name.as_bytes())
            .map(|(_, value)| value),
    )
}

fn subject(exchange: &Exchange) -> Option<&str> {
    exchange.origin.tls.as_ref()?.subject.as_deref()
}

fn parameter<'e>(name: &str, exchange: &'e Exchange) -> Option<Cow<'e, [u8]>> {
    let found = exchange
        .parameters
        .iter()
        .find(|(known, _)| **known == *name);
    found
        .map(|(_, value)| spelling::path(value.as_bytes()))
        .filter(|value| !value.is_empty())
}

/// The one value among several; none if they differ or it is empty.
#[inline]
fn only<V: AsRef<[u8]> + PartialEq>(mut values: impl Iterator<Item = V>) -> Option<V> {
    let first = values.next().filter(|value| !value.as_ref().is_empty())?;
    values.all(|other| other == first).then_some(first)
}

/// The bytes that the key of a request is hashed from, its limit's name aside; `None` where it has not all parts. For who
/// wants to know whether two keys are the same ones, which hashes cannot prove.
#[cfg(any(test, fuzzing))]
pub fn hashed(parts: &[KeyPart], exchange: &Exchange) -> Option<Vec<u8>> {
    let begun = KeyBuilder::over(Written::default(), "");
    let prefix = begun.clone().into_hasher().0.len();
    let fed = parts
        .iter()
        .try_fold(begun, |builder, part| feed(builder, part, exchange))
        .ok()?;
    Some(fed.into_hasher().0.split_off(prefix))
}

/// No hash: keeps what it is given.
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
