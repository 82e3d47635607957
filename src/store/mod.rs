//! Limits that several gateways share, through Redis or Valkey: together they never admit more than rate and burst.
//!
//! A request's path crosses it where a route has limits with `scope = "shared"`, after the local ones have admitted.
//! Most decisions about a busy key need no call: its tokens are held here, or it is known to be refused. Read in this
//! order:
//!
//! * `share`: what a gateway holds of one bucket, and why holding tokens ahead is exact.
//! * `ledger`: the buckets it knows, bounded.
//! * `name`: what they are called in the store.
//! * `bucket.lua` and `script`: the decision at the store.
//! * `decide` and `call`: many limits, many requests, few calls.
//! * `lane`, `connection`, `link`: a worker's way to the store, and how it is found again.
//! * `circuit`: leaving a dead store alone; `nodes` and `cluster`: each node of a cluster by itself; `parts`: requests of which that
//!   concerns a part.
//! * `standing`: one bucket, for the person on call.

mod call;
mod circuit;
mod cluster;
mod connection;
mod decide;
mod lane;
mod ledger;
mod link;
mod name;
mod nodes;
mod parts;
mod script;
mod share;
mod standing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

pub use self::{
    decide::{Admission, Ask, Asks, Decision, Outcome, Refused},
    name::{Name, NameHasher},
};
use self::{
    lane::Lane,
    ledger::Ledger,
    nodes::{Node, Nodes},
    script::Script,
};
use crate::{limit::Limiter, policy, runtime::PerWorker, telemetry::metrics::StoreMetrics};

/// A store, as all workers use it. What is held of its buckets is in each [`SharedLimit`], and outlives it.
#[derive(Debug)]
pub struct Store {
    settings: policy::Store,
    script: Script,
    /// A single server; of a cluster all that is not one node's fault.
    whole: Arc<Node>,
    /// The nodes of a cluster, once it has told them. Without them the whole has one circuit.
    nodes: ArcSwapOption<Nodes>,
    /// Looks which nodes there are; and when that began.
    look: Mutex<Option<(Instant, AbortOnDropHandle<()>)>>,
    lanes: PerWorker<Lane>,
    metrics: Arc<StoreMetrics>,
    /// Calls that nobody waits for: what is given back, what is owed.
    errands: TaskTracker,
}

impl Store {
    /// A store that nobody has called yet.
    pub fn new(settings: policy::Store, workers: usize, metrics: Arc<StoreMetrics>) -> Arc<Self> {
        metrics.set_open(false, Vec::new());
        Arc::new(Self {
            whole: Node::new(settings.addresses()),
            settings,
            script: Script::new(),
            nodes: ArcSwapOption::empty(),
            look: Mutex::default(),
            lanes: PerWorker::new(workers),
            metrics,
            errands: TaskTracker::new(),
        })
    }

    /// What it was made of.
    pub fn settings(&self) -> &policy::Store {
        &self.settings
    }

    /// The lane of this thread.
    fn lane(&self) -> &Lane {
        self.lanes.mine()
    }
}

/// A limit whose buckets are in the store, and what this gateway knows of them. Kept over reloads.
#[derive(Debug)]
pub struct SharedLimit {
    /// Its numbers; its buckets decide while the store does not answer, with `on_error = "local"`.
    limiter: Limiter,
    ledger: Arc<Ledger>,
}

impl SharedLimit {
    /// For about `max_keys` keys; `earlier` is the same limit before a reload.
    pub fn new(limiter: Limiter, max_keys: std::num::NonZeroUsize, earlier: Option<&Self>) -> Self {
        let kept = earlier.filter(|earlier| earlier.ledger.is_for(max_keys));
        let ledger = kept.map_or_else(
            || Arc::new(Ledger::new(max_keys)),
            |earlier| Arc::clone(&earlier.ledger),
        );
        Self { limiter, ledger }
    }

    /// Keys that this gateway knows.
    pub fn keys(&self) -> usize {
        self.ledger.len()
    }
}
