//! The policies of a route, one tower layer each. `gateway::stack` puts them in order.
//!
//! A layer refuses in `call` and never waits in `poll_ready`: a service that is "not ready" would make the connection
//! wait, not the request, and nobody could say why. Held things travel in the response's body and end with it.

mod answer_changes;
mod attempt_timeout;
mod buffer;
mod concurrency;
mod content;
mod forward;
mod key;
mod mirror;
mod rate_limit;
mod respond;
mod retry;
mod split;
mod total_timeout;

pub use answer_changes::AnswerChanges;
pub use attempt_timeout::{AttemptTimeout, AttemptTimeoutLayer};
pub use buffer::{Buffer, BufferLayer, BufferPolicy, Memory};
pub use concurrency::{
    Bound, Bounds, Cap, CapPolicy, CapSettings, Concurrency, ConcurrencyLayer, FairBy, Permit,
    Priority, Queued, Standing, Turn,
};
pub use forward::{Changes, Forward, ForwardLayer, HashKey, Rewrite, after_prefix};
#[cfg(any(test, fuzzing))]
pub use key::hashed;
pub use key::{KeyPart, named as named_value};
pub use mirror::{Copies, CopyPolicy, Mirror, MirrorLayer};
pub use rate_limit::{
    Cost, LimitPolicy, Missing, Overrides, Pattern, RateLimit, RateLimitLayer, SharedBuckets,
    SharedPolicy, Statuses, Tier,
};
pub use respond::{Canned, Respond};
pub use retry::{Budget, Retry, RetryLayer};
pub use split::Split;
pub use total_timeout::{TotalTimeout, TotalTimeoutLayer};

use crate::call::Exchange;

/// Fills `{host}`, `{path}` (as received, with the query) and the parameters of the match into a template. Names that
/// the match does not have were refused with the configuration.
fn fill(template: &str, exchange: &Exchange) -> String {
    let mut out = String::with_capacity(template.len() + 64);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let (name, tail) = after.split_once('}').unwrap_or((after, ""));
        fill_one(&mut out, name, exchange);
        rest = tail;
    }
    out.push_str(rest);
    out
}

fn fill_one(out: &mut String, name: &str, exchange: &Exchange) {
    let target = &exchange.request.target;
    if let Some((_, value)) = exchange
        .parameters
        .iter()
        .find(|(known, _)| **known == *name)
    {
        out.push_str(value);
    } else if name == "host" {
        out.push_str(&exchange.request.host);
    } else if name == "path" {
        let (path, query) = target.to_forward();
        // `OPTIONS *` asks for no path: elsewhere, it would be a part of the host's name.
        let path = if path == b"*" { b"/" } else { path };
        out.push_str(&String::from_utf8_lossy(path));
        out.push_str(&String::from_utf8_lossy(query));
    }
}
