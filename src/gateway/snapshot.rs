//! One generation of the routes, ready to serve: what a request is matched on, and the stack that it then goes through.

use std::sync::Arc;

use http::{HeaderMap, Method};
use parking_lot::Mutex;

use super::{
    client::Trust,
    stack::Stack,
    table::{Asked, Table},
};
use crate::call::{RouteTag, Target};

/// All routes of one configuration. A lane for each worker, so that counting references to a route touches no memory
/// that another worker touches.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) lanes: Vec<Lane>,
}

impl Snapshot {
    pub(super) fn lane(&self, worker: usize) -> &Lane {
        &self.lanes[worker % self.lanes.len()]
    }
}

/// The routes as one worker sees them.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) table: Arc<Table>,
    pub(super) routes: Vec<Route>,
    pub(super) trust: Arc<Trust>,
    /// For requests that no route takes.
    pub(super) unmatched: Arc<RouteTag>,
}

/// One route.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) tag: Arc<RouteTag>,
    /// Its layers. The lock is never waited for, as each worker has a lane; taking it costs less than the clone of all
    /// layers that each request would need otherwise.
    pub(super) stack: Mutex<Stack>,
    pub(super) max_body: Option<u64>,
}

/// Parameters of a match.
pub(super) type Parameters = Vec<(Arc<str>, Box<str>)>;

impl Lane {
    pub(super) fn find(
        &self,
        host: &str,
        target: &Target,
        method: &Method,
        headers: &HeaderMap,
    ) -> Option<(&Route, Parameters)> {
        let asked = Asked { host, path: target.normal_path(), method, headers, query: target.query() };
        let found = self.table.find(&asked)?;
        Some((self.routes.get(found.index)?, found.parameters))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::{call::Target, config::normal_form};

    proptest! {
        #[test]
        fn patterns_and_requests_have_the_same_normal_form(path in "/[a-zA-Z0-9./%~é-]{0,24}", escapes in "(%[0-9a-fA-F]{2}){0,4}") {
            let path = format!("{path}{escapes}");
            let target = Target::parse(path.clone().into()).unwrap();
            let pattern = normal_form(&path);
            prop_assert_eq!(target.normal_path(), pattern.as_bytes());
        }
    }
}
