//! Header fields that a route sets, adds and removes, in requests or in
//! responses.
//!
//! Used by `layer::forward` for requests, and by the layer of response changes
//! for responses. Trailers of the same message follow the same rules, so a body
//! that arrives in pieces holds the list of names to its end.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::{RequestValue, Template};

/// `set_headers`, `add_headers` and `remove_headers` of a route, for requests or
/// for responses.
///
/// No name is both set and removed or both added and removed, and no name is
/// set or added twice: the configuration refuses it.
///
/// ```
/// use http::header::{HeaderValue, LINK, SERVER, VIA};
/// use tidegate::policy::{HeaderChanges, HeaderText};
///
/// let text = |text| HeaderText::Fixed(HeaderValue::from_static(text));
/// let (set, added) = (vec![(VIA, text("1.1 edge"))], vec![(LINK, text("</a>"))]);
/// let changes = HeaderChanges::new(set, added, vec![SERVER]);
/// assert!(changes.decides(&SERVER) && changes.decides(&VIA));
/// // The lines that a message has of an added field stay.
/// assert!(!changes.decides(&LINK) && changes.concerns(&LINK));
/// assert!(HeaderChanges::default().is_empty());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderChanges {
    /// Names and values of the fields that are set, then of those that are
    /// added, each in the order of the configuration.
    written: Vec<(HeaderName, HeaderText)>,
    /// How many of `written` are set.
    set: usize,
    /// Names of fields that are removed.
    remove: Vec<HeaderName>,
    /// The names of fields that are set or removed; `None` if nothing is
    /// changed. Shared, because a body that arrives in pieces holds them until
    /// its trailers.
    names: Option<Arc<[HeaderName]>>,
}

impl HeaderChanges {
    /// Sets the fields `set`, each in place of all fields of its name that a
    /// message has, writes the fields `added` beside those that it has, and
    /// removes the fields `remove`.
    pub fn new(
        set: Vec<(HeaderName, HeaderText)>,
        added: Vec<(HeaderName, HeaderText)>,
        remove: Vec<HeaderName>,
    ) -> Self {
        let names: Arc<[_]> = set
            .iter()
            .map(|(name, _)| name)
            .chain(&remove)
            .cloned()
            .collect();
        Self {
            names: Some(names).filter(|names| !names.is_empty() || !added.is_empty()),
            set: set.len(),
            written: [set, added].concat(),
            remove,
        }
    }

    /// The fields that are set, in the order of the configuration.
    pub fn set(&self) -> &[(HeaderName, HeaderText)] {
        &self.written[..self.set]
    }

    /// The fields that are set and those that are added, in the order in which
    /// they are written.
    pub fn written(&self) -> &[(HeaderName, HeaderText)] {
        &self.written
    }

    /// The names of the fields that are removed.
    pub fn remove(&self) -> &[HeaderName] {
        &self.remove
    }

    /// The names of all fields that are set or removed; `None` if nothing is
    /// changed, so that the common message without changes costs no reference
    /// count.
    pub fn names(&self) -> Option<&Arc<[HeaderName]>> {
        self.names.as_ref()
    }

    /// Whether no field is set, added or removed.
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

    /// Whether a message has other lines of this field after the changes.
    pub fn concerns(&self, name: &HeaderName) -> bool {
        self.decides(name) || self.written.iter().any(|(added, _)| added == name)
    }
}

/// The value of a field that a route sets or adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderText {
    /// The same for all messages.
    Fixed(HeaderValue),
    /// Filled in for each request. A message gets no such field at all if the
    /// request lacks one of the values.
    Template(Template),
}

impl HeaderText {
    /// The values of a request that are filled in, in their order.
    pub fn values(&self) -> impl Iterator<Item = &RequestValue> {
        let template = match self {
            Self::Fixed(_) => None,
            Self::Template(template) => Some(template),
        };
        template.into_iter().flat_map(Template::values)
    }
}
