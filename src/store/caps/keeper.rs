//! The keeper: the one task that asks the store about shared caps, tells it of
//! permits that came back, and renews the others.
//!
//! It ends with its store. After a reload that changes the store, the keeper of
//! the new one begins with all keys that have requests in flight.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::join_all;
use redis::RedisError;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::table::{CapQuestion, CapReply};
use crate::{
    limit::Clock,
    runtime::timer::timeout_at,
    store::{Store, call::is_broken, connection::StoreConnection, nodes::StoreNode},
};

/// Time between two renewals of all permits: two may be lost before a lease
/// ends.
const RENEWAL: Duration = Duration::from_secs(3);
/// Time after which a call that has failed is tried again.
const RETRY: Duration = Duration::from_millis(250);
/// Most keys of one call, so that the store is not blocked for longer than a
/// few milliseconds.
const MOST_AT_ONCE: usize = 256;

impl Store {
    /// Starts the keeper, unless it runs. It runs on the thread of the first
    /// request that needs it, and begins anew when that thread has ended.
    pub(super) fn keep_caps(self: &Arc<Self>) {
        let mut keeper = self.keeper.lock();
        if keeper.as_ref().is_none_or(AbortOnDropHandle::is_finished) {
            let task = tokio::spawn(keep(Arc::downgrade(self)));
            *keeper = Some(AbortOnDropHandle::new(task));
        }
    }

    /// Asks about all keys that have changed, in one call after the other.
    /// Returns false if the store did not answer.
    async fn settle_caps(self: &Arc<Self>) -> bool {
        loop {
            let questions = self.caps.collect(MOST_AT_ONCE);
            if questions.is_empty() {
                return true;
            }
            let sent = Clock.now().as_nanos();
            let replies = self.ask_caps(&questions).await;
            let mut is_answered = true;
            for (question, reply) in questions.iter().zip(replies) {
                match reply {
                    Some(reply) => self.caps.learn(sent, question, reply),
                    None => {
                        is_answered = false;
                        self.caps.failed(question);
                    }
                }
            }
            if !is_answered {
                return false;
            }
        }
    }

    /// Asks the store, or each node of a cluster. One reply for each question;
    /// `None` if there is none in time.
    async fn ask_caps(self: &Arc<Self>, questions: &[CapQuestion]) -> Vec<Option<CapReply>> {
        let deadline = Instant::now() + self.settings.timeout;
        let client = self.client();
        let connecting = timeout_at(deadline, self.connection(client));
        let connection = match self.whole.circuit.is_open() {
            true => None,
            false => connecting.await.ok().flatten(),
        };
        let Some(connection) = connection else {
            return vec![None; questions.len()];
        };
        if self.settings.is_cluster {
            let each = questions.iter().map(|question| {
                let node = self.node_of(&question.store_key());
                self.ask_for_caps(
                    connection.clone(),
                    std::slice::from_ref(question),
                    node,
                    deadline,
                )
            });
            let replies = join_all(each).await.into_iter();
            return replies.map(|reply| reply?.into_iter().next()).collect();
        }
        let whole = Arc::clone(&self.whole);
        match self
            .ask_for_caps(connection, questions, whole, deadline)
            .await
        {
            Some(replies) => replies.into_iter().map(Some).collect(),
            None => vec![None; questions.len()],
        }
    }

    /// Makes one call. A failure counts for the circuit of `node`.
    async fn ask_for_caps(
        self: &Arc<Self>,
        mut connection: StoreConnection,
        questions: &[CapQuestion],
        node: Arc<StoreNode>,
        deadline: Instant,
    ) -> Option<Vec<CapReply>> {
        if node.circuit.is_open() {
            return None;
        }
        let begun = Instant::now();
        let asking = connection.ask_caps(&self.cap_script, &self.caps.gateway, questions);
        match timeout_at(deadline, asking).await {
            Ok(Ok(replies)) => {
                node.circuit.succeeded();
                self.whole.circuit.succeeded();
                self.metrics.responded(begun.elapsed());
                return Some(replies);
            }
            Ok(Err(error)) => self.cap_call_failed(&node, &error),
            Err(_) => {
                self.metrics.failed("timeout");
                self.timed_out(&node);
            }
        }
        if self.settings.is_cluster {
            self.look_at_nodes(connection);
        }
        None
    }

    /// Counts an error. A connection that is broken is made anew.
    fn cap_call_failed(self: &Arc<Self>, node: &Arc<StoreNode>, error: &RedisError) {
        if is_broken(error) {
            self.lost(self.client());
        }
        self.metrics.failed("error");
        self.failed(node, error);
    }
}

/// Keeps the caps of a store until it ends.
async fn keep(store: Weak<Store>) {
    // The first round asks about all: an earlier keeper may have ended between
    // a question and its reply.
    let mut due = Instant::now();
    loop {
        let Some(table) = store.upgrade().map(|store| Arc::clone(&store.caps)) else {
            return;
        };
        let is_due = match table.is_empty() {
            true => {
                table.changed.notified().await;
                false
            }
            false => tokio::select! {
                () = table.changed.notified() => false,
                () = sleep_until(due) => true,
            },
        };
        let Some(store) = store.upgrade() else { return };
        if is_due || Instant::now() >= due {
            table.renew(Clock.now().as_nanos());
            due = Instant::now() + RENEWAL;
        }
        if !store.settle_caps().await {
            due = due.min(Instant::now() + RETRY);
        }
    }
}
