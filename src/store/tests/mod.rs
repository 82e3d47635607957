//! Tests of shared limits: the arithmetic without a server, then the script and
//! the whole store on a real one.

mod caps;
mod cluster;
mod found;
mod leases;
#[path = "../../../tests/support/redis.rs"]
mod redis_server;
mod script;
mod simulation;
mod whole;

use crate::limit::Gcra;

/// A quota of `burst` tokens, one of which comes back in `emission`
/// nanoseconds.
const fn gcra(emission: u64, burst: u32) -> Gcra {
    Gcra::from_parts(emission, burst)
}
