//! The entry of a request: everything that it says of itself is checked here,
//! once, and its route is found.
//!
//! A request gets an exchange whatever is wrong with it, so that it has an
//! access line: with the address, the client and the route as far as they are
//! known. The checks come in the order in which errors are most useful: the
//! address, the host's certificate, the route, the body's length.
//!
//! # Bounds and cost
//!
//! Nothing here waits. The head has been bounded by the listener, and each
//! check reads a part of it once. One allocation holds the exchange; the route
//! is a reference into the snapshot of the worker.
//!
//! # Errors
//!
//! An error of the address is found before a route is looked for, so that its
//! access line has no route. An error of the body comes last, and its access
//! line has one. The exchange exists in both cases.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use http::{HeaderName, Method, Version};
use tokio::time::Instant;

use super::{
    bounded, cors, https, last_hop,
    snapshot::{Parameters, Route, Routes},
    table::{Found, Lookup},
};
use crate::{
    body::Body,
    call::{
        Client, Exchange, Facts, Flag, Grpc, Progress, RequestBodyObserver, RequestId, Target,
        Trace, UNREADABLE, host_of,
    },
    error::Error,
    http1,
    message::{FieldName, Headers, NameSet, Origin, Request, RequestHead},
};

/// A request that has entered. It has an exchange in any case.
#[derive(Debug)]
pub(super) struct Entered {
    /// The exchange of the request, which has begun.
    pub(super) exchange: Arc<Exchange>,
    /// The index of the route whose stack takes it, or the reason why none does.
    pub(super) route: Result<usize, Error>,
    /// Its body. Bounded and observed if a route takes the request.
    pub(super) body: Body,
    /// Whether it is a preflight that the gateway answers for the route.
    pub(super) is_preflight: bool,
}

/// Begins the exchange of a request, and finds its route in `routes`, those of
/// the worker that serves it.
///
/// The order matters in one place: claims of an untrusted peer are dropped
/// after the route is found, since a route may keep some, and before the
/// exchange begins, so that neither keys nor services ever see them. Conditions
/// of routes on such fields see them as they were sent.
// Inlined, as its argument is large and would be moved once more.
#[inline(always)]
pub(super) fn enter(routes: &Routes, mut request: Request) -> Entered {
    let Address {
        mut target,
        host,
        unsound,
    } = Address::of(&mut request);
    let client = client(routes, &request);
    let asked = match unsound {
        None => routes.find_asked(&mut target, &host, &request, client.ip),
        Some(_) => None,
    };
    let is_preflight = asked.is_some();
    let found = match (asked, unsound) {
        (Some(found), _) => Ok(found),
        (None, None) => {
            let method = &request.head.method;
            routes.find(&mut target, &host, &request, (method, client.ip))
        }
        (None, Some(error)) => Err(error),
    };
    let (route, parameters) = match found {
        Ok(found) => (Ok(found.index), found.parameters),
        Err(error) => (Err(error), Parameters::new()),
    };
    let known = route.as_ref().ok().map(|&index| &routes.routes[index]);
    let untrusted = drop_unproven(routes, known, &client, &mut request);
    let tag = known.map_or(&routes.unmatched, |route| &route.tag);
    let headers = &request.head.headers;
    if headers.dropped + untrusted > 0 {
        tag.metrics.dropped(headers.dropped, untrusted);
    }
    let exchange = Arc::new(Exchange {
        trace: trace(routes, headers, client.chain.is_some()),
        client,
        identified: OnceLock::new(),
        id: RequestId::of(&request.head.headers),
        grpc: call(routes, known, &request.head),
        request: request.head,
        target,
        host,
        interim: request.interim,
        origin: request.origin,
        started: request.started,
        facts: Facts::begin(&tag.metrics),
        route: Arc::clone(tag),
        parameters,
        is_sent: Flag::default(),
        progress: Progress::default(),
    });
    let admitted = known.map_or(Ok(()), |known| admit(known, &mut request.body, &exchange));
    let route = route.and_then(|route| admitted.map(|()| route));
    Entered {
        exchange,
        route,
        body: request.body,
        is_preflight,
    }
}

