//! `[limits.NAME]`: token buckets, and caps on requests in flight.

use std::num::{NonZeroU32, NonZeroUsize};

use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    super::field::{Field, Nested},
    lists::{List, OneOrList, OneOrMany, Tables},
    numbers::{Number, TokensOrSize, Whole},
    scalar::{Or, Scalar, Unlimited},
    syntaxes::{
        Absent, CostAt, Delay, Header, KeyValue, Part, PerTime, PositiveDuration, StatusOrClass,
    },
    tables::{Either, Named},
};
use crate::policy::BanAt;

/// A cost. Tokens are counted in 32 bits.
pub(in crate::config) type Tokens = Whole<u32, 0, { u32::MAX as u64 }>;
/// The size of a bucket, in tokens. Rate and burst together have a further
/// bound, which [`Quota::new`](crate::policy::Quota::new) checks.
pub(in crate::config) type Burst = Scalar<TokensOrSize>;
/// Requests in flight of one key, counted in 32 bits.
pub(in crate::config) type MostInFlight = Scalar<InFlightNumber>;
/// The language of such a number.
pub(in crate::config) type InFlightNumber = Number<NonZeroU32, 1, { u32::MAX as u64 }>;
/// Buckets of one limit: at the most, 7.2 GB of memory.
type MostKeys = Whole<NonZeroUsize, 1, 100_000_000>;

/// A token bucket for each key, or a cap on its requests in flight.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(extend("oneOf" = one_kind()))]
pub(in crate::config) struct Limit {
    /// Parts that select the bucket of a request: "client-ip", "client-ip/56"
    /// (IPv6 prefix), "client-ip/24/56" (IPv4 and IPv6), "header:NAME",
    /// "cookie:NAME", "query:NAME", "param:NAME" (of the route's path), "route",
    /// "host", "path", "method", "tls:subject", "identity", "plan",
    /// "claim:NAME"; a list is one composite key; absent: one bucket for
    /// everyone.
    pub(in crate::config) key: Option<Field<OneOrList<Scalar<Part>>>>,
    /// Sustained rate: "100/s", "30/m", "1000/h", "10000/d" or "5/10s"; of bytes
    /// "10MiB/s".
    pub(in crate::config) rate: Option<Field<Scalar<PerTime>>>,
    /// Size of the bucket, in tokens, or of bytes such as "50MiB"; absent: the
    /// number of the rate.
    pub(in crate::config) burst: Option<Field<Burst>>,
    /// Most requests in flight of each key, to the end of the response body,
    /// instead of a rate.
    pub(in crate::config) in_flight: Option<Field<MostInFlight>>,
    /// Replacement for a part of the key that is absent or empty: another part,
    /// "skip" (the limit does not apply), or "refuse"; or a table: another part
    /// with numbers of its own.
    #[serde(default = "missing")]
    pub(in crate::config) missing: Field<Either<Scalar<Absent>, StandIns>>,
    /// "local": this gateway counts alone; "shared": all gateways with the same
    /// `[store]` count together.
    #[serde(default)]
    pub(in crate::config) scope: Field<Scope>,
    /// Tokens that a request takes: a number, or a table: what a header says, or
    /// what the response turns out to cost.
    #[serde(default = "cost_of_a_request")]
    pub(in crate::config) cost: Field<Either<Tokens, Cost>>,
    /// "shadow" decides, counts and logs, but refuses nothing.
    #[serde(default)]
    pub(in crate::config) mode: Field<Mode>,
    /// Other numbers, tried beside the live ones on the same keys; they refuse
    /// nothing and are counted.
    pub(in crate::config) candidate: Nested<Candidate>,
    /// Only responses with these statuses use tokens, such as "401" and "5xx";
    /// absent: every request does.
    pub(in crate::config) count: Option<Field<List<Scalar<StatusOrClass>>>>,
    /// Other numbers for some keys; the first that matches wins.
    pub(in crate::config) overrides: Option<Field<Tables<Override>>>,
    /// Other numbers for identified clients, by the name of their plan;
    /// overrides come before them.
    pub(in crate::config) plans: Option<Field<Named<Plan>>>,
    /// Wider networks, each with a bound of its own, for a key with
    /// `client-ip`; they decide together with the limit.
    pub(in crate::config) tiers: Option<Field<Tables<Tier>>>,
    /// Longest wait for its tokens of a request that would be refused
    /// otherwise, up to "1m"; absent: none waits.
    pub(in crate::config) delay: Option<Field<Scalar<Delay>>>,
    /// A key that this limit refuses often is refused for a while, without a
    /// decision.
    pub(in crate::config) ban: Nested<Ban>,
    /// Most buckets in memory.
    // 72 MB when they are all there, and more clients than one gateway sees
    // within a bucket's time.
    #[serde(default = "MostKeys::value::<1_000_000>")]
    pub(in crate::config) max_keys: Field<MostKeys>,
    /// Keys in debt survive a restart; needs `state_dir` of `[server]`.
    #[serde(default)]
    pub(in crate::config) persist: Field<bool>,
    /// Status of a refusal.
    // Too Many Requests (RFC 6585).
    #[serde(default = "RefusalStatus::value::<429>")]
    pub(in crate::config) status: Field<RefusalStatus>,
}

