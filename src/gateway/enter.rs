//! The way in: what a request says of itself is checked here, once, and its route is found.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Method, Version};
use tokio::time::Instant;

use super::{
    bounded, host, last_hop,
    snapshot::{Lane, Parameters, Route, Taken},
};
use crate::{
    body::Body,
    call::{Client, Exchange, Grpc, Head, Incoming, Known, RequestId, Target, UNREADABLE},
    error::Error,
    http1,
    message::{Origin, Request},
};

/// Begins an exchange, and finds the route to take it with what of its body may go on.
pub(super) fn enter(
    lane: &Lane,
    request: Request,
) -> (Arc<Exchange>, Result<(&Route, Body), Error>) {
    let Request {
        method,
        target,
        version,
        mut headers,
        body,
        names_hops,
        names,
        started,
        origin,
        interim,
        upgrade,
    } = request;
    let (mut target, host, checked) = match check(&method, target, &headers, version, names.via) {
        Ok((target, host)) => {
            let may_serve = origin.tls.as_ref().is_none_or(|tls| tls.may_serve(&host));
            (
                target,
                host,
                if may_serve {
                    Ok(())
                } else {
                    Err(Error::Misdirected)
                },
            )
        }
        Err(error) => (Target::unreadable(), Box::default(), Err(error)),
    };
    let found = checked.and_then(|()| lane.find(&host, &target, &method, &headers));
    let (route, parameters, spelled) = match found {
        Ok(Taken {
            route,
            parameters,
            spelled,
        }) => (Ok(route), parameters, spelled),
        Err(error) => (Err(error), Parameters::new(), None),
    };
    if let Some(spelled) = spelled {
        target.spell(spelled);
    }
    let takes_calls = || {
        route
            .as_ref()
            .map_or(lane.takes_calls, |route| route.takes_calls())
    };
    let client = lane.trust.client(origin.peer.ip(), &headers);
    let dropped = if names.claims && client.chain.is_none() {
        lane.trust.note_unknown(client.ip, &headers);
        drop_claims(
            &mut headers,
            route.as_ref().map_or(&[], |route| &route.kept),
        )
    } else {
        0
    };
    let exchange = Exchange::begin(Known {
        client,
        id: if names.request_id {
            RequestId::of(&headers)
        } else {
            RequestId::made()
        },
        request: Head {
            grpc: Grpc::of(version, &headers).filter(|_| takes_calls()),
            method,
            target,
            version,
            headers,
            host,
            names_hops,
            has_underscores: names.underscores,
            has_via: names.via,
            interim,
            upgrade,
        },
        origin,
        started,
        route: Arc::clone(route.as_ref().map_or(&lane.unmatched, |route| &route.tag)),
        parameters,
    });
    if names.dropped + dropped > 0 {
        let dropped = [("underscore", names.dropped), ("untrusted", dropped)];
        exchange
            .route
            .metrics
            .record(|cells| dropped.map(|(why, fields)| cells.dropped(why, fields as u64)));
    }
    let entered = route.and_then(|route| go_on(route, body, &exchange));
    (exchange, entered)
}

/// Begins an exchange for something that came instead of a request.
pub(super) fn unreadable(
    lane: &Lane,
    started: Instant,
    version: Version,
    origin: Arc<Origin>,
) -> Arc<Exchange> {
    let headers = HeaderMap::new();
    Exchange::begin(Known {
        client: Client {
            ip: origin.peer.ip().to_canonical(),
            chain: None,
        },
        id: RequestId::made(),
        request: Head {
            method: Method::from_bytes(UNREADABLE.as_bytes()).unwrap_or_default(),
            target: Target::unreadable(),
            version,
            headers,
            host: Box::default(),
            names_hops: false,
            has_underscores: false,
            has_via: false,
            interim: None,
            upgrade: None,
            grpc: None,
        },
        origin,
        started,
        route: Arc::clone(&lane.unmatched),
        parameters: Parameters::new(),
    })
}

fn check(
    method: &Method,
    target: bytes::Bytes,
    headers: &HeaderMap,
    version: Version,
    has_via: bool,
) -> Result<(Target, Box<str>), Error> {
    let mut target = Target::parse(target)?;
    if *method == Method::OPTIONS {
        target = target.of_options();
    }
    check_form(method, &target)?;
    if has_via {
        last_hop::check_rounds(headers)?;
    }
    let host = host::of(&target, headers, version)?;
    Ok((target, host))
}

/// Some targets belong to some methods (RFC 9112, 3.2). An upstream that agreed to CONNECT would make a tunnel of its
/// pooled connection.
fn check_form(method: &Method, target: &Target) -> Result<(), Error> {
    match (method, target.path()) {
        (&Method::CONNECT, _) => Err(Error::Malformed(
            "CONNECT is for forward proxies, which this is not",
        )),
        (&Method::OPTIONS, _) => Ok(()),
        (_, b"*") => Err(Error::Malformed("the target * is for OPTIONS only")),
        _ => Ok(()),
    }
}

/// Takes out what only a trusted proxy may claim, but for what the route keeps; nothing further in sees it, neither keys nor
/// services. Returns how many fields that were.
fn drop_claims(headers: &mut HeaderMap, kept: &[HeaderName]) -> usize {
    let is_kept = |name: &HeaderName| {
        kept.iter()
            .any(|kept| http1::is_same(name.as_str().as_bytes(), kept.as_str().as_bytes()))
    };
    let claims = headers
        .keys()
        .filter(|name| http1::is_claim(name.as_str().as_bytes()) && !is_kept(name));
    let claims: Vec<_> = claims.cloned().collect();
    for name in &claims {
        headers.remove(name);
    }
    claims.len()
}

fn go_on<'a>(
    route: &'a Route,
    mut body: Body,
    exchange: &Arc<Exchange>,
) -> Result<(&'a Route, Body), Error> {
    // A stream of messages has no length to be bounded; each message has, which is its receiver's to know. Only a route
    // that sets a bound of its own knows better.
    let limit = if exchange.request.grpc.is_none() {
        route.max_body
    } else {
        route.max_call_body
    };
    bounded::bound(&mut body, limit)?;
    if !body.is_empty() {
        body.watch(Arc::new(Incoming(Arc::clone(exchange))));
    }
    Ok((route, body))
}
