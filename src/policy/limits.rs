//! Limits of a checked configuration: who is counted, how much is allowed, and what a request takes.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use http::{HeaderName, StatusCode};
use ipnet::IpNet;

/// `[limits.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Its key in the file; its identity over reloads.
    pub name: Arc<str>,
    /// What tells one bucket from another; empty: one bucket for everyone.
    pub key: Vec<KeyPart>,
    /// What to do for an absent or empty part.
    pub missing: Missing,
    /// Other numbers for those whose key has a stand-in for an absent part.
    pub stand_ins: Option<Numbers>,
    /// Sustained pace.
    pub rate: Rate,
    /// Bucket size, in tokens.
    pub burst: NonZeroU32,
    /// Tokens that a request takes; never more than a bucket holds.
    pub cost: Cost,
    /// Decides and is told, and refuses nothing.
    pub shadow: bool,
    /// Other numbers to try beside the live ones.
    pub candidate: Option<Candidate>,
    /// Only answers with these statuses use up tokens; `None`: every request does.
    pub count: Option<Vec<Statuses>>,
    /// Other numbers for some keys; the first that matches wins.
    pub overrides: Vec<Override>,
    /// Wider IPv6 networks, each with numbers of its own.
    pub tiers: Vec<Tier>,
    /// Whether all gateways with the same store count together.
    pub shared: bool,
    /// Most buckets held at once.
    pub max_keys: NonZeroUsize,
    /// Status of a refusal, 400 to 599.
    pub status: StatusCode,
    /// Keys in debt outlive the process; there is a `state_dir` then.
    pub persist: bool,
}

impl Limit {
    /// Its own pace, and the bucket in front of it.
    pub fn numbers(&self) -> Numbers {
        Numbers {
            rate: self.rate,
            burst: self.burst,
        }
    }

    /// The names under which it decides: its own and those of its tiers.
    pub fn deciding(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.name).chain(self.tiers.iter().map(|tier| &*tier.name))
    }
}

/// `count` requests in each `period`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests.
    pub count: NonZeroU32,
    /// Time in which they come, at least a nanosecond per request.
    pub period: Duration,
}

/// A pace and the bucket in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// Sustained pace.
    pub rate: Rate,
    /// Bucket size, in tokens.
    pub burst: NonZeroU32,
}

/// What a request takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cost {
    /// Always as much.
    Fixed(u32),
    /// What a header says.
    Header {
        /// The header.
        name: HeaderName,
        /// What it is taken to say when it does not say a whole number; at most `max`.
        default: u32,
        /// More than this counts as this.
        max: u32,
    },
}

impl Cost {
    /// The most that it can come to.
    pub fn most(&self) -> u32 {
        match self {
            Self::Fixed(cost) => *cost,
            Self::Header { max, .. } => *max,
        }
    }
}

/// `candidate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// What its buckets are called: `LIMIT/candidate`.
    pub name: Arc<str>,
    /// How much it would allow.
    pub numbers: Numbers,
}

/// One of `tiers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// What it is called: `LIMIT/56`.
    pub name: Arc<str>,
    /// Bits of an IPv6 address that count; fewer than the key's own.
    pub prefix: u8,
    /// How much it allows.
    pub numbers: Numbers,
}

/// One of `overrides`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Whom it is for: any of these, each with a pattern for each part of the key.
    pub matches: Vec<Vec<ValuePattern>>,
    /// How much it allows; `None`: everything.
    pub numbers: Option<Numbers>,
}

/// What a part of a key has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValuePattern {
    /// Anything.
    Any,
    /// This value.
    Text(Box<str>),
    /// An address in this network, which is no narrower than what the key tells apart.
    Network(IpNet),
}

/// Statuses of answers, from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statuses {
    /// The lowest, from 200 on.
    pub first: u16,
    /// The highest, up to 599.
    pub last: u16,
}

/// One part of a limit's key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeyPart {
    /// The route's name.
    Route,
    /// The client's address, IPv6 cut to `v6_prefix` bits (default 64).
    ClientIp {
        /// Bits of an IPv6 address that count.
        v6_prefix: u8,
    },
    /// A request header.
    Header(HeaderName),
    /// A cookie.
    Cookie(Box<str>),
    /// A query parameter, decoded.
    Query(Box<str>),
    /// A parameter of the route's path.
    Param(Box<str>),
    /// The request's host, lower case, without its port.
    Host,
    /// The path in its normal form.
    Path,
    /// The method.
    Method,
    /// The distinguished name in the client's certificate.
    TlsSubject,
}

/// What a limit does with a request that lacks a part of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// Use this part instead.
    Use(KeyPart),
    /// Do not apply the limit.
    Skip,
    /// Refuse with the limit's status.
    Refuse,
}
