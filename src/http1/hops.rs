//! The fields that `Connection` names, which concern one connection only and
//! are never passed on (RFC 9110, 7.6.1).

use super::{framing::options, headers::Headers, names::FieldName};

/// The fields that the `Connection` of a message names, which are hop-by-hop,
/// too. They are read once, then compared.
#[derive(Debug)]
pub struct Hops<'m>(Vec<&'m [u8]>);

impl<'m> Hops<'m> {
    /// The fields that the `Connection` fields among `headers` name. With
    /// `names_any` false there are none, and nothing is searched; so it is for
    /// nearly all messages.
    pub fn of(headers: &'m Headers, names_any: bool) -> Self {
        if !names_any {
            return Self(Vec::new());
        }
        Self::in_values(headers.known(FieldName::Connection))
    }

    /// The fields that these values of `Connection` name.
    pub(super) fn in_values(values: impl Iterator<Item = &'m [u8]>) -> Self {
        Self(values.flat_map(options).collect())
    }

    /// Whether any field is named.
    pub fn are_any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether this field is named.
    pub fn names(&self, field: &[u8]) -> bool {
        self.0.iter().any(|name| name.eq_ignore_ascii_case(field))
    }
}
