//! Header fields that a route sets and removes, in requests or in responses.
//!
//! Used by `layer::forward` for requests, and by the layer of response changes
//! for responses. Trailers of the same message follow the same rules, so a body
//! that arrives in pieces holds the list of names to its end.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

/// `set_headers` and `remove_headers` of a route, for requests or for
/// responses.
///
/// No name is both set and removed, and no name is set twice: the configuration
/// refuses it.
///
/// ```
/// use http::header::{HeaderValue, SERVER, VIA};
/// use tidegate::policy::HeaderChanges;
///
/// let set = vec![(VIA, HeaderValue::from_static("1.1 edge"))];
/// let changes = HeaderChanges::new(set, vec![SERVER]);
/// assert!(changes.decides(&SERVER) && changes.decides(&VIA));
/// assert!(HeaderChanges::default().is_empty());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderChanges {
    /// Names and values, in the order of the configuration.
    set: Vec<(HeaderName, HeaderValue)>,
    /// Names of fields that are removed.
    remove: Vec<HeaderName>,
    /// The names of both lists, `None` if both are empty. Shared, because a
    /// body that arrives in pieces holds them until its trailers.
    names: Option<Arc<[HeaderName]>>,
}

impl HeaderChanges {
    /// Sets the fields `set`, each in place of all fields of its name that a
    /// message has, and removes the fields `remove`.
    pub fn new(set: Vec<(HeaderName, HeaderValue)>, remove: Vec<HeaderName>) -> Self {
        let names: Arc<[_]> = set
            .iter()
            .map(|(name, _)| name)
            .chain(&remove)
            .cloned()
            .collect();
        Self {
            set,
            remove,
            names: Some(names).filter(|names| !names.is_empty()),
        }
    }

    /// The fields that are set, in the order of the configuration.
    pub fn set(&self) -> &[(HeaderName, HeaderValue)] {
        &self.set
    }

    /// The names of the fields that are removed.
    pub fn remove(&self) -> &[HeaderName] {
        &self.remove
    }

    /// The names of all fields that are set or removed; `None` if there are
    /// none, so that the common message without changes costs no reference
    /// count.
    pub fn names(&self) -> Option<&Arc<[HeaderName]>> {
        self.names.as_ref()
    }

    /// Whether no field is set or removed.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.names.is_none()
    }

    /// Whether the route sets or removes this field. The gateway then adds no
    /// value of its own under this name: the route alone decides what is sent.
    ///
    /// Names are compared without letter case.
    #[inline]
    pub fn decides(&self, name: impl AsRef<[u8]>) -> bool {
        let is = |known: &HeaderName| {
            let known = known.as_str().as_bytes();
            known.eq_ignore_ascii_case(name.as_ref())
        };
        self.names
            .as_ref()
            .is_some_and(|names| names.iter().any(is))
    }
}
