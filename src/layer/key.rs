//! Key expressions as policies read them: what of a request tells one key from another.
//!
//! Shared by everything that is keyed: buckets of limits, turns in the line of a cap.

use http::HeaderName;

use crate::{call::Exchange, limit::KeyBuilder};

/// One part of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPart {
    /// The route's name.
    Route,
    /// The client's address, IPv6 cut to so many bits.
    ClientIp(u8),
    /// A request header.
    Header(HeaderName),
    /// The host, lower case, without its port.
    Host,
    /// The path in its normal form.
    Path,
    /// The method.
    Method,
}

/// Adds a part's value to the key; gives the builder back as an error where the request has none.
pub(super) fn feed(builder: KeyBuilder, part: &KeyPart, exchange: &Exchange) -> Result<KeyBuilder, KeyBuilder> {
    let request = &exchange.request;
    Ok(match part {
        KeyPart::Route => builder.route(exchange.route.name.as_deref().unwrap_or_default()),
        KeyPart::ClientIp(prefix) => builder.ip(exchange.client.ip, *prefix),
        KeyPart::Header(name) => match request.headers.get(name).filter(|value| !value.is_empty()) {
            Some(value) => builder.header(name.as_str(), value.as_bytes()),
            None => return Err(builder),
        },
        KeyPart::Host if request.host.is_empty() => return Err(builder),
        KeyPart::Host => builder.host(&request.host),
        KeyPart::Path => builder.path(request.target.normal_path()),
        KeyPart::Method => builder.method(request.method.as_str()),
    })
}
