//! Limits on requests in flight, and the order of their queue.
//!
//! `layer::concurrency` enforces them, for a route and for an upstream over all
//! of its routes.

use std::{num::NonZeroUsize, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::KeyPart;

/// `[routes.concurrency]` or `[upstreams.NAME.concurrency]`: a bound on
/// requests in flight, and a queue in front of it.
///
/// Messages, metrics and documents for users call it a cap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concurrency {
    /// Requests in flight, each counted to the end of its response body.
    pub bound: Bound,
    /// Requests that may wait in the queue; 0 for no queue. A request beyond it
    /// is refused with 503.
    pub queue: usize,
    /// The longest wait in the queue; the request is refused with 503 then.
    /// Above zero.
    pub queue_timeout: Duration,
    /// The key between whose values the queue takes turns; without any part,
    /// the request that came first leaves first.
    pub fair_by: Vec<KeyPart>,
}

/// How many requests a concurrency limit admits at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// This number.
    Fixed(NonZeroUsize),
    /// A number that follows the measured latency, within bounds.
    Adaptive(AdaptiveBounds),
}

/// The bounds between which an adaptive concurrency limit moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdaptiveBounds {
    /// The lowest limit, with which it begins: this many requests at once are
    /// always safe.
    pub min: NonZeroUsize,
    /// The highest limit, at least `min`.
    pub max: NonZeroUsize,
}

/// The priority of a route's requests in the queue of an upstream's concurrency
/// limit. It is strict: a request of a lower priority gets a permit only while
/// none of a higher one waits.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before all others.
    High,
    /// Before [`Low`](Self::Low).
    #[default]
    Normal,
    /// After all others.
    Low,
}
