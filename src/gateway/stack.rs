//! THE ORDER: the layers of a route, outermost first, each line with the reason for its height.

use tower::{ServiceBuilder, util::Either};

use crate::{
    layer::{
        AttemptTimeout, AttemptTimeoutLayer, Concurrency, ConcurrencyLayer, Forward, ForwardLayer, RateLimit,
        RateLimitLayer, Respond, Retry, RetryLayer, Timeouts, TimeoutsLayer,
    },
    upstream::SendTo,
};

/// What a route does with a request, from its limits inwards.
pub(super) type Stack = RateLimit<Timeouts<Concurrency<Either<ToUpstream, Respond>>>>;

/// The part that only requests to an upstream pass.
pub(super) type ToUpstream = Concurrency<Retry<AttemptTimeout<Forward<SendTo>>>>;

/// The layers of one route.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) rate_limit: RateLimitLayer,
    pub(super) timeouts: TimeoutsLayer,
    pub(super) concurrency: ConcurrencyLayer,
    pub(super) target: Target,
}

/// What is innermost.
#[derive(Debug)]
pub(super) enum Target {
    Upstream {
        concurrency: ConcurrencyLayer,
        retry: RetryLayer,
        attempt_timeout: AttemptTimeoutLayer,
        forward: ForwardLayer,
        send_to: SendTo,
    },
    Respond(Respond),
}

impl Layers {
    pub(super) fn stack(self) -> Stack {
        let target = match self.target {
            Target::Respond(respond) => Either::Right(respond),
            Target::Upstream { concurrency, retry, attempt_timeout, forward, send_to } => Either::Left(
                ServiceBuilder::new()
                    // The upstream's cap, inside of the route's: who waits for the route's place must not keep one
                    // of the upstream's, which all routes share. All take the two in this order, so that nobody
                    // waits in a circle. Outside of retries, as the route's: one place holds over all attempts, and
                    // a retry neither waits a second time nor adds concurrency.
                    .layer(concurrency)
                    // Outside of the attempt's timeout: an attempt that ran out of time can be tried again.
                    .layer(retry)
                    // Outside of the pool: waiting for a connection and making one are part of an attempt.
                    .layer(attempt_timeout)
                    // Written for each attempt, as the `Host` may be the chosen server's.
                    .layer(forward)
                    .service(send_to),
            ),
        };
        ServiceBuilder::new()
            // First: the cheapest refusal, and whoever is over the limit must not take a place in the line.
            .layer(self.rate_limit)
            // Before anything can wait: the line, attempts and back-off share one deadline.
            .layer(self.timeouts)
            // The route's cap. Outside of retries: a place is held over all attempts, so that retries add no
            // concurrency.
            .layer(self.concurrency)
            .service(target)
    }
}
