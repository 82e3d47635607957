//! One call of the store: what is asked, whom, and what its failure means.

use std::sync::Arc;

use futures_util::future::try_join_all;
use redis::{ErrorKind, RedisError, RedisResult};
use tokio::time::{Instant, timeout};

use super::{
    Store,
    connection::Connection,
    decide::Ask,
    lane::Lane,
    script::{Question, Want},
    share::{Told, Trip},
};
use crate::limit::Clock;

/// What the store said, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    pub(super) told: Told,
    pub(super) trip: Trip,
}

/// A connection that was closed while nobody looked costs a second try, on a new one. What is given back has one: the
/// first may have come to the store, and twice would be too much.
const TRIES: usize = 2;

impl Store {
    /// Asks some buckets, all of which take or none; in a cluster each decides by itself, and what was taken in vain is
    /// given back by the caller. `None`: no answer.
    pub(super) async fn call(self: &Arc<Self>, lane: &Lane, wants: &[(&Ask, Want, u32)]) -> Option<Vec<Answer>> {
        let question = |(ask, want, ahead): &(&Ask, Want, u32)| Question {
            key: ask.name.key(ask.limit.limiter.name()),
            pace: ask.pace(),
            want: *want,
            ahead: *ahead,
        };
        let questions: Vec<_> = wants.iter().map(question).collect();
        let gives_back = wants.iter().any(|(_, want, _)| matches!(want, Want::GiveBack { .. }));
        let tries = if gives_back { 1 } else { TRIES };
        for attempt in 1..=tries {
            let connection = self.connection(lane).await?;
            let (begun, sent) = (Instant::now(), Clock.now().as_nanos());
            match self.ask_buckets(connection, &questions).await {
                Ok(told) => {
                    self.circuit.succeeded();
                    self.metrics.answered(begun.elapsed());
                    let trip = Trip { sent, received: Clock.now().as_nanos() };
                    return Some(told.into_iter().map(|told| Answer { told, trip }).collect());
                }
                Err(error) if is_broken(&error) && attempt < tries => self.lost(lane),
                Err(error) => {
                    if is_broken(&error) {
                        self.lost(lane);
                    }
                    self.metrics.failed("error");
                    self.failed(|| error.to_string());
                }
            }
        }
        None
    }

    async fn ask_buckets(&self, mut connection: Connection, questions: &[Question]) -> RedisResult<Vec<Told>> {
        if connection.is_single() || questions.len() < 2 {
            return connection.ask(&self.script, questions).await;
        }
        let each = questions.chunks(1).map(|question| {
            let mut connection = connection.clone();
            async move { connection.ask(&self.script, question).await }
        });
        Ok(try_join_all(each).await?.into_iter().flatten().collect())
    }

    /// A call that nobody waits for: bounded in number and time, and given up when it fails.
    pub(super) fn errand(self: &Arc<Self>, ask: Ask, want: Want) {
        let store = Arc::clone(self);
        self.errands.spawn(async move {
            let lane = store.lane();
            let place = lane.enter().filter(|_| !store.circuit.is_open());
            let Some(_place) = place else { return };
            let wants = [(&ask, want, 0)];
            let answers = timeout(store.settings.timeout, store.call(lane, &wants)).await.ok().flatten();
            if let Some(Answer { told, trip }) = answers.and_then(|answers| answers.first().copied()) {
                ask.limit.ledger.learn(ask.name, ask.pace(), 0, told, trip);
            }
        });
    }
}

/// Whether the connection is to blame rather than what was asked.
fn is_broken(error: &RedisError) -> bool {
    !matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::UnexpectedReturnType)
}
