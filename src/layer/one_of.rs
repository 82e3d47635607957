//! One of two services, chosen when the stack is built: a layer that a route may
//! do without ([`optional`]), or two ends of a stack.
//!
//! tower's `Either` is the same. This one tells the compiler to take the calls
//! and polls through it as one function with those around them: otherwise each
//! of the five in a stack moves the request inwards and the response outwards
//! once more, which costs a request 170 instructions.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::call::Call;

/// Adds `layer`, if there is one.
pub fn optional<L>(layer: Option<L>) -> OptionalLayer<L> {
    OptionalLayer(layer)
}

/// Adds a layer, or nothing.
#[derive(Debug)]
pub struct OptionalLayer<L>(Option<L>);

impl<S, L: Layer<S>> Layer<S> for OptionalLayer<L> {
    type Service = OneOf<L::Service, S>;

    fn layer(&self, inner: S) -> Self::Service {
        match &self.0 {
            Some(layer) => OneOf::First(layer.layer(inner)),
            None => OneOf::Second(inner),
        }
    }
}

/// One of two services.
#[derive(Debug, Clone)]
pub enum OneOf<A, B> {
    /// The first one; with an optional layer, the service in it.
    First(A),
    /// The second one; without the layer, the service that it would be around.
    Second(B),
}

impl<A, B, R> Service<R> for OneOf<A, B>
where
    A: Service<R>,
    B: Service<R, Response = A::Response, Error = A::Error>,
{
    type Response = A::Response;
    type Error = A::Error;
    type Future = OneOfFuture<A::Future, B::Future>;

    #[inline(always)]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), A::Error>> {
        match self {
            Self::First(service) => service.poll_ready(cx),
            Self::Second(service) => service.poll_ready(cx),
        }
    }

    #[inline(always)]
    fn call(&mut self, request: R) -> Self::Future {
        match self {
            Self::First(service) => OneOfFuture::First {
                future: service.call(request),
            },
            Self::Second(service) => OneOfFuture::Second {
                future: service.call(request),
            },
        }
    }
}

pin_project! {
    /// The future of one of two services.
    #[derive(Debug)]
    #[project = OneOfProj]
    #[expect(missing_docs, reason = "fields of states")]
    pub enum OneOfFuture<A, B> {
        /// That of the first one.
        First { #[pin] future: A },
        /// That of the second one.
        Second { #[pin] future: B },
    }
}

impl<A: Future, B: Future<Output = A::Output>> Future for OneOfFuture<A, B> {
    type Output = A::Output;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<A::Output> {
        match self.project() {
            OneOfProj::First { future } => future.poll(cx),
            OneOfProj::Second { future } => future.poll(cx),
        }
    }
}

/// Calls a service on a path that few requests take.
///
/// Never inlined, as a second copy of all layers further in would be of no use.
#[inline(never)]
pub(super) fn call_rarely<S: Service<Call>>(service: &mut S, call: Call) -> S::Future {
    service.call(call)
}
