//! Reads and fills buckets in the store for the person on call, and reads them
//! for clients that ask how much is left.
//!
//! The admin listener uses this for its calls about keys of limits, through
//! `build::keys`, on the control thread, and routes with `quota = true` use it
//! on their workers. The calls go through the client of the thread, which has
//! the same bounds everywhere. A store
//! whose circuit is open is not called: a person gets the response at once that
//! the state is unknown.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout, timeout_at};

use super::{
    SharedAsk, Store,
    call::{TICK, TimedReply},
    script::QuestionKind,
};
use crate::limit::{Clock, Standing};

/// Longest wait for a reply. It is longer than that of requests, because a
/// list may have a thousand keys.
///
/// A person waits for it, and no request.
const LONGEST: Duration = Duration::from_secs(1);

impl Store {
    /// The state of the bucket of each ask in the store, with the tokens that
    /// this gateway holds of it; takes nothing. `None` for each that the store,
    /// or the node of its cluster, does not report in time.
    ///
    /// All asks go into one call, or one for each node. An error of the store
    /// counts for its circuit, as that of a request does. The remaining tokens
    /// include those that this gateway holds, and not those that other gateways
    /// hold.
    pub async fn standing(self: &Arc<Self>, asks: &[SharedAsk]) -> Vec<Option<Standing>> {
        let mut wants = Vec::new();
        let mut is_asked = Vec::with_capacity(asks.len());
        for ask in asks {
            let is_alone = self.is_left_alone(ask);
            is_asked.push(!is_alone);
            if !is_alone {
                wants.push((ask, QuestionKind::Look(0), 0));
            }
        }
        if wants.is_empty() {
            return vec![None; asks.len()];
        }
        let deadline = Instant::now() + LONGEST;
        let replies = timeout_at(deadline + TICK, self.call(self.client(), &wants, deadline))
            .await
            .unwrap_or_default();
        let mut replies = replies.into_iter();
        let now = Clock.now().as_nanos();
        let mut standings = Vec::with_capacity(asks.len());
        for (ask, is_asked) in asks.iter().zip(is_asked) {
            let reply = if is_asked {
                replies.next().flatten()
            } else {
                None
            };
            standings.push(reply.map(|TimedReply { reply, .. }| {
                let held = ask.limit.ledger.held(now, ask.name);
                let left = ask.gcra().left(reply.before.saturating_sub(held));
                Standing::known(ask.gcra(), left, reply.before)
            }));
        }
        standings
    }

    /// Fills the bucket of `ask`. Other gateways keep the tokens that they
    /// hold, and may refuse for up to a second by what they know; this gateway
    /// forgets both. Returns false if the store does not respond in time.
    ///
    /// A key that the store does not have is full already, so that deleting it
    /// succeeds.
    pub async fn fill(self: &Arc<Self>, ask: &SharedAsk) -> bool {
        if self.is_left_alone(ask) {
            return false;
        }
        let filled = async {
            let mut connection = self.connection(self.client()).await?;
            connection.delete(&ask.store_key()).await.ok()
        };
        let is_filled = timeout(LONGEST, filled).await.ok().flatten().is_some();
        if is_filled {
            ask.limit.ledger.forget(ask.name);
        }
        is_filled
    }
}
