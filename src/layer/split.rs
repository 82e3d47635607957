//! Split: each request goes to one of several inner services, drawn by weight.
//!
//! The draw is made once for each request: everything inside, retries too,
//! stays with the service that was drawn. The layer refuses nothing and holds
//! nothing.
//!
//! tower's `Steer` picks a service by the request, once all of them are ready.
//! This one does not look at the request, so that it draws first, in
//! `poll_ready`, and needs only the drawn service to be ready.
//!
//! # Readiness
//!
//! A service is drawn in the first `poll_ready` and kept until `call`: tower's
//! contract asks for readiness and call of the same service. A service that is
//! never called keeps its draw, which changes nothing for other requests, as
//! each of them has a clone of its own.
//!
//! # Shares
//!
//! Draws are random and independent, and no state is shared between workers.
//! The shares of traffic therefore come close to the weights over many
//! requests, and are not exact over few.

use std::{
    num::NonZeroU32,
    sync::Arc,
    task::{Context, Poll},
};

use rand::RngExt;
use tower::Service;

/// One inner service, or several. Most routes have one and pay for no more than
/// a look.
///
/// ```
/// use std::{convert::Infallible, future::ready, num::NonZeroU32};
/// use tidegate::layer::Split;
/// use tower::{ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let double = |n: u32| ready(Ok::<_, Infallible>(2 * n));
/// let split = Split::new((NonZeroU32::MIN, service_fn(double)), []);
/// assert_eq!(split.oneshot(21).await, Ok(42));
/// # }
/// ```
#[derive(Debug)]
pub struct Split<S> {
    /// The only service, or the one that was drawn for the next request.
    service: S,
    /// All services of a route that has several.
    several: Option<Arc<Weighted<S>>>,
    /// Whether the service of the next request is drawn already.
    is_drawn: bool,
}

/// Several services with their weights, never empty.
#[derive(Debug)]
struct Weighted<S> {
    /// Sum of all weights.
    total: u64,
    /// Each with its weight.
    services: Vec<(u64, S)>,
}

/// A clone draws by itself: otherwise a draw would count twice.
impl<S: Clone> Clone for Split<S> {
    fn clone(&self) -> Self {
        Self {
            service: self.service.clone(),
            several: self.several.clone(),
            is_drawn: false,
        }
    }
}

impl<S: Clone> Split<S> {
    /// Sends each request to `first` or to one of `others`, in proportion to
    /// the weights.
    ///
    /// With a single service its weight does not count. Weights need not add up
    /// to any number.
    pub fn new(first: (NonZeroU32, S), others: impl IntoIterator<Item = (NonZeroU32, S)>) -> Self {
        let service = first.1.clone();
        let services: Vec<_> = std::iter::once(first)
            .chain(others)
            .map(|(weight, service)| (u64::from(weight.get()), service))
            .collect();
        let several = (services.len() > 1).then(|| {
            Arc::new(Weighted {
                total: services.iter().map(|(weight, _)| weight).sum(),
                services,
            })
        });
        Self {
            service,
            several,
            is_drawn: false,
        }
    }

    /// Draws the service of the next request, unless there is only one or it is
    /// drawn already: the drawn service may have to be asked again before it is
    /// ready.
    fn draw(&mut self) {
        if let Some(several) = &self.several
            && !self.is_drawn
            && let Some(drawn) = several.draw()
        {
            self.service = drawn.clone();
            self.is_drawn = true;
        }
    }
}

impl<S> Weighted<S> {
    /// A service, drawn by weight.
    fn draw(&self) -> Option<&S> {
        self.at(rand::rng().random_range(0..self.total))
    }

    /// The service that holds ticket `number`; each has as many tickets as its
    /// weight. `None` from the total on.
    ///
    /// Linear in the number of services, of which a route has a few.
    fn at(&self, mut number: u64) -> Option<&S> {
        for (weight, service) in &self.services {
            match number.checked_sub(*weight) {
                None => return Some(service),
                Some(rest) => number = rest,
            }
        }
        None
    }
}

impl<S, R> Service<R> for Split<S>
where
    S: Service<R> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.draw();
        self.service.poll_ready(cx)
    }

    #[inline(always)]
    fn call(&mut self, request: R) -> Self::Future {
        self.is_drawn = false;
        self.service.call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_has_as_many_tickets_as_its_weight() {
        let weight = |weight| NonZeroU32::new(weight).unwrap();
        let split = Split::new((weight(95), "a"), [(weight(1), "b"), (weight(4), "c")]);
        let weighted = split.several.unwrap();
        let tickets: Vec<_> = (0..weighted.total)
            .filter_map(|number| weighted.at(number))
            .collect();
        let count = |service: &str| tickets.iter().filter(|ticket| **ticket == &service).count();
        assert_eq!((count("a"), count("b"), count("c")), (95, 1, 4));
    }
}
