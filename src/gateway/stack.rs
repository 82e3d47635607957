//! THE ORDER: the layers of a route, outermost first, each line with the reason
//! for its height.
//!
//! A layer that a route does without is not in its stack, so that a request
//! neither passes it nor pays for it. The stack is made by a reload, once for
//! each worker, and all requests of the worker call it. A request that waits
//! clones the layers that it calls later: references to what all requests
//! share.

use std::num::NonZeroU32;

use tower::ServiceBuilder;

use crate::{
    layer::{
        AttemptTimeout, AttemptTimeoutLayer, Buffer, BufferLayer, Concurrency, ConcurrencyLayer,
        Forward, ForwardLayer, Identify, IdentifyLayer, LimitReport, Mirror, MirrorLayer, OneOf,
        RateLimit, RateLimitLayer, Respond, Retry, RetryLayer, Split, TotalTimeout,
        TotalTimeoutLayer, optional,
    },
    upstream::SendTo,
};

/// The layers of a route.
pub(crate) type Stack = Identify<RateLimit<TotalTimeout<OneOf<Buffer<Limited>, Limited>>>>;

/// The route's concurrency limit, if it has one.
type Limited = OneOf<Concurrency<Responding>, Responding>;

/// The innermost services of a route: its upstreams, a fixed response, or the
/// state of its limits.
type Responding = OneOf<Split<ToUpstream>, OneOf<Respond, LimitReport>>;

/// The part that only requests to an upstream pass.
pub(crate) type ToUpstream = OneOf<Concurrency<Mirrored>, Mirrored>;

/// The attempts at an upstream, and perhaps copies to another one.
type Mirrored = OneOf<Mirror<AttemptsStack, SentOnce>, AttemptsStack>;

/// The attempts at an upstream.
type AttemptsStack = Retry<AttemptStack>;

/// The part that copies of requests pass.
pub(crate) type SentOnce = OneOf<Concurrency<AttemptStack>, AttemptStack>;

/// One attempt at an upstream.
type AttemptStack = AttemptTimeout<Forward<SendTo>>;

/// The layers of one route.
#[derive(Debug)]
pub(crate) struct Layers {
    /// Without identities it passes every request on.
    pub(crate) identify: IdentifyLayer,
    /// Without limits it passes every request on.
    pub(crate) rate_limit: RateLimitLayer,
    /// Every route has timeouts.
    pub(crate) total_timeout: TotalTimeoutLayer,
    /// `None` if bodies stream.
    pub(crate) buffer: Option<BufferLayer>,
    /// The limit of the route alone; `None` without one.
    pub(crate) concurrency: Option<ConcurrencyLayer>,
    pub(crate) target: RouteTarget,
}

/// The innermost part of a route.
#[derive(Debug)]
pub(crate) enum RouteTarget {
    /// One upstream, or several by weight.
    Upstreams {
        /// The first upstream, or the only one, with its weight.
        first: (NonZeroU32, UpstreamLayers),
        /// The other upstreams of a split.
        others: Vec<(NonZeroU32, UpstreamLayers)>,
    },
    /// The route responds by itself.
    Respond(Respond),
    /// The route tells the state of its limits.
    Report(LimitReport),
}

/// The layers on the way to one upstream.
#[derive(Debug)]
pub(crate) struct UpstreamLayers {
    /// The limit of the upstream, which all routes to it share; `None` without
    /// one.
    pub(crate) concurrency: Option<ConcurrencyLayer>,
    /// The copies to another upstream; `None` if none are made.
    pub(crate) mirror: Option<MirrorLayer<SentOnce>>,
    /// Retries may be switched off in its policy.
    pub(crate) retry: RetryLayer,
    pub(crate) attempt_timeout: AttemptTimeoutLayer,
    pub(crate) forward: ForwardLayer,
    pub(crate) send_to: SendTo,
}

impl UpstreamLayers {
    /// Puts the layers around the upstream.
    fn stack(self) -> ToUpstream {
        ServiceBuilder::new()
            // The concurrency limit of the upstream, inside of the route's: a
            // request that waits for the route's permit must not keep one of
            // the upstream's, which all routes share. All requests take the two
            // in this order, so that none waits in a circle. Outside of
            // retries, as the route's: one permit holds over all attempts, and
            // a retry neither waits a second time nor adds concurrency.
            .layer(optional(self.concurrency))
            // Inside of all layers that refuse: a request that is not sent is
            // not copied. Outside of retries: no request is copied twice.
            .layer(optional(self.mirror))
            // Outside of the attempt's timeout: an attempt that ran out of time
            // can be tried again.
            .layer(self.retry)
            // Outside of the pool: waiting for a connection and making one are
            // part of an attempt.
            .layer(self.attempt_timeout)
            // Written for each attempt, as the `Host` may be the chosen
            // server's.
            .layer(self.forward)
            .service(self.send_to)
    }
}

/// The way of copies: as that of originals, but with one attempt only, and by a
/// concurrency limit in whose queue they do not wait.
pub(crate) fn sent_once(
    concurrency: Option<ConcurrencyLayer>,
    attempt_timeout: AttemptTimeoutLayer,
    forward: ForwardLayer,
    send_to: SendTo,
) -> SentOnce {
    ServiceBuilder::new()
        .layer(optional(concurrency))
        .layer(attempt_timeout)
        .layer(forward)
        .service(send_to)
}

impl Layers {
    /// Puts the layers around the innermost part.
    pub(crate) fn stack(self) -> Stack {
        let target = match self.target {
            RouteTarget::Respond(respond) => OneOf::Second(OneOf::First(respond)),
            RouteTarget::Report(report) => OneOf::Second(OneOf::Second(report)),
            RouteTarget::Upstreams { first, others } => {
                let stacked = |(weight, way): (NonZeroU32, UpstreamLayers)| (weight, way.stack());
                // Outside of retries: a retry stays within its upstream.
                OneOf::First(Split::new(stacked(first), others.into_iter().map(stacked)))
            }
        };
        ServiceBuilder::new()
            // First: limits, queues and services ask who the client is. Wrong
            // credentials have a limit of their own.
            .layer(self.identify)
            // Before all that waits: the cheapest refusal, and a request over
            // its limit must not take a place in a queue.
            .layer(self.rate_limit)
            // Outside of all layers that wait: queues, attempts and back-off
            // share one deadline.
            .layer(self.total_timeout)
            // Outside of both concurrency limits: a client that sends slowly
            // holds no permit and no worker of a service, and the permits of
            // one that reads slowly are free with the last byte that the server
            // sends. Inside of the limits, which refuse without a look at the
            // body, and of the timeouts, which set the pace at which it has to
            // arrive.
            .layer(optional(self.buffer))
            // The route's concurrency limit. Outside of retries: a permit is
            // held over all attempts, so that retries add no concurrency.
            .layer(optional(self.concurrency))
            .service(target)
    }
}
