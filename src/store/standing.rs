//! How buckets stand in the store, and one that is filled: for the person on call, off the path of requests.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{Ask, Store, script::Want};
use crate::limit::{Clock, Standing};

/// Longest wait for an answer: longer than requests wait, as people do, and a list may have a thousand keys.
const PATIENCE: Duration = Duration::from_secs(1);

impl Store {
    /// How the bucket of each ask stands by the store's word, with what this gateway holds of it; takes nothing. `None`:
    /// the store does not answer in time.
    pub async fn standing(self: &Arc<Self>, asks: &[Ask]) -> Option<Vec<Standing>> {
        if self.circuit.is_open() {
            return None;
        }
        let wants: Vec<_> = asks.iter().map(|ask| (ask, Want::Look(0), 0)).collect();
        let answers = timeout(PATIENCE, self.call(self.lane(), &wants)).await.ok()??;
        let now = Clock.now().as_nanos();
        let stands = |(ask, debt): (&Ask, u64)| {
            let (pace, held) = (ask.pace(), ask.limit.ledger.held(now, ask.name));
            Standing::known(0, ask.quota(), pace.left(debt.saturating_sub(held)), Duration::from_nanos(debt))
        };
        Some(asks.iter().zip(answers.iter().map(|answer| answer.told.before)).map(stands).collect())
    }

    /// Fills the bucket of `ask`. What gateways hold of it already, and their knowing of refusals for up to a second, stay
    /// with them; this one forgets. False when the store does not answer in time.
    pub async fn fill(self: &Arc<Self>, ask: &Ask) -> bool {
        if self.circuit.is_open() {
            return false;
        }
        let filled = async {
            let mut connection = self.connection(self.lane()).await?;
            connection.delete(&ask.name.key(ask.limit.limiter.name())).await.ok()
        };
        let is_filled = timeout(PATIENCE, filled).await.ok().flatten().is_some();
        if is_filled {
            ask.limit.ledger.forget(ask.name);
        }
        is_filled
    }
}
