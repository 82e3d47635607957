//! THE ORDER: the layers of a route, outermost first, each line with the reason
//! for its height.

use std::num::NonZeroU32;

use tower::{ServiceBuilder, util::Either};

use crate::{
    layer::{
        AttemptTimeout, AttemptTimeoutLayer, Buffer, BufferLayer, Concurrency, ConcurrencyLayer,
        Forward, ForwardLayer, Mirror, MirrorLayer, RateLimit, RateLimitLayer, Respond, Retry,
        RetryLayer, Split, TotalTimeout, TotalTimeoutLayer,
    },
    upstream::SendTo,
};

/// What a route does with a request, from its limits inwards.
pub(crate) type Stack =
    RateLimit<TotalTimeout<Buffer<Concurrency<Either<Split<ToUpstream>, Respond>>>>>;

/// The part that only requests to an upstream pass.
pub(crate) type ToUpstream = Concurrency<Mirror<Retry<AttemptTimeout<Forward<SendTo>>>, ToMirror>>;

/// The part that copies of requests pass.
pub(crate) type ToMirror = Concurrency<AttemptTimeout<Forward<SendTo>>>;

/// The layers of one route.
#[derive(Debug)]
pub(crate) struct Layers {
    pub(crate) rate_limit: RateLimitLayer,
    pub(crate) total_timeout: TotalTimeoutLayer,
    pub(crate) buffer: BufferLayer,
    pub(crate) concurrency: ConcurrencyLayer,
    pub(crate) target: Target,
}

/// What is innermost.
#[derive(Debug)]
pub(crate) enum Target {
    Upstreams {
        first: (NonZeroU32, Way),
        others: Vec<(NonZeroU32, Way)>,
    },
    Respond(Respond),
}

/// The layers on the way to one upstream.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) concurrency: ConcurrencyLayer,
    pub(crate) mirror: MirrorLayer<ToMirror>,
    pub(crate) retry: RetryLayer,
    pub(crate) attempt_timeout: AttemptTimeoutLayer,
    pub(crate) forward: ForwardLayer,
    pub(crate) send_to: SendTo,
}

impl Way {
    fn stack(self) -> ToUpstream {
        ServiceBuilder::new()
            // The upstream's cap, inside of the route's: who waits for the
            // route's place must not keep one of the upstream's, which all
            // routes share. All take the two in this order, so that nobody
            // waits in a circle. Outside of retries, as the route's: one place
            // holds over all attempts, and a retry neither waits a second time
            // nor adds concurrency.
            .layer(self.concurrency)
            // Inside of all that refuses: what is not sent is not copied.
            // Outside of retries: none is copied once more.
            .layer(self.mirror)
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

/// The way of copies: as that of originals, but one attempt only, and by a cap
/// in whose line they do not wait.
pub(crate) fn to_mirror(
    concurrency: ConcurrencyLayer,
    attempt_timeout: AttemptTimeoutLayer,
    forward: ForwardLayer,
    send_to: SendTo,
) -> ToMirror {
    ServiceBuilder::new()
        .layer(concurrency)
        .layer(attempt_timeout)
        .layer(forward)
        .service(send_to)
}

impl Layers {
    pub(crate) fn stack(self) -> Stack {
        let target = match self.target {
            Target::Respond(respond) => Either::Right(respond),
            Target::Upstreams { first, others } => {
                let stacked = |(weight, way): (NonZeroU32, Way)| (weight, way.stack());
                // Outside of retries: a retry stays within its upstream.
                Either::Left(Split::new(stacked(first), others.into_iter().map(stacked)))
            }
        };
        ServiceBuilder::new()
            // First: the cheapest refusal, and whoever is over the limit must
            // not take a place in the line.
            .layer(self.rate_limit)
            // Before anything can wait: the line, attempts and back-off share
            // one deadline.
            .layer(self.total_timeout)
            // Outside of both caps: a client that sends slowly holds no permit
            // and no worker of a service, and the permits of one that reads
            // slowly are free with the last byte that the server sends. Inside
            // of the limits, which refuse without a look at the body, and of
            // the timeouts, which set the pace at which it has to arrive.
            .layer(self.buffer)
            // The route's cap. Outside of retries: a place is held over all
            // attempts, so that retries add no concurrency.
            .layer(self.concurrency)
            .service(target)
    }
}
