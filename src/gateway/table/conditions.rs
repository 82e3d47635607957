//! Last step of the route match: what a route asks of method, headers and query.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};

use super::{Asked, parameters::Names, query::Query};
use crate::policy::{Match, PathPattern};

/// One route, but for the host and path that led to it.
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

    /// Whether all of them hold.
    pub(super) fn admit(&self, asked: &Asked<'_>, query: &Query<'_>) -> bool {
        (self.methods.is_empty() || self.methods.contains(asked.method))
            && self.headers.iter().all(|(name, wanted)| {
                asked
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

    /// What the parameters took of a path that led here.
    pub(super) fn parameters(&self, path: &[u8]) -> Vec<(Arc<str>, Box<str>)> {
        self.names.values(path)
    }
}
