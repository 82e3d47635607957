//! Identify: finds out who asks, and refuses those whom the route does not
//! want.
//!
//! The outermost layer of a route's stack, as limits, queues and services ask
//! who the client is. It notes the client in the exchange, once, and everything
//! further in reads it there: keys of limits, header fields for services, the
//! access line.
//!
//! # Which identity decides
//!
//! The identities of a route are tried in its order, and the first one whose
//! credentials a request has decides, also if they do not verify: a request
//! with a wrong API key and a good token is refused. So a client knows which of
//! its credentials is wrong, and the order of the route says what counts.
//!
//! # Guessing
//!
//! A limit of the identity is charged for each credential that does not verify,
//! by the client's address. Once it is exhausted, further credentials from that
//! address are refused unread. Only those that have verified before pass:
//! customers behind a shared address are not locked out by a neighbour.
//!
//! # Cost
//!
//! A known credential costs a search for its field and a look into a table. The
//! layer holds nothing while the inner service works.

mod credential;
mod failures;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tower::{Layer, Service};

use self::credential::Credential;
pub use self::failures::FailureLimit;
use super::refused_at_once::RefusedAtOnce;
use crate::{
    call::{Call, Exchange},
    error::{Error, Failed},
    identity::{Authenticator, Identified, Rejected},
    message::Response,
    policy::{CredentialPlace, RequiredClaim},
};

/// Adds [`Identify`].
#[derive(Debug, Clone)]
pub struct IdentifyLayer(Option<Arc<Identification>>);

/// How a route identifies its clients.
#[derive(Debug)]
struct Identification {
    /// In the order in which they are tried.
    identities: Vec<RouteIdentity>,
    /// Whether requests without credentials are refused.
    refuses_anonymous: bool,
    require: Vec<RequiredClaim>,
    /// Values of `WWW-Authenticate`, one for each place of a credential.
    challenges: Arc<[Box<str>]>,
}

/// An identity as a route applies it.
#[derive(Debug)]
pub struct RouteIdentity {
    /// Verifies credentials; shared by all routes and workers.
    pub authenticator: Arc<Authenticator>,
    /// Bounds wrong credentials; `None` without a bound.
    pub failures: Option<FailureLimit>,
}

impl IdentifyLayer {
    /// A layer that tries `identities` in their order. Without any it passes
    /// every request on.
    pub fn new(
        identities: Vec<RouteIdentity>,
        refuses_anonymous: bool,
        require: Vec<RequiredClaim>,
    ) -> Self {
        if identities.is_empty() {
            return Self(None);
        }
        let policies = identities.iter().map(|one| &one.authenticator.policy);
        let mut challenges: Vec<Box<str>> = Vec::new();
        for policy in policies {
            for place in &policy.from {
                challenges.push(challenge(place, &policy.name).into());
            }
        }
        Self(Some(Arc::new(Identification {
            identities,
            refuses_anonymous,
            require,
            challenges: challenges.into(),
        })))
    }
}

/// The value of `WWW-Authenticate` that asks for a credential in this place. A
/// scheme is registered for tokens only (RFC 6750); the others say where the
/// credential belongs.
fn challenge(place: &CredentialPlace, identity: &str) -> String {
    match place {
        CredentialPlace::Bearer => format!("Bearer realm=\"{identity}\""),
        CredentialPlace::Header(name) => format!("ApiKey realm=\"{identity}\", header=\"{name}\""),
        CredentialPlace::Query(name) => {
            format!("ApiKey realm=\"{identity}\", query=\"{}\"", quoted(name))
        }
        CredentialPlace::Cookie(name) => format!("Cookie realm=\"{identity}\", cookie=\"{name}\""),
    }
}

/// The inside of a quoted string (RFC 9110, 5.6.4), without what a header field
/// cannot hold.
fn quoted(text: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
    text.chars().filter(is_plain).collect()
}

impl<S> Layer<S> for IdentifyLayer {
    type Service = Identify<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Identify {
            inner,
            policy: self.0.clone(),
        }
    }
}

/// Identifies the client of each call, and fails those that the route refuses:
/// with [`Error::Unauthenticated`], [`Error::Forbidden`] or, for a client that
/// has guessed too often, [`Error::RateLimited`].
#[derive(Debug, Clone)]
pub struct Identify<S> {
    inner: S,
    /// `None` if the route identifies nobody.
    policy: Option<Arc<Identification>>,
}