/// Begins the exchange of bytes that are not a request.
///
/// The method and the target are stand-ins, and the client is the peer, as
/// there is no field that could name another one. `version` is the protocol of
/// the connection.
pub(super) fn unreadable(
    routes: &Routes,
    started: Instant,
    version: Version,
    origin: Arc<Origin>,
) -> Arc<Exchange> {
    Arc::new(Exchange {
        trace: trace(routes, &Headers::default(), false),
        client: Client {
            ip: origin.peer.ip().to_canonical(),
            chain: None,
        },
        identified: OnceLock::new(),
        id: RequestId::made(),
        request: Box::new(RequestHead {
            method: Method::from_bytes(UNREADABLE.as_bytes()).unwrap_or_default(),
            version,
            headers: Headers::default(),
            names_hops: false,
            upgrade: None,
        }),
        target: Target::unreadable(),
        host: Arc::default(),
        grpc: None,
        interim: None,
        origin,
        started,
        facts: Facts::begin(&routes.unmatched.metrics),
        route: Arc::clone(&routes.unmatched),
        parameters: Parameters::new(),
        is_sent: Flag::default(),
        progress: Progress::default(),
    })
}

/// The address of a request, as far as it can be read.
struct Address {
    /// The target, which stands for one that could not be read after an error.
    target: Target,
    /// In the form of [`host_of`]; empty if there is none or it cannot be read.
    host: Arc<str>,
    /// Why the request may not go to such an address.
    unsound: Option<Error>,
}

impl Address {
    /// Reads the address, and takes the target out of the request.
    fn of(request: &mut Request) -> Self {
        match Self::read(request) {
            Ok(address) => address,
            Err(error) => Self {
                target: Target::unreadable(),
                host: Arc::default(),
                unsound: Some(error),
            },
        }
    }

    /// Reads the address.
    ///
    /// # Errors
    /// Target or host cannot be read ([`Error::Malformed`]), or the request
    /// goes round in a circle ([`Error::Loop`]).
    fn read(request: &mut Request) -> Result<Self, Error> {
        let mut target = Target::parse(std::mem::take(&mut request.target))?;
        let head = &request.head;
        if head.method == Method::OPTIONS {
            target = target.of_options();
        }
        check_form(&head.method, &target)?;
        if head.headers.has(FieldName::Via) {
            last_hop::check_rounds(&head.headers)?;
        }
        let host = host_of(&target, &head.headers, head.version, &request.origin)?;
        let unsound = match (&request.origin.tls, request.origin.redirect_https) {
            (Some(tls), _) if !tls.may_serve(&host) => Some(Error::Misdirected),
            (_, Some(port)) => Some(https::redirect(port, &target, &host)),
            _ => None,
        };
        Ok(Self {
            target,
            host,
            unsound,
        })
    }
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

impl Routes {
    /// Finds the route that a preflight asks about: the one that takes the
    /// request which would follow, if it has origins that may call it. `None`
    /// for every other request, and where no such route is; it is then treated
    /// like any OPTIONS request.
    #[inline]
    fn find_asked(
        &self,
        target: &mut Target,
        host: &str,
        request: &Request,
        client: IpAddr,
    ) -> Option<Found> {
        if !self.answers_preflights {
            return None;
        }
        let method = cors::asked_method(&request.head)?;
        let mut asked = target.clone();
        let found = self
            .find(&mut asked, host, request, (&method, client))
            .ok()?;
        self.routes[found.index].tag.cors.as_ref()?;
        *target = asked;
        Some(found)
    }

