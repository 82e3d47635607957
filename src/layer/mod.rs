//! The policies of a route, one tower layer each. `gateway::stack` puts them in
//! order.
//!
//! A layer of this module refuses in `call` and is always ready: a service that
//! is not ready would make the connection wait and not the request, without a
//! reason in any access line. Its `poll_ready` asks the inner service and
//! nothing else, so that a foreign layer may take part that does wait. Guards
//! travel in the response body and end with it.
//!
//! A layer is built from the types of [`policy`](crate::policy). It is generic
//! over everything that it does not look into: over the request, the response,
//! or the error of the inner service.
//!
//! # Form
//!
//! A file or folder has the layer, its service and its future, in this order.
//! The service is cloned for each request, so that it holds its policy behind
//! one [`Arc`](std::sync::Arc); a layer that a route does without is not in its
//! stack. The future on the usual path is an enum or struct that is polled by
//! hand, since it needs a name and must not cost an allocation. A path that is
//! rare and has to wait (a queue, a retry, a body that is read first) is an
//! `async` function in a box.
//!
//! # Cancelling
//!
//! A future may be dropped at any time: the client has left, or an outer layer
//! has given up. Each layer documents what it holds, and holds it in a guard
//! that gives it back on drop. Fields are dropped in the order of their
//! declaration, and the inner future is declared first: when a guard is
//! dropped, the inner service has already noted what it leaves behind.

mod buffer;
mod concurrency;
mod content;
mod fill;
#[cfg(test)]
mod foreign;
mod forward;
mod identify;
mod key;
mod mirror;
mod one_of;
mod rate_limit;
mod refused_at_once;
mod respond;
mod response_changes;
mod retry;
mod rewrite;
mod split;
mod timeout;

pub use buffer::{Buffer, BufferLayer, BufferPolicy, Memory};
pub use concurrency::{
    Concurrency, ConcurrencyLayer, ConcurrencyLimit, FairBy, Permit, Queued, Queueing, Turn,
};
pub use forward::{Forward, ForwardLayer, ForwardPolicy, HashKey, HiddenCredentials, Locations};
pub use identify::{AskService, AuthService, FailureLimit, Identify, IdentifyLayer, RouteIdentity};
#[cfg(any(test, fuzzing))]
pub use key::hashed;
pub use key::named as named_value;
pub use mirror::{Copies, CopyPolicy, Mirror, MirrorLayer};
pub use one_of::{OneOf, OneOfFuture, OptionalLayer, optional};
pub use rate_limit::{
    Buckets, Counter, LimitReport, Overrides, RateLimit, RateLimitLayer, RouteLimit,
    RouteLimitState, SharedBuckets, SharedCap,
};
pub use refused_at_once::RefusedAtOnce;
pub use respond::Respond;
pub use retry::{Budget, Retry, RetryLayer};
pub use rewrite::after_prefix;
pub use split::Split;
pub use timeout::{AttemptTimeout, AttemptTimeoutLayer, TotalTimeout, TotalTimeoutLayer};