/// The status of a refusal: an error that a client understands as one.
type RefusalStatus = Whole<StatusCode, 400, 599>;

/// The schema of tables that have a rate or a number of requests in flight.
fn one_kind() -> serde_json::Value {
    json!([{ "required": ["rate"] }, { "required": ["in_flight"] }])
}

/// A client that sends no key is still someone: leaving a header out must not
/// free it of its limit.
fn missing() -> Field<Either<Scalar<Absent>, StandIns>> {
    let part = Scalar::by_default("client-ip".to_owned());
    Field::by_default(part.value.map(Either::Short))
}

/// Most limits count requests.
fn cost_of_a_request() -> Field<Either<Tokens, Cost>> {
    Field::by_default(Tokens::value::<1>().value.map(Either::Short))
}

/// Where the tokens of a limit are counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Scope {
    /// This process alone.
    // The choice that needs nothing else to be installed.
    #[default]
    Local,
    /// All gateways with the same store, together.
    Shared,
}

/// Whether a limit has consequences.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Mode {
    /// It refuses requests.
    // A limit that is written down is meant.
    #[default]
    Enforce,
    /// It decides, counts and logs only.
    Shadow,
}

/// Requests without the key are counted by another part, under other numbers.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(extend("oneOf" = one_kind()))]
pub(in crate::config) struct StandIns {
    /// Part that stands in for the one that is absent.
    pub(in crate::config) key: Field<Scalar<Part>>,
    /// Sustained rate, such as "400/s".
    pub(in crate::config) rate: Option<Field<Scalar<PerTime>>>,
    /// Size of the bucket, in tokens; absent: the number of the rate.
    pub(in crate::config) burst: Option<Field<Burst>>,
    /// Most requests in flight of each key.
    pub(in crate::config) in_flight: Option<Field<MostInFlight>>,
}

/// A cost that a header of the request tells, or that is known in the end.
/// Clients that can set the header choose their cost: take it from a proxy of
/// yours.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(extend("oneOf" = one_place()))]
pub(in crate::config) struct Cost {
    /// The header of the request; it holds a whole number from 0.
    pub(in crate::config) header: Option<Field<Scalar<Header>>>,
    /// Cost of a request without the header, or with something else in it.
    #[serde(default = "Tokens::value::<1>")]
    pub(in crate::config) default: Field<Tokens>,
    /// Where the cost is found that is known in the end:
    /// "response-header:NAME", "response-trailer:NAME", "response-json:PATH" (a
    /// number in the JSON of the response, or in the last of its events that has
    /// it), "request-bytes", "response-bytes" or "bytes" (both).
    pub(in crate::config) from: Option<Field<Scalar<CostAt>>>,
    /// Tokens that are taken at admission, until the cost is known; the
    /// difference comes back or is owed.
    // The least with which a key in debt is refused.
    #[serde(default = "Burst::value::<1>")]
    pub(in crate::config) reserve: Field<Burst>,
    /// Larger costs count as this one; with `header` required, and at most the
    /// burst; with `from` absent: only the bound of debts counts, ten bursts.
    pub(in crate::config) max: Option<Field<Burst>>,
}

