//! Limits of a checked configuration: who is counted, how much is allowed, and
//! what a request takes.

use std::{
    fmt,
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use http::{HeaderName, StatusCode};
use ipnet::IpNet;
use thiserror::Error;

/// `[limits.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Its key in the file; its identity over reloads.
    pub name: Arc<str>,
    /// What tells one bucket from another; empty: one bucket for everyone.
    pub key: Vec<KeyPart>,
    /// What to do for an absent or empty part.
    pub missing: Missing,
    /// Another quota for requests in whose key a stand-in takes the place of an
    /// absent part.
    pub stand_ins: Option<Quota>,
    /// How much each key may do.
    pub quota: Quota,
    /// Tokens that a request takes; never more than a bucket holds.
    pub cost: Cost,
    /// Decides and is told, and refuses nothing.
    pub shadow: bool,
    /// Other numbers to try beside the live ones.
    pub candidate: Option<Candidate>,
    /// Only answers with these statuses use up tokens; `None`: every request
    /// does.
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
    /// The names under which it decides: its own and those of its tiers.
    pub fn deciding(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.name).chain(self.tiers.iter().map(|tier| &*tier.name))
    }
}

/// `count` tokens in each `period`, sustained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Tokens that come back in one period.
    pub count: NonZeroU32,
    /// At least one nanosecond for each token.
    pub period: Duration,
}

/// A sustained rate and the size of the bucket in front of it.
///
/// Every value of this type can be enforced: [`Quota::new`] checks the bounds
/// of the arithmetic once, where a configuration is read or an operator sends
/// numbers, and nothing behind it has to check them again.
///
/// ```
/// use std::{num::NonZeroU32, time::Duration};
/// use tidegate::policy::{Quota, Rate};
///
/// let three = NonZeroU32::new(3).ok_or("zero")?;
/// let quota = Quota::new(Rate { count: three, period: Duration::from_secs(1) }, three)?;
/// assert_eq!(quota.emission().get(), 333_333_334); // rounded up
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    rate: Rate,
    burst: NonZeroU32,
}

impl Quota {
    /// Longest time in which an empty bucket may fill, in nanoseconds: 2^61,
    /// about 73 years.
    ///
    /// Times are kept in 64 bits. With this bound a bucket's fill time, doubled
    /// by a conversion between two quotas and added to the clock, stays below
    /// the marks that the bucket table keeps at the top of that range.
    pub const LONGEST_FILL: u64 = 1 << 61;

    /// Pairs a rate with a burst.
    ///
    /// # Errors
    /// Fails if the period is zero, or if an empty bucket takes longer than
    /// [`Self::LONGEST_FILL`] to fill.
    pub fn new(rate: Rate, burst: NonZeroU32) -> Result<Self, QuotaError> {
        if rate.period.is_zero() {
            return Err(QuotaError::ZeroPeriod);
        }
        let fill = emission(rate).checked_mul(burst.get().into());
        if fill.is_none_or(|fill| fill > u128::from(Self::LONGEST_FILL)) {
            return Err(QuotaError::TooSlow { burst });
        }
        Ok(Self { rate, burst })
    }

    /// The sustained rate.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Tokens in a full bucket.
    pub const fn burst(&self) -> NonZeroU32 {
        self.burst
    }

    /// The emission interval: nanoseconds in which one token comes back.
    ///
    /// Rounded **up** to a whole nanosecond, so that no more than
    /// `burst + rate * time` is ever admitted. 1/d and 1,000,000/s are exact;
    /// at worst rounding takes one nanosecond per token (0.1 % at a million a
    /// second).
    pub fn emission(&self) -> NonZeroU64 {
        u64::try_from(emission(self.rate))
            .ok()
            .and_then(NonZeroU64::new)
            .unwrap_or(NonZeroU64::MIN)
    }
}

/// Nanoseconds per token, rounded up.
fn emission(rate: Rate) -> u128 {
    rate.period
        .as_nanos()
        .div_ceil(u128::from(rate.count.get()))
}

