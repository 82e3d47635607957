//! Limits that several gateways share, through Redis or Valkey: together they
//! never admit more than rate and burst.
//!
//! A request comes here if its route has limits with `scope = "shared"`, after
//! the local ones have admitted it. Most decisions about a busy key need no
//! call: its tokens are held here, or it is known to be refused. Read in this
//! order:
//!
//! * `share`: the part of one bucket that a gateway holds, and why holding
//!   tokens ahead is exact.
//! * `ledger`: the buckets that the gateway knows, bounded.
//! * `name`: their names in the store.
//! * `bucket.lua` and `script`: the decision at the store.
//! * `ask`, `decide`, `admission` and `call`: many limits, many requests, few
//!   calls; `batch`: one call for all requests that want the same key.
//! * `client`, `connection`, `link`: the connection of a worker, and how it is
//!   made again.
//! * `circuit`: no calls to a dead store; `nodes` and `cluster`: each node of a
//!   cluster has a circuit of its own; `parts`: requests of which some limits
//!   lie on such a node.
//! * `standing`: the state of one bucket, for the person on call.

mod admission;
mod ask;
mod batch;
mod call;
mod circuit;
mod client;
mod cluster;
mod connection;
mod decide;
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
    admission::{Admission, Decision, Outcome, Refused},
    ask::{Ask, Asks},
    name::{Name, NameHasher},
};
use self::{
    client::Client,
    ledger::Ledger,
    nodes::{Node, Nodes},
    script::Script,
};
use crate::{limit::Limiter, policy, runtime::PerWorker, telemetry::metrics::StoreMetrics};

/// A store, as all workers use it. The tokens that this gateway holds are in
/// each [`SharedLimit`], and outlive the store.
#[derive(Debug)]
pub struct Store {
    settings: policy::Store,
    script: Script,
    /// A single server; of a cluster all that is not one node's fault.
    whole: Arc<Node>,
    /// The nodes of a cluster, once it has told them. Without them the whole
    /// has one circuit.
    nodes: ArcSwapOption<Nodes>,
    /// Looks which nodes there are; and when that began.
    look: Mutex<Option<(Instant, AbortOnDropHandle<()>)>>,
    clients: PerWorker<Client>,
    metrics: Arc<StoreMetrics>,
    /// Calls without a request that waits for them: tokens that are returned,
    /// debts.
    background: TaskTracker,
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
            clients: PerWorker::new(workers),
            metrics,
            background: TaskTracker::new(),
        })
    }

    /// The configuration that it was made from.
    pub fn settings(&self) -> &policy::Store {
        &self.settings
    }

    /// The client of this thread.
    fn client(&self) -> &Client {
        self.clients.mine()
    }
}

/// A limit whose buckets are in the store, and what this gateway knows of them.
/// Kept over reloads.
#[derive(Debug)]
pub struct SharedLimit {
    /// Its numbers; its buckets decide while the store does not answer, with
    /// `on_error = "local"`.
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
