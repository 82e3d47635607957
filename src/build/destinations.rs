//! The destinations of a route's requests: one upstream or several by weight,
//! and perhaps another one for copies.
//!
//! The configuration has checked that each name leads to an upstream, so that
//! nothing here fails: a name that led nowhere would be left out.
//!
//! # State
//!
//! Layers are made anew by each reload and for each worker. The parts that
//! count or remember are handles of the `State`, so that all generations and
//! all routes share them: the upstream with its connections, its concurrency
//! limit, the retry budget and the copies in flight. Timeouts and changes to
//! requests are plain copies of the policy.

use std::{num::NonZeroU32, sync::Arc};

use super::{
    identities, limits,
    state::{Process, State},
};
use crate::{
    call::RouteTag,
    gateway::{SentOnce, UpstreamLayers, sent_once},
    layer::{
        AskService, AttemptTimeoutLayer, CopyPolicy, ForwardLayer, ForwardPolicy, HashKey,
        HiddenCredentials, Locations, MirrorLayer, RetryLayer,
    },
    limit::KeyHasher,
    policy::{self, Action, HeaderChanges},
    upstream::{CurrentUpstream, SendTo},
};

/// The layers on the way to each upstream of a route, with its weight; none if
/// the route responds by itself.
///
/// A route with one upstream has one way of weight 1, so that every request
/// takes it. The ways of a split are in the order of the configuration. Each
/// has its own retries, as a retry stays with the upstream that was chosen, and
/// all of them share one budget, since it is kept by the name of the route.
pub(super) fn ways(
    route: &policy::Route,
    state: &State,
    process: &Process,
) -> Vec<(NonZeroU32, UpstreamLayers)> {
    let mirror = copies(route, state, process);
    let mut ways = Vec::new();
    match &route.action {
        Action::Forward(name) => {
            let way = way(route, name, mirror.as_ref(), state, process);
            ways.extend(way.map(|way| (NonZeroU32::MIN, way)));
        }
        Action::Split(shares) => {
            for share in shares {
                let way = way(route, &share.name, mirror.as_ref(), state, process);
                ways.extend(way.map(|way| (share.weight, way)));
            }
        }
        Action::Respond { .. } | Action::Redirect { .. } | Action::Report => {}
    }
    ways
}

/// The layers on the way to the upstream of this name.
///
/// `None` if the state has no upstream of this name or no budget for the route,
/// which a configuration that has passed its checks excludes. A clone of the
/// mirror refers to the same policy, so that all ways of a split copy alike.
fn way(
    route: &policy::Route,
    name: &Arc<str>,
    mirror: Option<&MirrorLayer<SentOnce>>,
    state: &State,
    process: &Process,
) -> Option<UpstreamLayers> {
    let upstream = state.upstreams.get(name)?;
    let budget = state.budgets.get(&route.name)?;
    Some(UpstreamLayers {
        concurrency: state
            .concurrency
            .of_upstream(described(name, state)?, route, &process.hasher),
        mirror: mirror.cloned(),
        retry: RetryLayer::new(&route.retry, budget),
        attempt_timeout: AttemptTimeoutLayer {
            attempt: route.timeouts.attempt,
        },
        forward: forward(route, name, state),
        send_to: SendTo(Arc::clone(upstream)),
    })
}

/// An upstream as the configuration has it, which keeps them in the order of
/// their names.
///
/// A binary search, as it runs several times for each route and worker.
fn described<'s>(name: &str, state: &'s State) -> Option<&'s policy::Upstream> {
    let upstreams = &state.config.upstreams;
    let place = upstreams
        .binary_search_by(|upstream| (*upstream.name).cmp(name))
        .ok()?;
    upstreams.get(place).map(Arc::as_ref)
}

/// The layer that writes the requests of a route for an upstream.
///
/// A request for a mirror is written by the same rules as the original: the
/// same changes to the request and to the response. Only the hash key is that
/// of the upstream itself.
fn forward(route: &policy::Route, upstream: &Arc<str>, state: &State) -> ForwardLayer {
    let response = match limits::changes_late(route, &state.config) {
        true => HeaderChanges::default(),
        false => route.response.headers.clone(),
    };
    ForwardLayer {
        policy: Arc::new(ForwardPolicy {
            request: route.request.clone(),
            response,
            locations: locations(route, upstream, state),
            key: hash_key(upstream, state),
            hidden: identities::hidden(route, state),
        }),
    }
}

/// How locations and cookies of an upstream are mapped back, if the route wants
/// them so.
fn locations(route: &policy::Route, upstream: &str, state: &State) -> Option<Locations> {
    let upstream = described(upstream, state).filter(|_| route.response.locations)?;
    Some(Locations::new(&route.request.rewrite, &upstream.servers))
}

/// Sends questions about clients to the service of an identity, in the way of
/// copies: once, and without waiting for a permit.
///
/// `None` if the state lacks the service.
pub(super) fn ask_service(forward: &policy::ForwardAuth, state: &State) -> Option<AskService> {
    let name = &forward.upstream.name;
    let question = ForwardPolicy {
        // The service gets its own name as `Host`, and that of the request in
        // `X-Forwarded-Host`.
        request: policy::RequestChanges::default(),
        response: policy::HeaderChanges::default(),
        locations: None,
        key: None,
        hidden: HiddenCredentials::default(),
    };
    Some(AskService::new(sent_once(
        state.concurrency.of_copies(name),
        AttemptTimeoutLayer {
            attempt: forward.timeout,
        },
        ForwardLayer {
            policy: Arc::new(question),
        },
        SendTo(Arc::clone(state.upstreams.get(name)?)),
    )))
}

/// The key by which the servers of an upstream are chosen, if they are. It is
/// hashed without a secret, so that gateways side by side choose alike.
///
/// `None` if the upstream is balanced in another way. The empty name in front
/// of the parts is the same for all upstreams: a key chooses by its parts
/// alone.
fn hash_key(upstream: &Arc<str>, state: &State) -> Option<HashKey> {
    let policy::Balance::Hash(parts) = &described(upstream, state)?.balance else {
        return None;
    };
    let begun = KeyHasher::with_seed([0, 0]).key("");
    Some(HashKey {
        begun,
        parts: parts.clone(),
    })
}

/// The copies of a route's requests; `None` for a route without a mirror.
///
/// A copy has the route's name, and its outcome is counted among the route's
/// copies. It is charged to no limit and writes no access line, and its tag has
/// metrics that no scrape shows. The percentage is of the requests that reach
/// this layer, the buffer is in bytes, and the timeout is that of one attempt,
/// since a copy is sent once.
fn copies(
    route: &policy::Route,
    state: &State,
    process: &Process,
) -> Option<MirrorLayer<SentOnce>> {
    let mirror = route.mirror.as_ref()?;
    let upstream: &Arc<CurrentUpstream> = state.upstreams.get(&mirror.upstream)?;
    let metrics = process.metrics.unseen_route();
    let tag = RouteTag::aside(Some(Arc::clone(&route.name)), metrics);
    let policy = CopyPolicy {
        percent: mirror.percent,
        buffer: route.retry.buffer,
        timeout: route.timeouts.attempt,
        tag: Arc::new(tag),
        metrics: process.metrics.route(&route.name),
        copies: Arc::clone(state.copies.get(&route.name)?),
        send: sent_once(
            state.concurrency.of_copies(&mirror.upstream),
            AttemptTimeoutLayer {
                attempt: route.timeouts.attempt,
            },
            forward(route, &mirror.upstream, state),
            SendTo(Arc::clone(upstream)),
        ),
    };
    Some(MirrorLayer {
        policy: Arc::new(policy),
    })
}
