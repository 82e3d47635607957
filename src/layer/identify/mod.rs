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
//! by the client's address. Once it is exhausted, tokens and questions to a
//! service from that address are refused unread, unless the worker knows that
//! they are good. API keys are looked up all the same: nobody guesses one, and
//! customers behind a shared address are not locked out by a neighbour.
//!
//! # Cost
//!
//! A known credential costs a search for its field and a look into a table. The
//! layer holds nothing while the inner service works.
//!
//! # Waiting
//!
//! Some identities answer later: a signature is checked on another thread, a
//! service is asked. Only such a request is boxed. The route's timeouts do not
//! cover this wait, and the identity bounds it. A client that leaves drops the
//! future, and with it the question.

mod challenge;
mod credential;
mod failures;
mod forward;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt};

use self::{challenge::challenge, credential::Credential, forward::AskedQuestion};
pub use self::{
    failures::FailureLimit,
    forward::{AskService, AuthService},
};
use super::{one_of::call_rarely, refused_at_once::RefusedAtOnce};
use crate::{
    call::{Call, Exchange},
    error::{Error, Failed},
    identity::{
        Authenticator, Identified, NotIdentified, PendingVerification, Presented, Rejected,
        Verification, Verified,
    },
    message::Response,
    policy::RequiredClaim,
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
    /// Asks a service about clients, in the place of a credential; `None` if the
    /// identity verifies credentials itself.
    pub asking: Option<Arc<AuthService>>,
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

impl RouteIdentity {
    /// Notes who refuses the request, for its access line.
    fn note(&self, exchange: &Exchange) {
        let name = Arc::clone(&self.authenticator.policy.name);
        exchange.facts.lock().unidentified_by = Some(name);
    }
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
/// has guessed too often, [`Error::RateLimited`]; with
/// [`Error::IdentityUnavailable`] if an identity cannot answer.
#[derive(Debug, Clone)]
pub struct Identify<S> {
    inner: S,
    /// `None` if the route identifies nobody.
    policy: Option<Arc<Identification>>,
}

impl<S> Service<Call> for Identify<S>
where
    S: Service<Call, Response = Response, Error = Failed, Future: Send> + Clone + Send + 'static,
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
        if let Some(policy) = &self.policy {
            match policy.admit(&call) {
                Ok(None) => {}
                Ok(Some(question)) => return self.wait(Arc::clone(policy), question, call),
                Err(error) => return ResponseFuture::Refused { error: Some(error) },
            }
        }
        ResponseFuture::Passed {
            inner: self.inner.call(call),
        }
    }
}

impl<S> Identify<S>
where
    S: Service<Call, Response = Response, Error = Failed, Future: Send> + Clone + Send + 'static,
{
    /// Passes the call on when the answer to `question` has come.
    #[cold]
    fn wait(
        &self,
        policy: Arc<Identification>,
        question: PendingAnswer,
        call: Call,
    ) -> ResponseFuture<S::Future> {
        let mut inner = self.inner.clone();
        let waiting = async move {
            let now = match question {
                PendingAnswer::Credential(identity, answer) => {
                    let verified = answer.await;
                    let now = Instant::now();
                    policy.conclude(identity, verified, &call.exchange, now)?;
                    now
                }
                PendingAnswer::Service(asked) => policy.ask(asked, &call.exchange).await?,
            };
            call_rarely(inner.ready().await?, Call { now, ..call }).await
        };
        ResponseFuture::Waiting {
            waiting: Box::pin(waiting),
        }
    }
}

/// An answer that comes later, of the identity with this index in the order of
/// the route.
enum PendingAnswer {
    /// Whether a credential is good.
    Credential(usize, PendingVerification),
    /// To a service, about a request.
    Service(AskedQuestion),
}

