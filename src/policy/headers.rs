//! Header fields that a route sets and removes, in requests or in responses.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

/// `set_headers` and `remove_headers` of a route.
///
/// ```
/// use http::header::{SERVER, VIA};
/// use tidegate::policy::HeaderChanges;
///
/// let changes = HeaderChanges::new(Vec::new(), vec![SERVER]);
/// assert!(changes.decides(&SERVER) && !changes.decides(&VIA));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderChanges {
    set: Vec<(HeaderName, HeaderValue)>,
    remove: Vec<HeaderName>,
    /// The names of both. Shared, as a body that arrives in pieces holds them
    /// until its trailers.
    names: Option<Arc<[HeaderName]>>,
}

impl HeaderChanges {
    /// Sets the fields `set`, in place of those that a message has, and removes
    /// the fields `remove`.
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
    /// none.
    pub fn names(&self) -> Option<&Arc<[HeaderName]>> {
        self.names.as_ref()
    }

    /// Whether no field is set or removed.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.names.is_none()
    }

    /// Whether a field is set or removed. The route alone decides then what is
    /// sent under this name.
    #[inline]
    pub fn decides(&self, name: &HeaderName) -> bool {
        self.names
            .as_ref()
            .is_some_and(|names| names.contains(name))
    }
}
