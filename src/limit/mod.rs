//! Token buckets, and caps on requests in flight, in bounded memory, decided
//! between the route match and everything that costs something.
//!
//! A leaf, and pure: no logging, no input or output, and of this crate only
//! plain policies and the worker's number.
//!
//! # From a request to a decision
//!
//! A [`Limiter`] is a [`Quota`](crate::policy::Quota) over a table of buckets.
//! Each bucket belongs to one [`Key`], a keyed hash of what the limit counts
//! by, and is one number: the *theoretical arrival time* (TAT) of the generic
//! cell rate algorithm (GCRA), see `gcra`. A TAT in the past is a full bucket,
//! and each token moves it into the future; time does the refilling. A decision
//! is therefore a comparison, an addition and one compare-and-swap in the
//! table, see `table`: no lock, no allocation, no timer.
//!
//! The table holds at most as many keys as the limit may. Keys whose buckets
//! are full again make room for new ones, and if all are in debt, new keys
//! share one *overflow bucket*: a flood of made-up keys takes neither memory
//! nor anybody's tokens.
//!
//! Several limits decide together, all or nothing ([`decide`]). Tiers of a
//! limit (wider IPv6 networks) and its candidate are limiters of their own,
//! asked beside it by `layer::rate_limit`. A limit that gateways share keeps
//! its buckets in the `store`, by the same arithmetic; its [`Limiter`] then
//! decides only while the store does not answer.
//!
//! ```
//! use std::{num::{NonZeroU32, NonZeroUsize}, time::Duration};
//! use tidegate::limit::{Ask, Clock, KeyHasher, Limiter, decide};
//! use tidegate::policy::{Quota, Rate};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Ten per second, in bursts of up to two, for at most a thousand keys.
//! let rate = Rate { count: 10, period: Duration::from_secs(1) };
//! let quota = Quota::new(rate, NonZeroU32::new(2).ok_or("zero")?)?;
//! let limiter = Limiter::new("everyone", quota, NonZeroUsize::new(1000).ok_or("zero")?)?;
//!
//! // All three requests come at the same moment.
//! let now = Clock.now();
//! let ask = Ask::new(&limiter, KeyHasher::new().key("everyone").finish(), 1);
//! assert!(decide(now, &[ask]).is_ok());
//! assert!(decide(now, &[ask]).is_ok());
//! let refusal = decide(now, &[ask]).expect_err("the bucket is empty");
//! assert_eq!(refusal.retry_after, Duration::from_millis(100));
//! assert!(decide(now.after(refusal.retry_after), &[ask]).is_ok());
//! # Ok(())
//! # }
//! ```
//!
//! # Reading order
//!
//! * `clock`: one reading of time serves all limits of a request.
//! * `key`: names of buckets, and what it takes to add a kind of key part.
//! * `gcra`: the arithmetic of one bucket.
//! * `table`, `pages`: where buckets live, and their memory.
//! * `core`: the state of a limit, and the operations on one bucket of it;
//!   `lineage`: the part of the state that a reload keeps.
//! * `quick`: the same operations for buckets in their usual state.
//! * `classes`, `temporary`: keys with quotas of their own, by configuration
//!   and for a while.
//! * `bans`: keys that are refused for a while, without a decision.
//! * `token_queues`: requests that wait for their tokens.
//! * `limiter`: one limit.
//! * `decide`: several limits, all or nothing; `preview`: the same without
//!   taking.
//! * `settle`: requests that turn out to cost more or less than they took.
//! * `reload`: another quota for the same buckets.
//! * `in_flight`: the other kind of limit, which counts the requests in flight
//!   of each key.
//!
//! And for operators:
//!
//! * `saved`: debts as bytes, so that they outlive the process.
//! * `top`, `label`: the heaviest keys, in bounded memory, and how they are
//!   shown.

mod bans;
mod classes;
mod clock;
mod core;
mod decide;
mod error;
mod gcra;
mod in_flight;
mod key;
mod label;
mod limiter;
mod lineage;
mod pages;
mod preview;
mod quick;
mod reload;
mod saved;
mod settle;
mod table;
mod temporary;
#[cfg(test)]
mod tests;
mod token_queues;
mod top;

pub use bans::{AddressBans, BanStats, BannedKey, Bans, Swept};
pub use clock::{Clock, Now};
pub use decide::{Admission, Ask, Refusal, decide};
pub use error::LimiterError;
pub(crate) use gcra::MOST_OWED;
pub use gcra::{Gcra, Standing};
pub use in_flight::{InFlightStats, KeyPermit, KeysInFlight};
pub use key::{Key, KeyBuilder, KeyHasher, KeyValue, NotAKey};
pub use label::{Label, Part};
pub use limiter::{Limiter, Stats};
pub use preview::{time_until_admitted, would_admit, would_refuse};
pub use saved::{Damage, Debt, Encoder, Saved, saved_size};
pub use temporary::{GivenQuota, Temporary, TemporaryError};
pub use token_queues::{TokenPlace, TokenQueueStats, TokenQueues, WaitEnd};
pub use top::{Count, Heavy, Top, Verdict};