impl Identification {
    /// Identifies the client, and notes it in the exchange. Returns the question
    /// to an identity that answers later.
    ///
    /// # Errors
    /// The route refuses the request.
    #[inline(never)]
    fn admit(&self, call: &Call) -> Result<Option<PendingAnswer>, Error> {
        for (index, one) in self.identities.iter().enumerate() {
            if let Some(asking) = &one.asking {
                return self.look(index, asking, call);
            }
            let credential = match Credential::find(&one.authenticator.policy.from, &call.exchange)
            {
                Credential::Absent => continue,
                Credential::Ambiguous => {
                    let why = "there are several, and they differ";
                    return Err(self.rejected(one, &call.exchange, call.now, Rejected { why }));
                }
                Credential::Given(credential) => credential,
            };
            return match one.authenticator.known(&credential, call.now) {
                Some(identified) => self.welcome(identified, &call.exchange).map(|()| None),
                None => self.verify(index, &credential, call),
            };
        }
        match self.refuses_anonymous {
            true => Err(self.unauthenticated(None)),
            false => Ok(None),
        }
    }

    /// Has a credential verified that is not known yet, by the identity of this
    /// `index`.
    ///
    /// # Errors
    /// As [`conclude`](Self::conclude), if the answer is known at once; or its
    /// client has sent too many that do not verify.
    #[cold]
    fn verify(
        &self,
        index: usize,
        credential: &[u8],
        call: &Call,
    ) -> Result<Option<PendingAnswer>, Error> {
        let one = &self.identities[index];
        if let Some(failures) = &one.failures
            && !one.authenticator.looks_up()
        {
            let checked = failures.check(&call.exchange, call.now);
            checked.inspect_err(|_| one.note(&call.exchange))?;
        }
        let presented = Presented {
            credential,
            client: call.exchange.client.ip,
            now: call.now,
        };
        match one.authenticator.verify(&presented) {
            Verification::Done(verified) => {
                self.conclude(index, verified, &call.exchange, call.now)?;
                Ok(None)
            }
            Verification::Pending(answer) => Ok(Some(PendingAnswer::Credential(index, answer))),
        }
    }

    /// Draws the consequences of the answer of the identity of this `index`.
    ///
    /// # Errors
    /// The credential does not verify, or cannot be verified, or its client
    /// lacks a claim that the route requires.
    fn conclude(
        &self,
        index: usize,
        verified: Verified,
        exchange: &Exchange,
        now: Instant,
    ) -> Result<(), Error> {
        let one = &self.identities[index];
        match verified {
            Ok(identified) => self.welcome(identified, exchange),
            Err(NotIdentified::Rejected(rejected)) => {
                Err(self.rejected(one, exchange, now, rejected))
            }
            Err(NotIdentified::Unavailable { retry_after }) => {
                one.authenticator.counts.unavailable.add();
                one.note(exchange);
                Err(Error::IdentityUnavailable { retry_after })
            }
        }
    }

    /// Notes who the client is.
    ///
    /// # Errors
    /// It lacks a claim that the route requires.
    fn welcome(&self, identified: Arc<Identified>, exchange: &Exchange) -> Result<(), Error> {
        let mut require = self.require.iter();
        let lacking = require.find(|required| !identified.meets(required));
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
    fn rejected(
        &self,
        one: &RouteIdentity,
        exchange: &Exchange,
        now: Instant,
        rejected: Rejected,
    ) -> Error {
        one.authenticator.counts.rejected.add();
        one.note(exchange);
        if let Some(failures) = &one.failures
            && let Err(error) = failures.charge(exchange, now)
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
    pub enum ResponseFuture<F> {
        /// The call is refused.
        Refused { error: Option<Error> },
        /// The inner service has the call.
        Passed { #[pin] inner: F },
        /// An identity is asked, then the inner service.
        Waiting { waiting: Pin<Box<dyn Future<Output = Result<Response, Failed>> + Send>> },
    }
}

impl<F: RefusedAtOnce> RefusedAtOnce for ResponseFuture<F> {
    #[inline]
    fn refused(&mut self) -> Option<Error> {
        match self {
            Self::Refused { error } => error.take(),
            Self::Passed { inner } => inner.refused(),
            Self::Waiting { .. } => None,
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
            State::Waiting { waiting } => waiting.as_mut().poll(cx),
            State::Passed { inner } => inner.poll(cx),
        }
    }
}
