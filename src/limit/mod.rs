//! Token buckets, decided on the path of a request between the route match and everything that costs something.
//!
//! A leaf, and pure: no logging, no input or output, nothing else of this crate. Read in this order:
//!
//! * `clock`: one reading of time serves all limits of a request.
//! * `key`: who is counted; only a keyed hash is kept.
//! * `gcra`: how much is allowed.
//! * `table`: where the state lives: bounded memory, atomics only.
//! * `core`: one bucket of a limit: what can be taken from it, and given back.
//! * `classes`: keys with quotas of their own.
//! * `limiter`: one limit: a quota over a table.
//! * `decide`: several limits, all or nothing.
//! * `reload`: other numbers for the same buckets.
//!
//! And for the person on call:
//!
//! * `saved`: debts as bytes, so that they outlive the process.
//! * `temporary`: other numbers for one key, for a while.
//! * `top`: the heaviest keys, in bounded memory; `label`: what they are made of.

mod classes;
mod clock;
mod core;
mod decide;
mod gcra;
mod key;
mod label;
mod limiter;
mod reload;
mod saved;
mod table;
mod temporary;
#[cfg(test)]
mod tests;
mod top;

pub use clock::{Clock, Now};
pub use decide::{Admission, Ask, Refusal, decide, would_admit};
pub use gcra::{Gcra, Standing};
pub use key::{Key, KeyBuilder, KeyHasher, KeyValue, NotAKey};
pub use label::{Label, Part};
pub use limiter::{Limiter, LimiterError, Stats};
pub use saved::{Damage, Debt, Encoder, Saved, saved_size};
pub use temporary::{Temporary, TemporaryError};
pub use top::{Count, Heavy, Top, Verdict};