/// The schema of tables that have one place of a cost.
fn one_place() -> serde_json::Value {
    json!([{ "required": ["header", "max"] }, { "required": ["from"] }])
}

/// How keys come to be refused for a while.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Ban {
    /// Refusals with the last of which a ban begins.
    pub(in crate::config) refusals: Field<Whole<NonZeroU32, 1, 1_000_000>>,
    /// Time in which they count together, from the first on.
    pub(in crate::config) within: Field<Scalar<PositiveDuration>>,
    /// How long a ban lasts.
    pub(in crate::config) r#for: Field<Scalar<PositiveDuration>>,
    /// Where a banned key is refused: "request", or "connection", which
    /// closes connections of the address when they are accepted as well.
    #[serde(default)]
    pub(in crate::config) at: Field<BanAt>,
}

/// Numbers to try.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(extend("oneOf" = one_kind()))]
pub(in crate::config) struct Candidate {
    /// Sustained rate, such as "400/s".
    pub(in crate::config) rate: Option<Field<Scalar<PerTime>>>,
    /// Size of the bucket, in tokens; absent: the number of the rate.
    pub(in crate::config) burst: Option<Field<Burst>>,
    /// Most requests in flight of each key.
    pub(in crate::config) in_flight: Option<Field<MostInFlight>>,
}

/// Other numbers for some keys.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(extend("oneOf" = one_kind()))]
pub(in crate::config) struct Override {
    /// Values of the key; for a composite key lists with a value for each part,
    /// "*" for any; a part that is the client's address takes networks, too.
    pub(in crate::config) r#match: Field<OneOrList<OneOrMany<Scalar<KeyValue>>>>,
    /// Sustained rate; "unlimited" passes everything, tiers too.
    pub(in crate::config) rate: Option<Field<Or<Unlimited, PerTime>>>,
    /// Size of the bucket, in tokens; absent: the number of the rate.
    pub(in crate::config) burst: Option<Field<Burst>>,
    /// Most requests in flight; "unlimited" passes everything, tiers too.
    pub(in crate::config) in_flight: Option<Field<Or<Unlimited, InFlightNumber>>>,
}

/// Other numbers for the clients of a plan.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(extend("oneOf" = one_kind()))]
pub(in crate::config) struct Plan {
    /// Sustained rate; "unlimited" passes everything, tiers too.
    pub(in crate::config) rate: Option<Field<Or<Unlimited, PerTime>>>,
    /// Size of the bucket, in tokens; absent: the number of the rate.
    pub(in crate::config) burst: Option<Field<Burst>>,
    /// Most requests in flight; "unlimited" passes everything, tiers too.
    pub(in crate::config) in_flight: Option<Field<Or<Unlimited, InFlightNumber>>>,
}

/// A wider network of clients.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(extend("oneOf" = one_kind()))]
pub(in crate::config) struct Tier {
    /// Bits of an IPv6 address that count, fewer than the key's; absent: only
    /// IPv4 is counted.
    pub(in crate::config) prefix: Option<Field<Whole<u8, 1, 127>>>,
    /// Bits of an IPv4 address that count, fewer than the key's; absent: only
    /// IPv6 is counted.
    pub(in crate::config) prefix4: Option<Field<Whole<u8, 1, 31>>>,
    /// Sustained rate, such as "400/s".
    pub(in crate::config) rate: Option<Field<Scalar<PerTime>>>,
    /// Size of the bucket, in tokens; absent: the number of the rate.
    pub(in crate::config) burst: Option<Field<Burst>>,
    /// Most requests in flight of each key.
    pub(in crate::config) in_flight: Option<Field<MostInFlight>>,
}
