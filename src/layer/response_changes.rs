//! The changes that a route makes in response headers: in those of its
//! upstream, and in those of its own responses.
//!
//! Called by `forward` for responses of the upstream and by `respond` for those
//! of the route. A response that the gateway makes for a failure has no such
//! changes.

use std::sync::Arc;

use crate::{body::Trailers, message::Response, policy::HeaderChanges};

/// Sets and removes header fields of `response`. Trailers of these names are
/// dropped, too: a receiver may merge trailers into the header, and would undo
/// the change.
///
/// Removals come first, so that a field that is both removed and set is set. A
/// field that is set replaces all lines of its name.
pub(super) fn apply(changes: &HeaderChanges, response: &mut Response) {
    if let Some(names) = changes.names().filter(|_| !response.body.is_whole()) {
        response
            .body
            .set_trailers(Trailers::Without(Arc::clone(names)));
    }
    for name in changes.remove() {
        response.fields.remove(name);
    }
    for (name, value) in changes.set() {
        response.fields.remove(name);
        response.fields.push(name.as_str(), value.as_bytes());
    }
}
