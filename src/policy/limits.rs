//! Limits of a checked configuration: which requests count together, how much
//! each key may have, and how many tokens a request takes.
//!
//! The algorithm behind rates is a token bucket, computed as GCRA (generic cell
//! rate algorithm, ITU-T I.371) in whole nanoseconds: see
//! [`limit`](crate::limit). `layer::rate_limit` makes the key of a request from
//! the parts here, and asks the limiter or the shared store.

use std::{
    iter,
    net::IpAddr,
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use http::StatusCode;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Allowance, Cost, KeyPart, Prefixes, Statuses};

/// `[limits.NAME]`: a token bucket or a cap for each key, shared by all routes
/// that name the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// The limit's key in the file, which identifies it across reloads and in
    /// metrics.
    pub name: Arc<str>,
    /// The parts whose values together select a bucket. Empty: one bucket for
    /// all requests.
    pub key: Vec<KeyPart>,
    /// How a request is treated in which a part of the key is absent or empty.
    pub missing: Missing,
    /// The allowance of keys in which another part replaces an absent one;
    /// `None` if they have the limit's own.
    pub stand_ins: Option<Allowance>,
    /// The allowance of each key that no override matches.
    pub allowance: Allowance,
    /// Tokens that a request takes; at most the burst of any quota that can
    /// apply to it, as a request above it could never be admitted. One for a
    /// cap on requests in flight.
    pub cost: Cost,
    /// Whether the limit decides and counts, and refuses nothing.
    pub shadow: bool,
    /// Another allowance that is tried on the same requests, beside the live one
    /// and without effect on them.
    pub candidate: Option<Candidate>,
    /// The statuses of responses that use up tokens; the tokens of all other
    /// requests are given back. `None` if every admitted request uses its
    /// tokens.
    pub count: Option<Vec<Statuses>>,
    /// Allowances for some keys, in the order of the file; the first one that
    /// matches applies.
    pub overrides: Vec<Override>,
    /// Allowances of identified clients by their plan. Overrides come before
    /// them.
    pub plans: Vec<Plan>,
    /// Wider networks around the client's address, each with an allowance of
    /// its own. They decide together with the limit, and all admit or none
    /// does.
    pub tiers: Vec<Tier>,
    /// The longest wait for tokens of a request that would be refused
    /// otherwise, up to a minute; `None` if none waits.
    pub delay: Option<Duration>,
    /// How keys come to be refused for a while; `None` if none is.
    pub ban: Option<Ban>,
    /// Whether all gateways with the same store count together.
    pub shared: bool,
    /// The most buckets in memory, 1 to 100,000,000; each tier and the
    /// candidate have a table of this size of their own.
    pub max_keys: NonZeroUsize,
    /// The status of a refusal, 400 to 599.
    pub status: StatusCode,
    /// Whether keys in debt survive a restart. The server has a `state_dir`
    /// then.
    pub persist: bool,
}

impl Limit {
    /// The names under which this limit decides, as in metrics: its own, then
    /// those of its tiers. The candidate is not among them, as it refuses
    /// nothing.
    pub fn deciding(&self) -> impl Iterator<Item = &Arc<str>> {
        iter::once(&self.name).chain(self.tiers.iter().map(|tier| &tier.name))
    }
}

/// `ban` of a limit: a key that the limit has refused often is refused for a
/// while without a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ban {
    /// The refusals with the last of which a ban begins.
    pub refusals: NonZeroU32,
    /// The time from the first of them in which they count together.
    pub within: Duration,
    /// How long a ban lasts.
    pub time: Duration,
    /// Where a banned key is refused.
    pub at: BanAt,
}

/// Where a banned key is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BanAt {
    /// Each request gets the limit's status.
    // A client is told why, and for how long.
    #[default]
    Request,
    /// Connections are closed when they are accepted as well. The key of the
    /// limit is the client's address alone.
    Connection,
}

/// `candidate` of a limit: an allowance that is tried beside the live one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The name of its buckets in metrics: `LIMIT/candidate`. No limit has this
    /// name.
    pub name: Arc<str>,
    /// The allowance that is tried.
    pub allowance: Allowance,
}

/// One of `tiers` of a limit: a bucket for a wider network. A client with IPv6
/// often has many /64 networks, and could use another one for each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// The name of the tier in refusals and metrics: `LIMIT/56` for IPv6 alone,
    /// `LIMIT/v4-24` for IPv4 alone, `LIMIT/24-56` for both. No limit has this
    /// name.
    pub name: Arc<str>,
    /// The networks that it counts by.
    pub networks: TierNetworks,
    /// The allowance of each network.
    pub allowance: Allowance,
}

impl Tier {
    /// Leading bits of this address that count; `None` if addresses of its kind
    /// have no bucket here. IPv4-mapped addresses are taken for IPv6.
    pub fn bits(&self, ip: IpAddr) -> Option<u8> {
        match (self.networks, ip) {
            (TierNetworks::V4(v4) | TierNetworks::Both(Prefixes { v4, .. }), IpAddr::V4(_)) => {
                Some(v4)
            }
            (TierNetworks::V6(v6) | TierNetworks::Both(Prefixes { v6, .. }), IpAddr::V6(_)) => {
                Some(v6)
            }
            _ => None,
        }
    }
}

/// The networks of a [`Tier`], in leading bits of an address: fewer than those
/// of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TierNetworks {
    /// Of IPv4 alone, 1 to 31 bits.
    V4(u8),
    /// Of IPv6 alone, 1 to 127 bits.
    V6(u8),
    /// Of both, under one allowance.
    Both(Prefixes),
}

/// One of `overrides` of a limit: an allowance for some keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The keys that it applies to: any of these, each with a pattern for every
    /// part of the limit's key, in the same order.
    pub matches: Vec<Vec<ValuePattern>>,
    /// The allowance of each of these keys; `None` if everything is admitted.
    pub allowance: Option<Allowance>,
}

/// One of `plans` of a limit: the allowance of each client with a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The plan, as API keys and claims name it.
    pub name: Box<str>,
    /// The allowance of each key of a client with the plan; `None` if
    /// everything is admitted.
    pub allowance: Option<Allowance>,
}

/// The condition on one part of a key in an [`Override`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValuePattern {
    /// Any value: `"*"` in the configuration.
    Any,
    /// Exactly this value, in the form in which the values of requests are
    /// compared.
    Text(Box<str>),
    /// An address in this network, which is no narrower than the networks that
    /// the key tells apart.
    Network(IpNet),
}

/// How a limit treats a request that lacks a part of its key.
///
/// A header, cookie or query parameter that a request has twice, with different
/// values, counts as missing too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// The value of this part takes the place of the missing one. If that is
    /// missing too, the request is refused.
    Use(KeyPart),
    /// The limit does not apply to the request.
    Skip,
    /// The request is refused with the limit's status.
    Refuse,
}
