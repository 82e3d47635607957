//! Templates of rewrites and redirects, such as `/v2/orders/{id}` and
//! `https://{host}{path}`.
//!
//! The configuration refuses unknown names and open braces, so that filling a
//! template cannot fail. Values are inserted as they were received, with their
//! escapes: they are parts of a target already.
//!
//! # Names
//!
//! A parameter of the route's pattern wins over `{host}` and `{path}` of the
//! same name. The host is in lower case and without its port.

use crate::call::Exchange;

/// Fills `{host}`, `{path}` (as received, with the query) and the parameters of
/// the match into a template. Other names do not occur: the configuration is
/// refused then.
///
/// A value is never looked at for further names: braces that a client sends
/// stay as they are.
pub(super) fn fill(template: &str, exchange: &Exchange) -> String {
    let mut out = String::with_capacity(template.len() + 64);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let (name, tail) = after.split_once('}').unwrap_or((after, ""));
        fill_one(&mut out, name, exchange);
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// Appends the value of one name.
///
/// Appends nothing for an unknown name.
fn fill_one(out: &mut String, name: &str, exchange: &Exchange) {
    let target = &exchange.target;
    if let Some((_, value)) = exchange
        .parameters
        .iter()
        .find(|(known, _)| **known == *name)
    {
        out.push_str(value);
    } else if name == "host" {
        out.push_str(&exchange.host);
    } else if name == "path" {
        let (path, query) = target.to_forward();
        // `OPTIONS *` asks for no path: elsewhere, it would be a part of the
        // host's name.
        let path = if path == b"*" { b"/" } else { path };
        out.push_str(&String::from_utf8_lossy(path));
        out.push_str(&String::from_utf8_lossy(query));
    }
}
