//! The last step of the route match: the conditions of one route, apart from its
//! host and path.

use std::{cell::OnceCell, sync::Arc};

use http::{HeaderName, HeaderValue, Method};

use super::{super::networks::Networks, Lookup, parameters::ParameterNames};
use crate::{
    call::query::{self, Pair},
    message::Headers,
    policy::{Match, PathPattern},
};

/// The conditions of one route, apart from its host and path: the last step of
/// the route match.
#[derive(Debug)]
pub(super) struct Conditions {
    /// The route's position in the file.
    pub(super) index: usize,
    /// One of these; empty takes every method.
    methods: Box<[Method]>,
    /// Fields that must all be there, with this value in one of their lines.
    headers: Box<[(HeaderName, HeaderValue)]>,
    /// Parameters that must all be there, decoded.
    query: Box<[(String, String)]>,
    /// Where the request has to come from; `None` for anywhere.
    origin: Option<Box<OriginConditions>>,
    /// The names of its path's parameters; `None` if it has none.
    pub(super) names: Option<ParameterNames>,
}

/// The conditions of a route on where a request comes from.
#[derive(Debug)]
struct OriginConditions {
    /// The names of listeners, one of these; empty takes any.
    listeners: Box<[Arc<str>]>,
    /// Networks that have the client; none take any client.
    clients: Networks,
    /// Networks that do not have the client.
    not_clients: Networks,
}

impl OriginConditions {
    /// Whether all conditions hold.
    fn admit(&self, lookup: &Lookup<'_>) -> bool {
        let name = lookup.listener.name();
        (self.listeners.is_empty() || self.listeners.iter().any(|listener| **listener == *name))
            && (self.clients.is_empty() || self.clients.contains(lookup.client))
            && !self.not_clients.contains(lookup.client)
    }
}

impl Conditions {
    /// Whether all conditions hold.
    pub(super) fn admit(&self, lookup: &Lookup<'_>, query: &Query<'_>) -> bool {
        (self.methods.is_empty() || self.methods.contains(lookup.method))
            && self
                .headers
                .iter()
                .all(|(name, wanted)| has_line(lookup.headers, name, wanted))
            && self.query.iter().all(|wanted| query.holds(wanted))
            && self
                .origin
                .as_ref()
                .is_none_or(|origin| origin.admit(lookup))
    }
}

/// Whether one of the lines of a field has this value.
fn has_line(headers: &Headers, name: &HeaderName, wanted: &HeaderValue) -> bool {
    headers.all(name).any(|value| value == wanted.as_bytes())
}

/// The query parameters of one request, decoded once a candidate route has a
/// condition on them.
#[derive(Debug)]
pub(super) struct Query<'r> {
    /// As received, without its `?`.
    raw: Option<&'r [u8]>,
    /// Sorted, so that with a long query and many candidates each search is
    /// short.
    decoded: OnceCell<Vec<Pair<'r>>>,
}

impl<'r> Query<'r> {
    /// The query as received, without its `?`.
    pub(super) fn new(raw: Option<&'r [u8]>) -> Self {
        let decoded = OnceCell::new();
        Self { raw, decoded }
    }

    /// Whether a parameter has this name and value, perhaps among others.
    fn holds(&self, (name, value): &(String, String)) -> bool {
        let wanted = (name.as_bytes(), value.as_bytes());
        self.decoded()
            .binary_search_by(|(name, value)| (name.as_ref(), value.as_ref()).cmp(&wanted))
            .is_ok()
    }

    /// The parameters, decoded and sorted at the first call.
    fn decoded(&self) -> &[Pair<'r>] {
        self.decoded.get_or_init(|| {
            let mut pairs: Vec<Pair<'r>> = query::pairs(self.raw.unwrap_or_default()).collect();
            pairs.sort_unstable();
            pairs
        })
    }
}

impl Conditions {
    /// The conditions of the route at `index` of the file.
    pub(super) fn new(index: usize, route: &Match) -> Self {
        let names = match &route.path {
            PathPattern::Parameters(pattern) => Some(ParameterNames::of(pattern)),
            _ => None,
        };
        Self {
            index,
            methods: route.methods.as_slice().into(),
            headers: route.headers.as_slice().into(),
            query: route.query.as_slice().into(),
            origin: OriginConditions::of(route),
            names,
        }
    }
}

impl OriginConditions {
    /// Those of a route; `None` if it has none.
    fn of(route: &Match) -> Option<Box<Self>> {
        let (clients, not_clients) = (&route.clients, &route.not_clients);
        if route.listeners.is_empty() && clients.is_empty() && not_clients.is_empty() {
            return None;
        }
        Some(Box::new(Self {
            listeners: route.listeners.as_slice().into(),
            clients: Networks::new(clients),
            not_clients: Networks::new(not_clients),
        }))
    }
}
