//! Rewritten paths: prefixes that are replaced, and templates of rewrites and
//! redirects, such as `/v2/orders/{id}` and `https://{host}{path}`.
//!
//! The configuration refuses unknown names and open braces, so that filling a
//! template cannot fail. Values are inserted as they were received, with their
//! escapes: they are parts of a target already. The host is in lower case and
//! without its port.

use super::fill;
use crate::{
    call::Exchange,
    policy::{RequestValue, Rewrite, Template, TextPiece},
};

/// Writes the target that a server gets. Returns the prefix that was stripped, if
/// any was.
#[inline]
pub(super) fn write<'r>(
    out: &mut Vec<u8>,
    exchange: &Exchange,
    rewrite: &'r Rewrite,
) -> Option<&'r str> {
    if *rewrite != Rewrite::None {
        return write_rewritten(out, exchange, rewrite);
    }
    let (path, query) = exchange.target.to_forward();
    out.extend_from_slice(path);
    out.extend_from_slice(query);
    None
}

/// Writes the target of a route that rewrites paths. Returns the prefix that was
/// stripped, if any was.
///
/// The query is passed on as it was received, whichever rewrite there is. A
/// prefix is stripped from the path in its normal form, in which routes match
/// it.
fn write_rewritten<'r>(
    out: &mut Vec<u8>,
    exchange: &Exchange,
    rewrite: &'r Rewrite,
) -> Option<&'r str> {
    let target = &exchange.target;
    let mut stripped = None;
    match rewrite {
        Rewrite::None => out.extend_from_slice(target.path()),
        // `OPTIONS *` is about the server and not about a path.
        Rewrite::Prefix { .. } if target.path() == b"*" => out.push(b'*'),
        Rewrite::Prefix { strip, add } => {
            let path = target.normal_path();
            let rest = after_prefix(path, strip);
            stripped = rest
                .is_some()
                .then_some(strip.as_str())
                .filter(|strip| !strip.is_empty());
            let rest = rest.unwrap_or(path);
            out.extend_from_slice(add.as_bytes());
            if !rest.starts_with(b"/") {
                out.push(b'/');
            }
            out.extend_from_slice(rest);
        }
        Rewrite::Template(template) => fill(out, template, exchange),
    }
    out.extend_from_slice(target.query_with_mark());
    stripped
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

/// Fills a template of a URL: values are inserted as they were received. The
/// query is a part of the path here.
pub(super) fn fill(out: &mut Vec<u8>, template: &Template, exchange: &Exchange) {
    for piece in &template.0 {
        match piece {
            TextPiece::Literal(text) => out.extend_from_slice(text.as_bytes()),
            // `OPTIONS *` asks for no path: elsewhere, it would be a part of the
            // host's name.
            TextPiece::Value(RequestValue::Path) if exchange.target.path() == b"*" => {
                out.push(b'/');
            }
            // The configuration lets only values stand there that each request
            // of the route has.
            TextPiece::Value(value) => {
                fill::append_raw(out, value, exchange);
            }
        }
    }
}