/// Numbers that no bucket can enforce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum QuotaError {
    /// The rate's period is zero.
    #[error("the period of the rate is zero")]
    ZeroPeriod,
    /// An empty bucket would take longer than [`Quota::LONGEST_FILL`] to fill.
    #[error("a bucket of {burst} tokens at this rate takes more than 73 years to fill")]
    TooSlow {
        /// The bucket's size.
        burst: NonZeroU32,
    },
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
        /// What it is taken to say when it does not say a whole number; at most
        /// `max`.
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
    pub quota: Quota,
}

/// One of `tiers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// What it is called: `LIMIT/56`.
    pub name: Arc<str>,
    /// Bits of an IPv6 address that count; fewer than the key's own.
    pub prefix: u8,
    /// How much it allows.
    pub quota: Quota,
}

/// One of `overrides`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Whom it is for: any of these, each with a pattern for each part of the
    /// key.
    pub matches: Vec<Vec<ValuePattern>>,
    /// How much it allows; `None`: everything.
    pub quota: Option<Quota>,
}

/// What a part of a key has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValuePattern {
    /// Anything.
    Any,
    /// This value.
    Text(Box<str>),
    /// An address in this network, which is no narrower than what the key tells
    /// apart.
    Network(IpNet),
}

/// A range of response statuses, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statuses {
    /// The lowest, from 200 on.
    pub first: u16,
    /// The highest, up to 599.
    pub last: u16,
}

impl Statuses {
    /// Whether `status` is in the range.
    pub fn contains(&self, status: StatusCode) -> bool {
        (self.first..=self.last).contains(&status.as_u16())
    }
}

/// One part of a key: something of a request that tells one bucket from
/// another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeyPart {
    /// The route's name.
    Route,
    /// The client's address.
    ClientIp {
        /// Leading bits of an IPv6 address that count, 1 to 128; by default 64.
        /// IPv4 addresses count whole.
        v6_prefix: u8,
    },
    /// A request header, without outer and repeated blanks.
    Header(HeaderName),
    /// A cookie, decoded.
    Cookie(Box<str>),
    /// A query parameter, decoded.
    Query(Box<str>),
    /// A parameter of the route's path; escapes that are needed are kept.
    Param(Box<str>),
    /// The request's host, in lower case and without its port.
    Host,
    /// The path in its normal form.
    Path,
    /// The method.
    Method,
    /// The distinguished name in the client's certificate.
    TlsSubject,
}

impl KeyPart {
    /// How this part is called and hashed. The one table of all kinds.
    #[inline]
    pub fn kind(&self) -> KeyKind<'_> {
        match self {
            Self::Route => KeyKind::new(1, "route"),
            Self::ClientIp { .. } => KeyKind::new(2, "client-ip"), // 3: an IPv6 network
            Self::Header(name) => KeyKind::new(4, "header").of(name.as_str()),
            Self::Cookie(name) => KeyKind::new(5, "cookie").of(name),
            Self::Query(name) => KeyKind::new(6, "query").of(name),
            Self::Param(name) => KeyKind::new(7, "param").of(name),
            Self::Host => KeyKind::new(8, "host"),
            Self::Path => KeyKind::new(9, "path"),
            Self::Method => KeyKind::new(10, "method"),
            Self::TlsSubject => KeyKind::new(11, "tls:subject"),
        }
    }
}

/// As the configuration calls it, such as `header:x-api-key`; addresses without
/// the number of their bits.
impl fmt::Display for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KeyKind { word, name, .. } = self.kind();
        match name {
            Some(name) => write!(f, "{word}:{name}"),
            None => f.write_str(word),
        }
    }
}

/// The kind of a [`KeyPart`], apart from its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyKind<'p> {
    /// What stands for it in the hash of a key. Keys in stores and in state
    /// files depend on it: a number is never changed and never used again. 0 is
    /// the name of the limit itself.
    pub number: u8,
    /// Its word in the configuration.
    pub word: &'static str,
    /// The name that follows the word, for a kind of which a request can have
    /// several.
    pub name: Option<&'p str>,
}

impl<'p> KeyKind<'p> {
    const fn new(number: u8, word: &'static str) -> Self {
        Self {
            number,
            word,
            name: None,
        }
    }

    const fn of(self, name: &'p str) -> Self {
        Self {
            name: Some(name),
            ..self
        }
    }
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