    /// Finds the route that takes a request for `target` on `host` if its
    /// method and its client are these.
    ///
    /// If the path differs from the route's in letter case or a slash at the
    /// end, `target` gets the route's spelling.
    ///
    /// # Errors
    /// [`Error::NoRoute`], [`Error::TraceNotAllowed`], or
    /// [`Error::AmbiguousPath`] if the service that the request is forwarded to
    /// could take its path for one of another route, and so give it more than
    /// that route would.
    fn find(
        &self,
        target: &mut Target,
        host: &str,
        request: &Request,
        (method, client): (&Method, IpAddr),
    ) -> Result<Found, Error> {
        let lookup = Lookup {
            host,
            path: target.normal_path(),
            method,
            headers: &request.head.headers,
            query: target.query(),
            listener: &request.origin.listener,
            client,
        };
        let mut found = self.table.find(&lookup).ok_or(Error::NoRoute)?;
        if target.may_be_disguised() {
            self.disguises.check(&found, &lookup, target.path())?;
        }
        if self.disguises.may_be_respelled(lookup.path)
            && let Some((other, spelling)) = self.disguises.respell(found.index, &lookup)?
        {
            found = other;
            target.spell(spelling);
        }
        // A service that answers TRACE would show the client every field that
        // is added on the way.
        if *method == Method::TRACE && !self.routes[found.index].takes_trace {
            return Err(Error::TraceNotAllowed);
        }
        Ok(found)
    }
}

/// The gRPC call that a request with this `head` is. Where no route takes the
/// request, it is a call if any route takes calls.
///
/// `None` unless the version is HTTP/2, and if the route takes no calls, or the
/// headers are those of no call. `route` is `None` where no route takes the
/// request.
fn call(routes: &Routes, route: Option<&Route>, head: &RequestHead) -> Option<Grpc> {
    if head.version != Version::HTTP_2 {
        return None;
    }
    let takes_calls = route.map_or(routes.takes_calls, Route::takes_calls);
    Grpc::of(&head.headers).filter(|_| takes_calls)
}

/// The client of a request: the peer, or the one that a trusted peer names.
#[inline]
fn client(routes: &Routes, request: &Request) -> Client {
    let peer = request.origin.peer.ip().to_canonical();
    match routes.trust.trusts(peer) {
        true => routes.trust.named_client(peer, &request.head.headers),
        false => Client {
            ip: peer,
            chain: None,
        },
    }
}

/// Drops the claims that only a trusted proxy may make. Returns how many fields
/// were dropped.
///
/// A trusted peer, which alone has a chain, keeps all of its fields. `route` is
/// the one that was found, whose list of fields to keep counts; without a route
/// none is kept.
fn drop_unproven(
    routes: &Routes,
    route: Option<&Route>,
    client: &Client,
    request: &mut Request,
) -> usize {
    let (trust, headers) = (&routes.trust, &mut request.head.headers);
    let own = trust.own_claim();
    if client.chain.is_some() || !(own.is_some() || headers.has_any(NameSet::CLAIMS)) {
        return 0;
    }
    trust.note_unknown(client.ip, headers);
    let kept = route.map_or(&[][..], |route| &route.kept);
    drop_claims(headers, own, kept)
}

/// Removes the fields that only a trusted proxy may send, except for those that
/// the route keeps. Neither keys nor services see them. Returns how many fields
/// were removed. `own` is a claim of this configuration alone.
fn drop_claims(headers: &mut Headers, own: Option<&HeaderName>, kept: &[HeaderName]) -> usize {
    let is_one_of = |mut names: std::slice::Iter<'_, HeaderName>, name: &[u8]| {
        names.any(|known| http1::is_same(name, known.as_str().as_bytes()))
    };
    let own = own.map_or(&[][..], std::slice::from_ref);
    headers.retain(|field| {
        let is_claim = field.field.is_claim() || is_one_of(own.iter(), field.name);
        !is_claim || is_one_of(kept.iter(), field.name)
    })
}

/// The trace that a request with these `headers` belongs to; `None` without
/// `[traces]`. `is_proxy` says whether its peer is a trusted proxy.
#[inline]
fn trace(routes: &Routes, headers: &Headers, is_proxy: bool) -> Option<Trace> {
    let tracer = routes.tracer.as_ref()?;
    Some(Trace::begin(tracer, headers, is_proxy))
}

/// Bounds the body of a request, if it has one, and has the exchange observe
/// it.
///
/// # Errors
/// [`Error::BodyTooLarge`] if the announced length is above the bound of the
/// route. A body without a length fails later, while it is read.
fn admit(route: &Route, body: &mut Body, exchange: &Arc<Exchange>) -> Result<(), Error> {
    if body.is_empty() {
        return Ok(());
    }
    // A gRPC call is a stream of messages, whose total length says nothing; its
    // receiver bounds each message. Only a route with a bound for calls knows
    // better.
    let limit = match exchange.grpc {
        None => route.max_body,
        Some(_) => route.max_call_body,
    };
    bounded::bound(body, limit)?;
    body.observe(Arc::new(RequestBodyObserver(Arc::clone(exchange))));
    Ok(())
}
