//! One call of the store: its questions, the node that gets them, and the
//! meaning of a failure.
//!
//! A failure of the connection makes the next call open another one. A failure
//! of the node counts for its circuit. A question that the store refuses, such
//! as one that a read-only replica gets, counts as well: the store cannot
//! decide then.
//!
//! # One server and a cluster
//!
//! A single server gets all questions of a request in one call of the script,
//! which takes all tokens or none. The nodes of a cluster get one question
//! each, at the same time, because a script may only touch keys of one slot.
//! Each has its own outcome, and the caller puts them together.
//!
//! A call to a single server is tried twice if the connection breaks. The redis
//! crate's connection to a cluster repeats and redirects by itself, so that a
//! call has one try here.
//!
//! # Metrics
//!
//! A reply counts with its duration. A failed try counts as `error`, and a
//! node's timeout as `timeout`; other timeouts are counted by the caller that
//! made them.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use redis::{ErrorKind, RedisError, RedisResult};
use tokio::time::Instant;

use super::{
    Store,
    ask::Ask,
    client::StoreClient,
    connection::StoreConnection,
    nodes::Node,
    script::{QuestionKind, ScriptQuestion},
    share::{Reply, Trip},
};
use crate::{duration, limit::Clock, runtime::timer::timeout_at};

/// The reply of the store about one bucket, and the time of its trip.
///
/// The ledger needs both to place the reply on this process's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimedReply {
    /// The state of the bucket, and whether tokens were taken.
    pub(super) reply: Reply,
    /// The times of the call.
    pub(super) trip: Trip,
}

/// Tries of a call. A connection that was closed while it was idle costs the
/// first. Tokens that are returned have one try, because the first may have
/// reached the store, and returning them twice would be too much.
const TRIES: usize = 2;

/// Time between the deadline of each node and that of the whole call of a
/// cluster: the shortest that the timer can tell apart.
pub(super) const TICK: Duration = Duration::from_millis(1);

impl Store {
    /// Asks some buckets, all of which take their tokens or none does. In a
    /// cluster each bucket decides by itself, and the caller returns tokens
    /// that were taken in vain.
    ///
    /// Returns nothing if there is no reply at all; in a cluster, `None` for
    /// each bucket whose node does not respond before `deadline`. Only in a
    /// cluster the deadline ends the call; otherwise the caller has to.
    ///
    /// The replies are in the order of `wants`. A broken connection is dropped,
    /// so that the next call makes another; the failure of the last try counts
    /// for the circuit.
    pub(super) async fn call(
        self: &Arc<Self>,
        client: &StoreClient,
        wants: &[(&Ask, QuestionKind, u32)],
        deadline: Instant,
    ) -> Vec<Option<TimedReply>> {
        let question = |(ask, want, ahead): &(&Ask, QuestionKind, u32)| ScriptQuestion {
            key: ask.store_key(),
            gcra: *ask.gcra(),
            want: *want,
            ahead: *ahead,
        };
        let questions: Vec<_> = wants.iter().map(question).collect();
        if self.settings.is_cluster {
            return self.ask_nodes(client, &questions, deadline).await;
        }
        let gives_back = wants
            .iter()
            .any(|(_, want, _)| matches!(want, QuestionKind::GiveBack { .. }));
        let tries = if gives_back { 1 } else { TRIES };
        for attempt in 1..=tries {
            let Some(connection) = self.connection(client).await else {
                return Vec::new();
            };
            match self.ask_at(connection, &questions, &self.whole).await {
                Ok(replies) => return replies.into_iter().map(Some).collect(),
                Err(error) if is_broken(&error) && attempt < tries => self.lost(client),
                Err(error) => {
                    if is_broken(&error) {
                        self.lost(client);
                    }
                    self.metrics.failed("error");
                    self.failed(&self.whole, || error.to_string());
                }
            }
        }
        Vec::new()
    }

    /// Asks the node of each bucket, at the same time. The connection finds
    /// nodes again by itself, and is made anew only when it knows none.
    ///
    /// Without a list of nodes, a failure counts for the circuit of the whole.
    /// After any failure the nodes are listed again in the background, as slots
    /// may have moved.
    async fn ask_nodes(
        self: &Arc<Self>,
        client: &StoreClient,
        questions: &[ScriptQuestion],
        deadline: Instant,
    ) -> Vec<Option<TimedReply>> {
        let Some(connection) = self.connection(client).await else {
            return Vec::new();
        };
        let each = questions.chunks(1).map(|question| {
            let (connection, again) = (connection.clone(), connection.clone());
            async move {
                let node = question
                    .first()
                    .map_or_else(|| Arc::clone(&self.whole), |first| self.node_of(&first.key));
                match timeout_at(deadline, self.ask_at(connection, question, &node)).await {
                    Ok(Ok(replies)) => return replies.into_iter().next(),
                    Ok(Err(error)) => {
                        if error.kind() == ErrorKind::ClusterConnectionNotFound {
                            self.lost(client);
                        }
                        self.metrics.failed("error");
                        self.failed(&node, || error.to_string());
                    }
                    Err(_) => {
                        self.metrics.failed("timeout");
                        self.failed(&node, || self.too_slow());
                    }
                }
                self.look_at_nodes(again);
                None
            }
        });
        join_all(each).await
    }

    /// Asks one node, and counts its reply.
    ///
    /// A reply closes no open circuit; it only ends the series of failures.
    ///
    /// # Errors
    /// The connection broke, or the store refused the script. The caller counts
    /// it.
    async fn ask_at(
        &self,
        mut connection: StoreConnection,
        questions: &[ScriptQuestion],
        node: &Node,
    ) -> RedisResult<Vec<TimedReply>> {
        let (begun, sent) = (Instant::now(), Clock.now().as_nanos());
        let replies = connection.ask(&self.script, questions).await?;
        node.circuit.succeeded();
        self.whole.circuit.succeeded();
        self.metrics.responded(begun.elapsed());
        let trip = Trip {
            sent,
            received: Clock.now().as_nanos(),
        };
        Ok(replies
            .into_iter()
            .map(|reply| TimedReply { reply, trip })
            .collect())
    }

    /// The cause that the log names after a timeout.
    pub(super) fn too_slow(&self) -> String {
        format!("no answer within {}", duration::text(self.settings.timeout))
    }

    /// Makes a call in the background, bounded in number and time, and without
    /// a second try. Dropped if too many requests wait, or if the circuit is
    /// open.
    ///
    /// Tokens that are not returned come back with time alone.
    pub(super) fn spawn_call(self: &Arc<Self>, ask: Ask, want: QuestionKind) {
        let store = Arc::clone(self);
        self.background.spawn(async move {
            let client = store.client();
            let permit = client.permit().filter(|_| !store.is_left_alone(&ask));
            let Some(_permit) = permit else { return };
            let wants = [(&ask, want, 0)];
            let deadline = Instant::now() + store.settings.timeout;
            let replies = timeout_at(deadline, store.call(client, &wants, deadline))
                .await
                .unwrap_or_default();
            if let Some(TimedReply { reply, trip }) = replies.into_iter().next().flatten() {
                ask.limit
                    .ledger
                    .learn(ask.name, *ask.gcra(), 0, reply, trip);
            }
        });
    }
}

/// True if the connection failed rather than the question.
///
/// An error that the server has sent leaves the connection in order.
fn is_broken(error: &RedisError) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::UnexpectedReturnType
    )
}
