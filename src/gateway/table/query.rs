//! The request's query in the route match, decoded only once a candidate route
//! has a condition on it.

use std::cell::OnceCell;

use crate::call::query::{self, Pair};

/// Query parameters of one request.
#[derive(Debug)]
pub(super) struct Query<'r> {
    raw: Option<&'r [u8]>,
    /// Sorted, so that with a long query and many candidates each search is
    /// short.
    decoded: OnceCell<Vec<Pair<'r>>>,
}

impl<'r> Query<'r> {
    /// The query as received, without its `?`.
    pub(super) fn new(raw: Option<&'r [u8]>) -> Self {
        Self {
            raw,
            decoded: OnceCell::new(),
        }
    }

    /// Whether the parameter `name` has this value, perhaps among others.
    pub(super) fn holds(&self, name: &str, value: &str) -> bool {
        let wanted = (name.as_bytes(), value.as_bytes());
        self.decoded()
            .binary_search_by(|(name, value)| (name.as_ref(), value.as_ref()).cmp(&wanted))
            .is_ok()
    }

    fn decoded(&self) -> &[Pair<'r>] {
        self.decoded.get_or_init(|| {
            let mut pairs: Vec<Pair<'r>> = query::pairs(self.raw.unwrap_or_default()).collect();
            pairs.sort_unstable();
            pairs
        })
    }
}
