//! The changes that a route makes in response headers: in those of its
//! upstream, and in those of its own responses.

use std::sync::Arc;

use crate::{body::Trailers, message::Response, policy::HeaderChanges};

/// Sets and removes header fields of `response`. Trailers of these names are
/// dropped, too: a receiver may merge trailers into the header, and would undo
/// the change.
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
