//! The last step of the route match: the conditions of a route on method,
//! headers and query.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};

use super::{lookup::Lookup, parameters::Names, query::Query};
use crate::policy::{Match, PathPattern};

/// The conditions of one route, apart from its host and path.
#[derive(Debug)]
pub(super) struct Conditions {
    index: usize,
    methods: Box<[Method]>,
    headers: Box<[(HeaderName, HeaderValue)]>,
    query: Box<[(String, String)]>,
    names: Names,
}

impl Conditions {
    /// The conditions of the route at `index` of the file.
    pub(super) fn new(index: usize, route: &Match) -> Self {
        let names = match &route.path {
            PathPattern::Parameters(pattern) => Names::of(pattern),
            _ => Names::none(),
        };
        Self {
            index,
            methods: route.methods.as_slice().into(),
            headers: route.headers.as_slice().into(),
            query: route.query.as_slice().into(),
            names,
        }
    }

    /// Whether all conditions hold.
    pub(super) fn admit(&self, lookup: &Lookup<'_>, query: &Query<'_>) -> bool {
        (self.methods.is_empty() || self.methods.contains(lookup.method))
            && self.headers.iter().all(|(name, wanted)| {
                lookup
                    .headers
                    .get_all(name)
                    .iter()
                    .any(|value| value == wanted)
            })
            && self
                .query
                .iter()
                .all(|(name, wanted)| query.holds(name, wanted))
    }

    /// The route's position in the file.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// The values of the parameters in a path that led to this route.
    pub(super) fn parameters(&self, path: &[u8]) -> Vec<(Arc<str>, Box<str>)> {
        self.names.values(path)
    }
}
