//! Costs: how many tokens a request takes from each bucket of a limit.

use std::num::NonZeroU32;

use http::HeaderName;

use super::JsonPath;

/// How many tokens a request takes from each bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cost {
    /// Always this number; 0 always passes.
    Fixed(u32),
    /// The number in a request header.
    Header {
        /// The header. Only a single line with a whole number from 0 on counts.
        name: HeaderName,
        /// The cost of a request without such a number in the header: it is
        /// absent, has two lines, a sign or a fraction. At most `max`.
        default: u32,
        /// The highest cost; larger numbers count as this one.
        max: u32,
    },
    /// Known only when the request ends.
    InTheEnd(EndCost),
}

/// A cost that is known only when the request ends. Some tokens are reserved
/// until then; the difference comes back, or is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndCost {
    /// Where the cost is found.
    pub source: CostSource,
    /// The tokens that a request takes when it is admitted, and the cost of one
    /// whose cost stays unknown. Not 0, so that a key in debt is refused.
    pub reserve: NonZeroU32,
    /// The highest cost, at least `reserve`; larger numbers count as this one.
    /// `None` if only the bound of debts counts.
    pub max: Option<NonZeroU32>,
}

/// Where the cost of a request is found that is known in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CostSource {
    /// A header of the response.
    ResponseHeader(HeaderName),
    /// A trailer of the response.
    ResponseTrailer(HeaderName),
    /// A number in the JSON of the response, or in its events.
    ResponseJson(JsonPath),
    /// The length of the request body, in bytes.
    RequestBytes,
    /// The length of the response body, in bytes.
    ResponseBytes,
    /// The length of both bodies, in bytes.
    Bytes,
}

impl Cost {
    /// The most tokens that a request takes when it is admitted, which have to
    /// fit into every burst.
    pub fn most(&self) -> u32 {
        match self {
            Self::Fixed(cost) => *cost,
            Self::Header { max, .. } => *max,
            Self::InTheEnd(cost) => cost.reserve.get(),
        }
    }

    /// The cost, if it is known in the end.
    pub fn in_the_end(&self) -> Option<&EndCost> {
        match self {
            Self::InTheEnd(cost) => Some(cost),
            Self::Fixed(_) | Self::Header { .. } => None,
        }
    }

    /// Whether the tokens of the limit are bytes.
    pub fn is_in_bytes(&self) -> bool {
        self.in_the_end().is_some_and(|cost| cost.source.is_bytes())
    }
}

impl EndCost {
    /// A number of tokens, cut to the highest cost.
    pub fn at_most(&self, tokens: u64) -> u64 {
        self.max.map_or(tokens, |max| tokens.min(max.get().into()))
    }
}

impl CostSource {
    /// Whether the cost is a number of bytes.
    pub fn is_bytes(&self) -> bool {
        self.counts_request() || self.counts_response()
    }

    /// Whether the bytes of the request body count.
    pub fn counts_request(&self) -> bool {
        matches!(self, Self::RequestBytes | Self::Bytes)
    }

    /// Whether the bytes of the response body count.
    pub fn counts_response(&self) -> bool {
        matches!(self, Self::ResponseBytes | Self::Bytes)
    }
}
