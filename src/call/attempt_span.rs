//! The span of one attempt of a request that is recorded, while it runs.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    Call,
    exchange::Exchange,
    trace::{AttemptNote, AttemptOutcome},
};
use crate::{
    error::{Error, Failed},
    message::Response,
    traces::new_span_id,
};

/// Bytes of a target that are noted of an attempt.
const LONGEST_TARGET: usize = 4096;

/// An attempt of a request that is recorded. It ends when it is told its
/// outcome, or when it is dropped, because it took too long or the client left.
#[derive(Debug)]
pub struct AttemptSpan {
    exchange: Arc<Exchange>,
    span_id: u64,
    begun: Instant,
    /// Attempts before it.
    before: u32,
    /// When the attempt or the request is out of time.
    deadline: Option<Instant>,
    target: Box<[u8]>,
}

impl AttemptSpan {
    /// Begins the span of an attempt; `None` if the request is not recorded.
    #[inline]
    pub fn begin(call: &Call) -> Option<Box<Self>> {
        match &call.exchange.trace {
            Some(trace) if trace.recording.is_some() => Some(Self::recorded(call)),
            _ => None,
        }
    }

    #[cold]
    fn recorded(call: &Call) -> Box<Self> {
        let deadline = call.deadline.map(|deadline| deadline.at);
        Box::new(Self {
            span_id: new_span_id(),
            begun: call.now,
            before: call.exchange.facts.lock().attempts,
            deadline: deadline.into_iter().chain(call.attempt_deadline).min(),
            target: Box::default(),
            exchange: Arc::clone(&call.exchange),
        })
    }

    /// The id of the span.
    pub fn id(&self) -> u64 {
        self.span_id
    }

    /// Notes the head of the attempt, as it is sent.
    pub fn sends(&mut self, head: &[u8]) {
        let mut words = head.split(|byte| *byte == b' ');
        let target = words.nth(1).unwrap_or_default();
        self.target = target[..target.len().min(LONGEST_TARGET)].into();
    }

    /// Ends the span with the outcome of the attempt.
    #[cold]
    pub fn end(mut self, result: &Result<Response, Failed>) {
        self.note(match result {
            Ok(response) => AttemptOutcome::Responded(response.status),
            Err(failed) => AttemptOutcome::Failed(failed.error.reason()),
        });
    }

    /// Notes the attempt, unless no server was found for it, or it was noted.
    fn note(&mut self, outcome: AttemptOutcome) {
        let facts = self.exchange.facts.lock();
        let server = facts
            .server
            .clone()
            .filter(|_| facts.attempts > self.before);
        self.before = facts.attempts;
        drop(facts);
        let recording = self.exchange.trace.as_ref();
        let recording = recording.and_then(|trace| trace.recording.as_ref());
        if let (Some(recording), Some(server)) = (recording, server) {
            recording.attempts.lock().push(AttemptNote {
                span_id: self.span_id,
                begun: self.begun,
                ended: Instant::now(),
                server,
                target: std::mem::take(&mut self.target),
                outcome,
            });
        }
    }
}

impl Drop for AttemptSpan {
    fn drop(&mut self) {
        let is_late = self
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline);
        let reason = match is_late {
            true => "timeout",
            false => Error::ClientGone.reason(),
        };
        self.note(AttemptOutcome::Failed(reason));
    }
}
