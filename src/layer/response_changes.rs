//! The changes that a route makes in response headers: in those of its
//! upstream, and in those of its own responses.
//!
//! Called by `forward` for responses of the upstream and by `respond` for those
//! of the route. A response that the gateway makes for a failure has no such
//! changes.

use std::sync::Arc;

use super::fill;
use crate::{
    body::Trailers,
    call::Exchange,
    message::Response,
    policy::{HeaderChanges, HeaderText},
};

/// Sets, adds and removes header fields of the `response` to a request. Trailers
/// of the names that are set or removed are dropped, too: a receiver may merge
/// trailers into the header, and would undo the change.
///
/// Removals come first, so that a field that is both removed and set is set. A
/// field that is set replaces all lines of its name, also if the request lacks
/// a value of it, and one that is added is written beside them.
pub(super) fn apply(changes: &HeaderChanges, response: &mut Response, exchange: &Exchange) {
    if let Some(names) = changes.names().filter(|_| !response.body.is_whole()) {
        response
            .body
            .set_trailers(Trailers::Without(Arc::clone(names)));
    }
    let set = changes.set().iter().map(|(name, _)| name);
    for name in changes.remove().iter().chain(set) {
        response.fields.remove(name);
    }
    for (name, text) in changes.written() {
        match text {
            HeaderText::Fixed(value) => response.fields.push(name.as_str(), value.as_bytes()),
            HeaderText::Template(template) => {
                let mut value = Vec::new();
                if fill::fill(&mut value, template, exchange) {
                    response.fields.push(name.as_str(), &value);
                }
            }
        }
    }
}
