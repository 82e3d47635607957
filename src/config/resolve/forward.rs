//! `[identities.NAME.forward]`: a service that is asked who clients are.
//!
//! It is an upstream of its own, with one server and the usual bounds on its
//! connections, so that a slow service of clients takes nothing from it, nor it
//! from them.

use std::{sync::Arc, time::Duration};

use super::{checks::distinct, upstreams};
use crate::config::{
    field::Given, problem::Problems, wire::identities::ForwardAuth as WrittenForwardAuth,
};
use crate::policy::{
    Balance, Bound, Concurrency, ForwardAuth, Protocol, StatusSet, Upstream, UpstreamTls,
};

/// The service. `name` is that of its upstream in metrics and logs; no upstream
/// of the file may have it, as it has a dot behind a word of the language.
pub(super) fn forward(
    forward: &WrittenForwardAuth,
    name: &str,
    problems: &mut Problems,
) -> Option<ForwardAuth> {
    let (server, target) = forward.url.read()?;
    let timeout = forward.timeout.read()?;
    distinct("send", &forward.send, problems);
    let upstream = Upstream {
        name: name.into(),
        servers: vec![server],
        protocol: Protocol::Http1,
        balance: Balance::LeastRequests,
        hash_bound: None,
        slow_start: Duration::ZERO,
        cool_down: StatusSet::default(),
        health_check: None,
        ejection: upstreams::ejection(&None, problems)?,
        concurrency: Some(Concurrency {
            bound: Bound::Fixed(forward.max_in_flight.read()?),
            queue: 0,
            queue_timeout: timeout,
            fair_by: Vec::new(),
        }),
        proxy_protocol: false,
        pool: upstreams::pool(&None)?,
        tls: UpstreamTls::default(),
    };
    Some(ForwardAuth {
        upstream: Arc::new(upstream),
        target: target.into(),
        timeout,
        id: forward.id.optional()?,
        claims: forward.claims.optional()?.unwrap_or_default(),
        send: forward.send.read()?,
        cache: forward.cache.read()?,
    })
}
