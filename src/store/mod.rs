//! Limits that several gateways share, through Redis or Valkey: together they
//! never admit more than rate and burst.
//!
//! A request comes here if its route has limits with `scope = "shared"`, after
//! the local ones have admitted it. Most decisions about a busy key need no
//! call: its tokens are held here, or it is known to be refused.
//!
//! # Guarantees
//!
//! * All gateways together admit at most `burst + rate * t` in any time `t`,
//!   with any number of gateways and any size of leases (`share` has the
//!   proof).
//! * All limits of a request take their tokens, or none does, also over the
//!   nodes of a cluster.
//! * No request waits longer than the `timeout` of the store. Cancelling a
//!   request that waits is safe: tokens that its call has taken count as used.
//! * A gateway knows at most `max_keys` keys of a limit, and fills the store
//!   with no more. A worker has at most 1,024 requests that wait for the store.
//!
//! # Reading order
//!
//! * `share`: the part of one bucket that a gateway holds, and why holding
//!   tokens ahead is exact.
//! * `ledger`: the buckets that the gateway knows, bounded.
//! * `caps`: the other kind of limit, requests in flight.
//! * `name`: their names in the store.
//! * `bucket.lua` and `script`: the decision at the store.
//! * `ask`, `decide`, `admission` and `call`: many limits, many requests, few
//!   calls; `batch`: one call for all requests that want the same key.
//! * `client`, `connection`, `link`: the connection of a worker, and how it is
//!   made again.
//! * `circuit`: no calls to a dead store; `nodes` and `cluster`: each node of a
//!   cluster has a circuit of its own; `parts`: requests of which some limits
//!   are on such a node.
//! * `standing`: the state of one bucket, for the person on call.

mod admission;
mod ask;
mod batch;
mod call;
mod caps;
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
    admission::{Refused, SharedAdmission, StoreDecision, StoreOutcome},
    ask::{Asks, SharedAsk},
    caps::{CapAsk, CapAsks, CapTable, CapsRefused, SharedPermit, SharedPermits},
    name::{Name, NameHasher},
};
use self::{
    caps::CapScript,
    client::StoreClient,
    ledger::Ledger,
    nodes::{Nodes, StoreNode},
    script::Script,
};
use crate::{limit::Limiter, policy, runtime::PerWorker, telemetry::metrics::StoreMetrics};

/// A store, as all workers use it. The tokens that this gateway holds are in
/// each [`SharedLimit`], and outlive the store.
#[derive(Debug)]
pub struct Store {
    settings: policy::Store,
    /// The script that decides at the store.
    script: Script,
    /// The circuit of a single server; of a cluster, that of all failures which
    /// are not one node's.
    whole: Arc<StoreNode>,
    /// The nodes of a cluster, once it has listed them. Before that, the whole
    /// has one circuit.
    nodes: ArcSwapOption<Nodes>,
    /// The task that looks for the nodes of a cluster, and when it began.
    look: Mutex<Option<(Instant, AbortOnDropHandle<()>)>>,
    /// The keys with requests in flight under shared caps. They outlive the
    /// store.
    caps: Arc<CapTable>,
    /// The script that counts them.
    cap_script: CapScript,
    /// The task that asks about them.
    keeper: Mutex<Option<AbortOnDropHandle<()>>>,
    /// The connection of each worker, and its requests that wait.
    clients: PerWorker<StoreClient>,
    metrics: Arc<StoreMetrics>,
    /// Calls without a request that waits for them: tokens that are returned.
    background: TaskTracker,
}

impl Store {
    /// A store that has not been called yet. Connects with the first call, or
    /// with [`warm_up`](Self::warm_up).
    ///
    /// `caps` are the requests in flight under shared caps, which the store
    /// before this one has counted.
    pub fn new(
        settings: policy::Store,
        workers: usize,
        metrics: Arc<StoreMetrics>,
        caps: Arc<CapTable>,
    ) -> Arc<Self> {
        metrics.set_open(false, Vec::new());
        Arc::new(Self {
            whole: StoreNode::new(settings.addresses()),
            settings,
            script: Script::new(),
            nodes: ArcSwapOption::empty(),
            look: Mutex::default(),
            caps,
            cap_script: CapScript::new(),
            keeper: Mutex::default(),
            clients: PerWorker::new(workers),
            metrics,
            background: TaskTracker::new(),
        })
    }

    /// The settings that it was made from.
    pub fn settings(&self) -> &policy::Store {
        &self.settings
    }

    /// The requests in flight under shared caps.
    pub fn caps(&self) -> &Arc<CapTable> {
        &self.caps
    }

    /// The client of this thread.
    fn client(&self) -> &StoreClient {
        self.clients.mine()
    }
}

/// A limit whose buckets are in the store, and the part of them that this
/// gateway knows. Kept over reloads.
#[derive(Debug)]
pub struct SharedLimit {
    /// Its quota. Its own buckets decide while the store does not respond, with
    /// `on_error = "local"`.
    limiter: Limiter,
    /// The buckets that this gateway knows.
    ledger: Arc<Ledger>,
}

impl SharedLimit {
    /// A limit that knows at most `max_keys` keys. `earlier` is the same limit
    /// before a reload, whose knowledge is kept unless `max_keys` has changed.
    pub fn new(limiter: Limiter, max_keys: std::num::NonZeroUsize, earlier: Option<&Self>) -> Self {
        let ledger = match earlier {
            Some(earlier) if earlier.ledger.is_for(max_keys) => Arc::clone(&earlier.ledger),
            _ => Arc::new(Ledger::new(max_keys)),
        };
        Self { limiter, ledger }
    }

    /// The number of keys that this gateway knows.
    pub fn keys(&self) -> usize {
        self.ledger.len()
    }
}
