//! One generation of the routes: the tables by which a request finds its route,
//! and the stack of layers of each route.
//!
//! A reload builds the next snapshot beside the one in use and exchanges their
//! routes. Requests that have begun keep the parts that they use: their future
//! has references to what layers share, and their exchange refers to the tag of
//! the route. These parts are freed with their last request.

use std::{mem, sync::Arc};

use http::HeaderName;
use parking_lot::{Mutex, MutexGuard};

use super::{client::Trust, disguise::Disguises, stack::Stack, table::RouteTable};
use crate::{
    acme::HttpChallenges, call::RouteTag, runtime::PerWorker, traces::Tracer,
    upstream::CurrentUpstream,
};

/// All routes of one configuration, once for each worker, so that counting
/// references to a route touches no memory that another worker touches.
#[derive(Debug)]
pub struct Snapshot {
    /// The same routes for each worker, with references of its own. A worker
    /// has the lock while a request begins, and a reload for an exchange of
    /// pointers: both find it free nearly always.
    workers: PerWorker<Mutex<Routes>>,
}

impl Snapshot {
    /// A snapshot for so many workers, whose routes `make` makes for each.
    pub(crate) fn new(workers: usize, mut make: impl FnMut() -> Routes) -> Self {
        let workers = PerWorker::workers_only(workers, |_| Mutex::new(make()));
        Self { workers }
    }

    /// The routes of worker number `worker`.
    pub(super) fn routes(&self, worker: usize) -> MutexGuard<'_, Routes> {
        self.workers.of(worker).lock()
    }

    /// Takes the place of this snapshot for requests that begin after the call.
    /// Both are for the same number of workers.
    pub fn replace(&self, next: Self) {
        for (current, next) in self.workers.iter().zip(next.workers.iter()) {
            mem::swap(&mut *current.lock(), &mut *next.lock());
        }
    }
}

/// The routes of one worker.
#[derive(Debug)]
pub(crate) struct Routes {
    /// Finds the index of a route in `routes`.
    pub(crate) table: Arc<RouteTable>,
    /// Detects paths that a service may take for those of another route.
    pub(crate) disguises: Arc<Disguises>,
    /// In the order of the configuration.
    pub(crate) routes: Vec<Route>,
    /// The proxies that are trusted to name the client.
    pub(crate) trust: Arc<Trust>,
    /// The tag of requests that no route takes.
    pub(crate) unmatched: Arc<RouteTag>,
    /// Begins the traces of requests; `None` without `[traces]`.
    pub(crate) tracer: Option<Arc<Tracer>>,
    /// Whether some route has origins that may call it from a browser, so that
    /// preflights are looked for.
    pub(crate) answers_preflights: bool,
    /// Whether some route takes gRPC calls, so that a call that no route takes
    /// is responded to as a call, too.
    pub(crate) takes_calls: bool,
    /// Challenges of ACME authorities that are pending.
    pub(crate) challenges: Arc<HttpChallenges>,
}

/// One route.
#[derive(Debug)]
pub(crate) struct Route {
    /// Its name in logs and metrics.
    pub(crate) tag: Arc<RouteTag>,
    /// Its layers, which the requests of the worker call one after the other.
    pub(crate) stack: Stack,
    /// The most bytes of a request's body; `None` is no bound.
    pub(crate) max_body: Option<u64>,
    /// The most bytes of the body of a gRPC call; `None` is no bound.
    pub(crate) max_call_body: Option<u64>,
    /// The upstreams of its gRPC calls; none if it takes no calls.
    pub(crate) callees: Box<[Arc<CurrentUpstream>]>,
    /// Forwarding fields of untrusted peers that its service gets nevertheless.
    pub(crate) kept: Box<[HeaderName]>,
    /// Whether its requests go to an upstream.
    pub(crate) forwards: bool,
    /// Whether it lists TRACE among its methods.
    pub(crate) takes_trace: bool,
}

impl Route {
    /// Whether requests can be gRPC calls: each upstream that one may be sent
    /// to can speak HTTP/2.
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
