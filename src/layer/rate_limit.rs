//! Rate limit: all of a route's limits decide together; nothing is taken if one refuses.
//!
//! What was taken is given back when the request is turned away further in, before any server could serve it.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderName, StatusCode};
use pin_project_lite::pin_project;
use smallvec::SmallVec;
use tower::{Layer, Service};

use crate::{
    call::{Call, Exchange, Nearest},
    error::Error,
    limit::{self, Admission, Ask, Clock, Key, KeyBuilder, Limiter, Now, Quota, Refusal, decide},
    message::Response,
};

/// One limit as a route applies it.
#[derive(Debug, Clone)]
pub struct LimitPolicy {
    /// The buckets.
    pub limiter: Limiter,
    /// A key that has begun with the limit's name.
    pub begun: KeyBuilder,
    /// What tells one bucket from another; empty: one for everyone.
    pub key: Vec<KeyPart>,
    /// What to do for a part that is absent or empty.
    pub missing: Missing,
    /// Status of a refusal.
    pub status: StatusCode,
}

/// One part of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPart {
    /// The route's name.
    Route,
    /// The client's address, IPv6 cut to so many bits.
    ClientIp(u8),
    /// A request header.
    Header(HeaderName),
    /// The host, lower case, without its port.
    Host,
    /// The path in its normal form.
    Path,
    /// The method.
    Method,
    /// The distinguished name in the client's certificate.
    TlsSubject,
}

/// What to do for a part of a key that is absent or empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// Use this part instead.
    Use(KeyPart),
    /// Do not apply the limit.
    Skip,
    /// Refuse.
    Refuse,
}

/// Adds [`RateLimit`].
#[derive(Debug, Clone)]
pub struct RateLimitLayer {
    /// The route's limits, at most 64.
    pub limits: Arc<[LimitPolicy]>,
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit { inner, policy: self.clone() }
    }
}

/// Lets calls through at a bounded pace.
#[derive(Debug, Clone)]
pub struct RateLimit<S> {
    inner: S,
    policy: RateLimitLayer,
}

impl<S> Service<Call> for RateLimit<S>
where
    S: Service<Call, Response = Response, Error = Error>,
{
    type Response = Response;
    type Error = Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        if self.policy.limits.is_empty() {
            return ResponseFuture::Admitted { inner: self.inner.call(call), taken: None };
        }
        match self.policy.admit(&call.exchange) {
            Ok(taken) => ResponseFuture::Admitted { inner: self.inner.call(call), taken: Some(taken) },
            Err(error) => ResponseFuture::Refused { error: Some(error) },
        }
    }
}

/// Keys of the limits that apply, each with its place among the route's limits.
type Keys = SmallVec<[(usize, Key); 4]>;

