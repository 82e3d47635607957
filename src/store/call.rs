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

use std::{slice, sync::Arc, time::Duration};

use futures_util::future::join_all;
use redis::{ErrorKind, RedisError, RedisResult};
use tokio::time::Instant;

use super::{
    Store,
    ask::SharedAsk,
    client::StoreClient,
    connection::StoreConnection,
    nodes::StoreNode,
    script::{QuestionKind, ScriptQuestion},
    share::{Reply, Trip},
};
use crate::{
    duration,
    limit::{Clock, MOST_OWED},
    runtime::timer::timeout_at,
};

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
/// first. Tokens that are returned or owed have one try, because the first may
/// have reached the store, and twice would be too much.
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
        wants: &[(&SharedAsk, QuestionKind, u32)],
        deadline: Instant,
    ) -> Vec<Option<TimedReply>> {
        let mut questions = Vec::with_capacity(wants.len());
        let mut tries = TRIES;
        for (ask, want, ahead) in wants {
            if matches!(want, QuestionKind::GiveBack { .. } | QuestionKind::Owe(_)) {
                tries = 1;
            }
            questions.push(ScriptQuestion {
                key: ask.store_key(),
                gcra: *ask.gcra(),
                want: *want,
                ahead: *ahead,
            });
        }
        if self.settings.is_cluster {
            return self.ask_nodes(client, &questions, deadline).await;
        }
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
                    self.failed(&self.whole, &error);
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
        let each = questions.iter().map(|question| {
            let connection = connection.clone();
            self.ask_node(client, connection, question, deadline)
        });
        join_all(each).await
    }

    /// Asks the node of one bucket; `None` if it does not respond before
    /// `deadline`, or fails.
    async fn ask_node(
        self: &Arc<Self>,
        client: &StoreClient,
        connection: StoreConnection,
        question: &ScriptQuestion,
        deadline: Instant,
    ) -> Option<TimedReply> {
        let node = self.node_of(&question.key);
        let asking = self.ask_at(connection.clone(), slice::from_ref(question), &node);
        match timeout_at(deadline, asking).await {
            Ok(Ok(replies)) => return replies.into_iter().next(),
            Ok(Err(error)) => {
                if error.kind() == ErrorKind::ClusterConnectionNotFound {
                    self.lost(client);
                }
                self.metrics.failed("error");
                self.failed(&node, &error);
            }
            Err(_) => {
                self.metrics.failed("timeout");
                self.timed_out(&node);
            }
        }
        self.look_at_nodes(connection);
        None
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
        node: &StoreNode,
    ) -> RedisResult<Vec<TimedReply>> {
        let begun = Instant::now();
        let sent = Clock.now().as_nanos();
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

    /// Counts a timeout of a node for its circuit.
    pub(super) fn timed_out(self: &Arc<Self>, node: &Arc<StoreNode>) {
        let timeout = duration::text(self.settings.timeout);
        self.failed(node, format_args!("no answer within {timeout}"));
    }

    /// Makes a call in the background, bounded in number and time, and without
    /// a second try. Dropped if too many requests wait, or if the circuit is
    /// open.
    ///
    /// Tokens that are not returned come back with time alone.
    pub(super) fn spawn_call(self: &Arc<Self>, ask: SharedAsk, want: QuestionKind) {
        let store = Arc::clone(self);
        self.background.spawn(async move {
            store.call_behind(&ask, want).await;
        });
    }

    /// Takes `tokens` from the bucket of `ask`, whether they are there or not:
    /// those that are held here at once, and the rest in the store, in the
    /// background. Each key has one call in flight for this, and what comes
    /// meanwhile goes with the next one.
    ///
    /// A debt that could not be told goes with the next one of the key. It is
    /// lost with the process, or once the key is forgotten.
    pub(super) fn owe(self: &Arc<Self>, ask: &SharedAsk, tokens: u64) {
        let gcra = *ask.gcra();
        let most = gcra.fill().saturating_mul(MOST_OWED);
        let nanos = gcra.emission().saturating_mul(tokens).min(most);
        let ledger = &ask.limit.ledger;
        let mut owed = ledger.owe(Clock.now().as_nanos(), ask.name, gcra, nanos);
        if owed == 0 {
            return;
        }
        let (store, ask) = (Arc::clone(self), ask.clone());
        self.background.spawn(async move {
            while owed > 0 {
                let is_told = store.call_behind(&ask, QuestionKind::Owe(owed)).await;
                let unpaid = if is_told { 0 } else { owed };
                owed = ask.limit.ledger.paid(ask.name, unpaid);
            }
        });
    }

    /// The call of a task in the background. Returns whether the store has
    /// answered.
    async fn call_behind(self: &Arc<Self>, ask: &SharedAsk, want: QuestionKind) -> bool {
        let client = self.client();
        if self.is_left_alone(ask) {
            return false;
        }
        let Some(_permit) = client.permit() else {
            return false;
        };
        let wants = [(ask, want, 0)];
        let deadline = Instant::now() + self.settings.timeout;
        let replies = timeout_at(deadline, self.call(client, &wants, deadline))
            .await
            .unwrap_or_default();
        let Some(TimedReply { mut reply, trip }) = replies.into_iter().next().flatten() else {
            return false;
        };
        // Nothing was taken for this gateway to hold.
        reply.before = reply.before.max(reply.after);
        let ledger = &ask.limit.ledger;
        ledger.learn(ask.name, *ask.gcra(), 0, reply, trip);
        true
    }
}

/// True if the connection failed rather than the question.
///
/// An error that the server has sent leaves the connection in order.
pub(super) fn is_broken(error: &RedisError) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::UnexpectedReturnType
    )
}
