//! The services of a worker thread to all that runs on it: its number, state
//! apart from that of other workers, a cheap timer and the buffers of its
//! sockets. A leaf.
//!
//! A worker is a thread with a runtime of its own. State that each request
//! touches is kept once per worker ([`PerWorker`]), so that no two workers
//! write to the same cache line.

pub mod io;
mod per_worker;
pub mod timer;
pub mod worker;

pub use self::per_worker::{LazyPerWorker, PerWorker};