impl RateLimitLayer {
    fn admit(&self, exchange: &Exchange) -> Result<Taken, Error> {
        let keys = self.keys(exchange)?;
        let asks: SmallVec<[Ask<'_>; 4]> =
            keys.iter().map(|(index, key)| (&self.limits[*index].limiter, *key, 1)).collect();
        match decide(Clock.now(), &asks) {
            Ok(admission) => {
                note_admission(exchange, &keys, &admission);
                Ok(Taken { admission, keys, limits: Arc::clone(&self.limits) })
            }
            Err(refusal) => Err(self.refused(exchange, &keys, &refusal)),
        }
    }

    fn keys(&self, exchange: &Exchange) -> Result<Keys, Error> {
        let mut keys = Keys::new();
        for (index, limit) in self.limits.iter().enumerate() {
            match key(limit, exchange) {
                Found::Key(key) => keys.push((index, key)),
                Found::Skip => {}
                Found::Refuse => {
                    let name = Arc::clone(&exchange.route.limits[index]);
                    exchange.facts.lock().refused |= 1 << index;
                    return Err(Error::KeyMissing { limit: name, status: limit.status });
                }
            }
        }
        Ok(keys)
    }

    fn refused(&self, exchange: &Exchange, keys: &Keys, refusal: &Refusal) -> Error {
        let names = &exchange.route.limits;
        let mut facts = exchange.facts.lock();
        let limits = refusal
            .indices()
            .map(|asked| {
                facts.refused |= 1 << keys[asked].0;
                Arc::clone(&names[keys[asked].0])
            })
            .collect();
        let (index, key) = keys[refusal.index];
        facts.limit = Some(exhausted(index, key, self.limits[index].limiter.quota(), refusal.retry_after));
        Error::RateLimited { limits, retry_after: refusal.retry_after, status: self.limits[index].status }
    }
}

fn note_admission(exchange: &Exchange, keys: &Keys, admission: &Admission) {
    let mut facts = exchange.facts.lock();
    for (index, _) in keys {
        facts.admitted |= 1 << index;
    }
    facts.limit = admission.nearest().map(|nearest| {
        let (index, key) = keys[nearest.index];
        let limit::Nearest { remaining, burst, fill, next, reset, .. } = nearest;
        Nearest { index, remaining, burst, fill, next, reset, key: key.hash() }
    });
}

/// How a bucket stands that has a token again after `next`.
fn exhausted(index: usize, key: Key, quota: &Quota, next: Duration) -> Nearest {
    let (burst, emission) = (quota.burst().get(), quota.emission());
    let reset = next.saturating_add(emission * (burst - 1));
    Nearest { index, remaining: 0, burst, fill: emission * burst, next, reset, key: key.hash() }
}

enum Found {
    Key(Key),
    Skip,
    Refuse,
}

fn key(limit: &LimitPolicy, exchange: &Exchange) -> Found {
    let mut builder = limit.begun.clone();
    for part in &limit.key {
        builder = match (feed(builder, part, exchange), &limit.missing) {
            (Ok(fed), _) => fed,
            (Err(_), Missing::Skip) => return Found::Skip,
            (Err(unfed), Missing::Use(other)) => match feed(unfed, other, exchange) {
                Ok(fed) => fed,
                Err(_) => return Found::Refuse,
            },
            (Err(_), Missing::Refuse) => return Found::Refuse,
        };
    }
    Found::Key(builder.finish())
}

/// Adds a part's value to the key; gives the builder back as an error where the request has none.
fn feed(builder: KeyBuilder, part: &KeyPart, exchange: &Exchange) -> Result<KeyBuilder, KeyBuilder> {
    let request = &exchange.request;
    Ok(match part {
        KeyPart::Route => builder.route(exchange.route.name.as_deref().unwrap_or_default()),
        KeyPart::ClientIp(prefix) => builder.ip(exchange.client.ip, *prefix),
        KeyPart::Header(name) => match request.headers.get(name).filter(|value| !value.is_empty()) {
            Some(value) => builder.header(name.as_str(), value.as_bytes()),
            None => return Err(builder),
        },
        KeyPart::Host if request.host.is_empty() => return Err(builder),
        KeyPart::Host => builder.host(&request.host),
        KeyPart::Path => builder.path(request.target.normal_path()),
        KeyPart::Method => builder.method(request.method.as_str()),
        KeyPart::TlsSubject => match exchange.origin.tls.as_ref().and_then(|tls| tls.subject.as_deref()) {
            Some(subject) => builder.tls_subject(subject.as_bytes()),
            None => return Err(builder),
        },
    })
}

/// What a call has taken, until it is known whether it was worth it.
#[derive(Debug)]
pub struct Taken {
    admission: Admission,
    keys: Keys,
    limits: Arc<[LimitPolicy]>,
}

impl Taken {
    fn give_back(self, now: Now) {
        let limiters = self.keys.iter().map(|(index, _)| &self.limits[*index].limiter);
        self.admission.refund(now, limiters);
    }
}

pin_project! {
    /// A call that was admitted or refused.
    #[project = State]
    #[derive(Debug)]
    pub enum ResponseFuture<F> {
        /// Turned away.
        Refused { error: Option<Error> },
        /// Let through.
        Admitted { #[pin] inner: F, taken: Option<Taken> },
    }
}

impl<F: Future<Output = Result<Response, Error>>> Future for ResponseFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            State::Refused { error } => Poll::Ready(Err(error.take().unwrap_or(Error::ClientGone))),
            State::Admitted { inner, taken } => {
                let answer = ready!(inner.poll(cx));
                if let (Err(error), Some(taken)) = (&answer, taken.take())
                    && error.served_nothing()
                {
                    taken.give_back(Clock.now());
                }
                Poll::Ready(answer)
            }
        }
    }
}
