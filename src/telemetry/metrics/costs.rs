//! The tokens of requests whose cost is known in the end.

use std::sync::Arc;

/// Why the cost of a request stayed unknown, and counted as its reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownCost {
    /// The response has no such header, trailer or number.
    Absent,
    /// The response is compressed.
    Encoded,
    /// The response is neither JSON nor a stream of events.
    Type,
}

impl UnknownCost {
    /// Its label in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Encoded => "encoded",
            Self::Type => "type",
        }
    }
}

/// Tokens of one limit, by [`CostTokens::LABELS`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CostTokens(pub(super) [u64; 3]);

impl CostTokens {
    /// The labels, in the order of the counts: what was reserved, what was used
    /// in the end, and what of that was more than the reserve.
    pub(super) const LABELS: [&str; 3] = ["reserved", "used", "owed"];

    /// Adds one request.
    fn add(&mut self, reserved: u64, used: u64) {
        let owed = used.saturating_sub(reserved);
        for (sum, tokens) in self.0.iter_mut().zip([reserved, used, owed]) {
            *sum = sum.saturating_add(tokens);
        }
    }
}

/// Tokens by limit. A route has at most 64 limits, so that a linear search is
/// fast.
#[derive(Debug, Default)]
pub(super) struct LimitCosts(pub(super) Vec<(Arc<str>, CostTokens)>);

impl LimitCosts {
    /// Adds a request that has reserved some tokens, and used others.
    pub(super) fn add(&mut self, limit: &Arc<str>, reserved: u64, used: u64) {
        self.of(limit).add(reserved, used);
    }

    /// Adds the tokens of another worker.
    pub(super) fn merge(&mut self, other: &Self) {
        for (limit, tokens) in &other.0 {
            let sums = self.of(limit).0.iter_mut();
            sums.zip(tokens.0)
                .for_each(|(sum, more)| *sum = sum.saturating_add(more));
        }
    }

    /// The tokens of one limit.
    fn of(&mut self, limit: &Arc<str>) -> &mut CostTokens {
        let known = self.0.iter().position(|(known, _)| known == limit);
        let slot = known.unwrap_or_else(|| {
            self.0.push((Arc::clone(limit), CostTokens::default()));
            self.0.len() - 1
        });
        &mut self.0[slot].1
    }
}
