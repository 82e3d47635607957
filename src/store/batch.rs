//! In-flight batches: of the requests that want the same hot key at once, one
//! calls the store for all.
//!
//! The first request leads the batch. Requests that join wait for its response
//! and for the tokens that it takes ahead, and then look again at the tokens
//! that are held here. This is single-flight (`singleflight` of Go) by key,
//! except that a follower may find that the tokens do not suffice, and lead the
//! next batch.
//!
//! # Cancellation
//!
//! Both roles are guards. A leader that is dropped, because its client left or
//! its time was over, ends its batch, and one of the followers leads the next.
//! A follower that is dropped takes back its wish for tokens.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::name::Name;

/// The batches of one worker. Bounded by the permits of its client, as each
/// batch has a request that holds one.
#[derive(Debug, Default)]
pub(super) struct Batches(Mutex<HashMap<u128, Batch>>);

/// The requests that want one key.
#[derive(Debug, Default)]
struct Batch {
    /// Closes when the leader is dropped; `None` while no call is in flight.
    completion: Option<watch::Receiver<()>>,
    /// Tokens that the followers want.
    wanted: u32,
}

/// The role of a request in a batch.
#[derive(Debug)]
pub(super) enum BatchRole<'a> {
    /// The request calls the store, and drops this when it has learnt the
    /// response.
    Leader(Leader<'a>),
    /// The request waits for the leader, and then looks again.
    Follower(Follower<'a>),
}

/// The right to call the store about some keys.
#[derive(Debug)]
pub(super) struct Leader<'a> {
    /// The batches of the worker.
    batches: &'a Batches,
    /// The keys of this batch.
    names: Vec<Name>,
    /// Tokens that followers wait for, by key.
    pub(super) wanted: Vec<u32>,
    /// Closes the channel of the followers on drop.
    _completion: watch::Sender<()>,
}

/// A wait for the response to a leader.
#[derive(Debug)]
pub(super) struct Follower<'a> {
    /// The batches of the worker.
    batches: &'a Batches,
    /// The key that it waits for.
    name: Name,
    /// Tokens that it wants of the key.
    cost: u32,
    /// Closes when the leader is done.
    completion: watch::Receiver<()>,
}

impl Batches {
    /// Joins the batch of the first of these keys that is in flight, and
    /// otherwise leads one for all of them. Each key comes with the tokens that
    /// are wanted of it.
    pub(super) fn join(&self, names: &[(Name, u32)]) -> BatchRole<'_> {
        let mut batches = self.0.lock();
        for (name, cost) in names {
            if let Some(batch) = batches.get_mut(&name.number())
                && let Some(completion) = batch.completion.clone()
            {
                batch.wanted = batch.wanted.saturating_add(*cost);
                return BatchRole::Follower(Follower {
                    batches: self,
                    name: *name,
                    cost: *cost,
                    completion,
                });
            }
        }
        let (sender, completion) = watch::channel(());
        let mut wanted = Vec::with_capacity(names.len());
        for (name, _) in names {
            let batch = batches.entry(name.number()).or_default();
            batch.completion = Some(completion.clone());
            wanted.push(batch.wanted);
        }
        BatchRole::Leader(Leader {
            batches: self,
            names: names.iter().map(|(name, _)| *name).collect(),
            wanted,
            _completion: sender,
        })
    }

    /// Changes the batch of a key, and removes it when no request belongs to it
    /// any more.
    fn change(&self, name: Name, change: impl FnOnce(&mut Batch)) {
        let mut batches = self.0.lock();
        if let Some(batch) = batches.get_mut(&name.number()) {
            change(batch);
            if batch.completion.is_none() && batch.wanted == 0 {
                batches.remove(&name.number());
            }
        }
    }
}

impl Follower<'_> {
    /// Waits until the leader has learnt the response, or was dropped.
    pub(super) async fn completed(mut self) {
        // The channel carries no values; it only closes.
        let _ = self.completion.changed().await;
    }
}

impl Drop for Follower<'_> {
    fn drop(&mut self) {
        self.batches.change(self.name, |batch| {
            batch.wanted = batch.wanted.saturating_sub(self.cost);
        });
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        for name in &self.names {
            self.batches.change(*name, |batch| batch.completion = None);
        }
    }
}
