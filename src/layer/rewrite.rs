//! Rewritten paths: prefixes that are replaced, and templates of rewrites and
//! redirects, such as `/v2/orders/{id}` and `https://{host}{path}`.
//!
//! The configuration refuses unknown names and open braces, so that filling a
//! template cannot fail. Values are inserted as they were received, with their
//! escapes: they are parts of a target already.
//!
//! # Names
//!
//! A parameter of the route's pattern wins over `{host}` and `{path}` of the
//! same name. The host is in lower case and without its port.

use crate::{call::Exchange, policy::Rewrite};

/// Writes the target of a route that rewrites paths.
///
/// The query is passed on as it was received, whichever rewrite there is. A
/// prefix is stripped from the path in its normal form, in which routes match
/// it.
pub(super) fn write(out: &mut Vec<u8>, exchange: &Exchange, rewrite: &Rewrite) {
    let target = &exchange.target;
    match rewrite {
        Rewrite::None => out.extend_from_slice(target.path()),
        // `OPTIONS *` is about the server and not about a path.
        Rewrite::Prefix { .. } if target.path() == b"*" => out.push(b'*'),
        Rewrite::Prefix { strip, add } => {
            let path = target.normal_path();
            let rest = after_prefix(path, strip).unwrap_or(path);
            out.extend_from_slice(add.as_bytes());
            if !rest.starts_with(b"/") {
                out.push(b'/');
            }
            out.extend_from_slice(rest);
        }
        Rewrite::Template(template) => out.extend_from_slice(fill(template, exchange).as_bytes()),
    }
    out.extend_from_slice(target.query_with_mark());
}

/// The rest of a path behind a prefix of whole segments, as routes match them;
/// `None` if it does not begin with that.
///
/// ```
/// use tidegate::layer::after_prefix;
///
/// assert_eq!(after_prefix(b"/orders/7", "/orders"), Some(&b"/7"[..]));
/// assert_eq!(after_prefix(b"/orders", "/ord"), None);
/// ```
pub fn after_prefix<'p>(path: &'p [u8], prefix: &str) -> Option<&'p [u8]> {
    path.strip_prefix(prefix.as_bytes())
        .filter(|rest| matches!(rest, [] | [b'/', ..]))
}

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
