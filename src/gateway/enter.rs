//! The entry of a request: everything that it says of itself is checked here,
//! once, and its route is found.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Method, Version};
use tokio::time::Instant;

use super::{
    bounded, host, last_hop,
    snapshot::{Parameters, Route, Routes, Taken},
};
use crate::{
    body::Body,
    call::{
        Client, Exchange, Grpc, Head, Known, RequestBodyObserver, RequestId, Target, UNREADABLE,
    },
    error::Error,
    http1,
    message::{Origin, Request},
};

/// A request that has entered.
#[derive(Debug)]
pub(super) struct Entered<'r> {
    pub(super) exchange: Arc<Exchange>,
    /// Whether its route's stack takes it.
    pub(super) admitted: Result<Admitted<'r>, Error>,
}

/// The input to a route's stack, apart from the exchange.
#[derive(Debug)]
pub(super) struct Admitted<'r> {
    pub(super) route: &'r Route,
    pub(super) body: Body,
}

/// Begins the exchange of a request, and finds its route.
pub(super) fn enter(routes: &Routes, mut request: Request) -> Entered<'_> {
    let Address {
        mut target,
        host,
        is_sound,
    } = Address::of(&mut request);
    let (method, headers) = (&request.method, &request.headers);
    let found = is_sound.and_then(|()| routes.find(&host, &target, method, headers));
    let (route, parameters) = match found {
        Ok(Taken {
            route,
            parameters,
            spelled,
        }) => {
            if let Some(spelled) = spelled {
                target.spell(spelled);
            }
            (Ok(route), parameters)
        }
        Err(error) => (Err(error), Parameters::new()),
    };
    let known = route.as_ref().ok().copied();
    let takes_calls = known.map_or(routes.takes_calls, Route::takes_calls);
    let (client, untrusted) = identify(routes, known, &mut request);
    let Request { names, headers, .. } = request;
    let exchange = Exchange::begin(Known {
        client,
        id: if names.request_id {
            RequestId::of(&headers)
        } else {
            RequestId::made()
        },
        request: Head {
            grpc: Grpc::of(request.version, &headers).filter(|_| takes_calls),
            method: request.method,
            target,
            version: request.version,
            headers,
            host,
            names_hops: request.names_hops,
            has_underscores: names.underscores,
            has_via: names.via,
            interim: request.interim,
            upgrade: request.upgrade,
        },
        origin: request.origin,
        started: request.started,
        route: Arc::clone(known.map_or(&routes.unmatched, |route| &route.tag)),
        parameters,
    });
    if names.dropped + untrusted > 0 {
        let dropped = [("underscore", names.dropped), ("untrusted", untrusted)];
        exchange
            .route
            .metrics
            .record(|cells| dropped.map(|(why, fields)| cells.dropped(why, fields as u64)));
    }
    let admitted = route.and_then(|route| admit(route, request.body, &exchange));
    Entered { exchange, admitted }
}

/// Begins the exchange of bytes that are not a request.
pub(super) fn unreadable(
    routes: &Routes,
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
        route: Arc::clone(&routes.unmatched),
        parameters: Parameters::new(),
    })
}

/// The address of a request: target and host, as far as they can be read.
struct Address {
    target: Target,
    host: Box<str>,
    /// Whether the request may go to such an address at all.
    is_sound: Result<(), Error>,
}

impl Address {
    fn of(request: &mut Request) -> Self {
        match read_address(request) {
            Ok((target, host)) => {
                let tls = request.origin.tls.as_ref();
                let may_serve = tls.is_none_or(|tls| tls.may_serve(&host));
                Self {
                    target,
                    host,
                    is_sound: may_serve.then_some(()).ok_or(Error::Misdirected),
                }
            }
            Err(error) => Self {
                target: Target::unreadable(),
                host: Box::default(),
                is_sound: Err(error),
            },
        }
    }
}

fn read_address(request: &mut Request) -> Result<(Target, Box<str>), Error> {
    let mut target = Target::parse(std::mem::take(&mut request.target))?;
    if request.method == Method::OPTIONS {
        target = target.of_options();
    }
    check_form(&request.method, &target)?;
    if request.names.via {
        last_hop::check_rounds(&request.headers)?;
    }
    let host = host::of(&target, &request.headers, request.version)?;
    Ok((target, host))
}

/// Identifies the client, and drops the claims that only a trusted proxy may
/// make. Returns how many fields were dropped.
fn identify(routes: &Routes, route: Option<&Route>, request: &mut Request) -> (Client, usize) {
    let Request {
        headers, origin, ..
    } = request;
    let client = routes.trust.client(origin.peer.ip(), headers);
    if !request.names.claims || client.chain.is_some() {
        return (client, 0);
    }
    routes.trust.note_unknown(client.ip, headers);
    let kept = route.map_or(&[][..], |route| &route.kept);
    let dropped = drop_claims(headers, kept);
    (client, dropped)
}

/// Checks that the method may have this form of target (RFC 9112, 3.2). CONNECT
/// is refused, because an upstream that agreed to it would turn its pooled
/// connection into a tunnel.
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

/// Removes the fields that only a trusted proxy may send, except for those that
/// the route keeps. Neither keys nor services see them. Returns how many fields
/// were removed.
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

/// Bounds the body, and has the exchange observe it.
fn admit<'r>(
    route: &'r Route,
    mut body: Body,
    exchange: &Arc<Exchange>,
) -> Result<Admitted<'r>, Error> {
    // A gRPC call is a stream of messages, whose total length says nothing; its
    // receiver bounds each message. Only a route with a bound for calls knows
    // better.
    let limit = if exchange.request.grpc.is_none() {
        route.max_body
    } else {
        route.max_call_body
    };
    bounded::bound(&mut body, limit)?;
    if !body.is_empty() {
        body.observe(Arc::new(RequestBodyObserver(Arc::clone(exchange))));
    }
    Ok(Admitted { route, body })
}