impl<S> Service<Call> for Identify<S>
where
    S: Service<Call, Response = Response, Error = Failed>,
{
    type Response = Response;
    type Error = Failed;
    type Future = ResponseFuture<S::Future>;

    #[inline(always)]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        self.inner.poll_ready(cx)
    }

    #[inline(always)]
    fn call(&mut self, call: Call) -> Self::Future {
        if let Some(policy) = &self.policy
            && let Err(error) = policy.admit(&call)
        {
            return ResponseFuture::Refused { error: Some(error) };
        }
        ResponseFuture::Passed {
            inner: self.inner.call(call),
        }
    }
}

impl Identification {
    /// Identifies the client, and notes it in the exchange.
    ///
    /// # Errors
    /// The route refuses the request.
    #[inline(never)]
    fn admit(&self, call: &Call) -> Result<(), Error> {
        for one in &self.identities {
            let credential = match Credential::find(&one.authenticator.policy.from, &call.exchange)
            {
                Credential::Absent => continue,
                Credential::Ambiguous => {
                    let why = "there are several, and they differ";
                    return Err(self.rejected(one, call, Rejected { why }));
                }
                Credential::Given(credential) => credential,
            };
            let identified = match one.authenticator.known(&credential, call.now) {
                Some(identified) => identified,
                None => self.verify(one, &credential, call)?,
            };
            return self.welcome(identified, &call.exchange);
        }
        match self.refuses_anonymous {
            true => Err(self.unauthenticated(None)),
            false => Ok(()),
        }
    }

    /// Verifies a credential that is not known yet.
    ///
    /// # Errors
    /// It does not verify, or its client has sent too many that do not.
    #[cold]
    fn verify(
        &self,
        one: &RouteIdentity,
        credential: &[u8],
        call: &Call,
    ) -> Result<Arc<Identified>, Error> {
        if let Some(failures) = &one.failures {
            failures.check(call)?;
        }
        let verified = one.authenticator.verify(credential);
        verified.map_err(|rejected| self.rejected(one, call, rejected))
    }

    /// Notes who the client is.
    ///
    /// # Errors
    /// It lacks a claim that the route requires.
    fn welcome(&self, identified: Arc<Identified>, exchange: &Exchange) -> Result<(), Error> {
        let has = |required: &RequiredClaim| {
            let claim = identified.claims.get(&required.claim);
            claim.is_some_and(|claim| required.values.iter().any(|value| claim.contains(value)))
        };
        let lacking = self.require.iter().find(|required| !has(required));
        let lacking = lacking.map(|required| required.claim.clone());
        // Set before the refusal, so that the access line says who was refused.
        let _only_once = exchange.identified.set(identified);
        match lacking {
            Some(claim) => Err(Error::Forbidden {
                claim: claim.into(),
            }),
            None => Ok(()),
        }
    }

    /// The refusal of a credential that does not verify, which is charged to
    /// the limit of its identity.
    #[cold]
    fn rejected(&self, one: &RouteIdentity, call: &Call, rejected: Rejected) -> Error {
        one.authenticator.counts.rejected.add();
        if let Some(failures) = &one.failures
            && let Err(error) = failures.charge(call)
        {
            return error;
        }
        self.unauthenticated(Some(rejected.why))
    }

    #[cold]
    fn unauthenticated(&self, rejected: Option<&'static str>) -> Error {
        Error::Unauthenticated {
            challenges: Arc::clone(&self.challenges),
            rejected,
        }
    }
}

pin_project! {
    /// The response to a call that was passed on or refused.
    #[project = State]
    #[derive(Debug)]
    pub enum ResponseFuture<F> {
        /// The call is refused.
        Refused { error: Option<Error> },
        /// The inner service has the call.
        Passed { #[pin] inner: F },
    }
}

impl<F: RefusedAtOnce> RefusedAtOnce for ResponseFuture<F> {
    #[inline]
    fn refused(&mut self) -> Option<Error> {
        match self {
            Self::Refused { error } => error.take(),
            Self::Passed { inner } => inner.refused(),
        }
    }
}

impl<F: Future<Output = Result<Response, Failed>>> Future for ResponseFuture<F> {
    type Output = F::Output;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            State::Refused { error } => {
                Poll::Ready(Err(error.take().unwrap_or(Error::ClientGone).into()))
            }
            State::Passed { inner } => inner.poll(cx),
        }
    }
}
