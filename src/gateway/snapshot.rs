//! One generation of the routes, ready to serve: what a request is matched on, and the stack that it then goes through.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Method};

use super::{
    client::Trust,
    disguise::Disguises,
    stack::Stack,
    table::{Asked, Table},
};
use crate::{
    call::{RouteTag, Target},
    error::Error,
    runtime::PerWorker,
    upstream::Upstream,
};

/// All routes of one configuration. A lane for each worker, so that counting references to a route touches no memory
/// that another worker touches.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) lanes: PerWorker<Lane>,
}

impl Snapshot {
    pub(crate) fn lane(&self, worker: usize) -> &Lane {
        self.lanes.of(worker)
    }
}

/// The routes as one worker sees them.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) table: Arc<Table>,
    pub(crate) disguises: Arc<Disguises>,
    pub(crate) routes: Vec<Route>,
    pub(crate) trust: Arc<Trust>,
    /// For requests that no route takes.
    pub(crate) unmatched: Arc<RouteTag>,
    /// Some route takes gRPC calls, so that one that no route takes is answered as a call, too.
    pub(crate) takes_calls: bool,
}

/// One route.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) tag: Arc<RouteTag>,
    /// Its layers, cloned for each request: a service is called by whoever owns it.
    pub(crate) stack: Stack,
    pub(crate) max_body: Option<u64>,
    /// The same for gRPC calls.
    pub(crate) max_call_body: Option<u64>,
    /// Where its calls go; none where a request is never a gRPC call.
    pub(crate) callees: Box<[Arc<Upstream>]>,
    /// Claims of peers that are not trusted which its service gets all the same.
    pub(crate) kept: Box<[HeaderName]>,
    /// Its requests go to a service.
    pub(crate) forwards: bool,
    /// It lists TRACE among its methods.
    pub(crate) takes_trace: bool,
}

impl Route {
    /// Whether requests can be gRPC calls: each upstream that one may be sent to can speak HTTP/2.
    pub(crate) fn takes_calls(&self) -> bool {
        !self.callees.is_empty()
            && self
                .callees
                .iter()
                .all(|upstream| upstream.can_speak_http2())
    }
}

/// Parameters of a match.
pub(crate) type Parameters = Vec<(Arc<str>, Box<str>)>;

/// The route that takes a request.
#[derive(Debug)]
pub(crate) struct Taken<'l> {
    pub(crate) route: &'l Route,
    pub(crate) parameters: Parameters,
    /// The path as the route spells it, where the request spells it in another letter case or with a slash at its end.
    pub(crate) spelled: Option<Vec<u8>>,
}

impl Lane {
    /// The route that takes a request.
    ///
    /// # Errors
    /// [`Error::NoRoute`], [`Error::TraceNotAllowed`], or [`Error::AmbiguousPath`] when the service that it is forwarded to could take its path for one
    /// of another route, and so give it more than that route would.
    pub(crate) fn find(
        &self,
        host: &str,
        target: &Target,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Taken<'_>, Error> {
        let asked = Asked {
            host,
            path: target.normal_path(),
            method,
            headers,
            query: target.query(),
        };
        let mut found = self.table.find(&asked).ok_or(Error::NoRoute)?;
        if target.may_be_disguised() {
            self.disguises.check(&found, &asked, target.path())?;
        }
        let mut spelled = None;
        if let Some((other, spelling)) = self.disguises.spelling(found.index, &asked)? {
            (found, spelled) = (other, Some(spelling));
        }
        let route = self.routes.get(found.index).ok_or(Error::NoRoute)?;
        // A service that answers it would show the client all that is added on the way.
        if *method == Method::TRACE && !route.takes_trace {
            return Err(Error::TraceNotAllowed);
        }
        Ok(Taken {
            route,
            parameters: found.parameters,
            spelled,
        })
    }
}
