//! Split: each request goes one of several ways, drawn by weight. What is inside, retries too, stays on that way.

use std::{
    num::NonZeroU32,
    sync::Arc,
    task::{Context, Poll},
};

use rand::RngExt;
use tower::Service;

use crate::{call::Call, error::Error};

/// One way, or several. Most routes have one, and pay no more for it than a look.
#[derive(Debug, Clone)]
pub struct Split<S> {
    first: S,
    drawn: Option<Arc<Drawn<S>>>,
}

#[derive(Debug)]
struct Drawn<S> {
    /// Sum of all weights.
    total: u64,
    first: u64,
    /// The other ways, each with its weight.
    others: Vec<(u64, S)>,
}

impl<S> Split<S> {
    /// The way `first`, with its weight, and others.
    pub fn new(
        (weight, first): (NonZeroU32, S),
        others: impl IntoIterator<Item = (NonZeroU32, S)>,
    ) -> Self {
        let others: Vec<_> = others
            .into_iter()
            .map(|(weight, way)| (u64::from(weight.get()), way))
            .collect();
        let weight = u64::from(weight.get());
        let total = weight + others.iter().map(|(weight, _)| weight).sum::<u64>();
        let drawn = (!others.is_empty()).then(|| {
            Arc::new(Drawn {
                total,
                first: weight,
                others,
            })
        });
        Self { first, drawn }
    }
}

impl<S> Drawn<S> {
    /// Another way than the first, if it is drawn.
    fn draw(&self) -> Option<&S> {
        self.at(rand::rng().random_range(0..self.total))
    }

    /// The way that the ticket `number` is for, below the total.
    fn at(&self, number: u64) -> Option<&S> {
        let mut number = number.checked_sub(self.first)?;
        for (weight, way) in &self.others {
            match number.checked_sub(*weight) {
                None => return Some(way),
                Some(rest) => number = rest,
            }
        }
        None
    }
}

impl<S> Service<Call> for Split<S>
where
    S: Service<Call, Error = Error> + Clone,
{
    type Response = S::Response;
    type Error = Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.first.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        match self.drawn.as_ref().and_then(|drawn| drawn.draw()) {
            Some(way) => way.clone().call(call),
            None => self.first.call(call),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_has_as_many_tickets_as_its_weight() {
        let weight = |weight| NonZeroU32::new(weight).unwrap();
        let split = Split::new((weight(95), "a"), [(weight(1), "b"), (weight(4), "c")]);
        let drawn = split.drawn.unwrap();
        let tickets: Vec<_> = (0..drawn.total)
            .map(|number| drawn.at(number).unwrap_or(&"a"))
            .collect();
        let of = |way: &str| tickets.iter().filter(|ticket| **ticket == &way).count();
        assert_eq!((of("a"), of("b"), of("c")), (95, 1, 4));
    }
}
