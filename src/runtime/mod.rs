//! The services of a worker thread to everything that runs on it: its number,
//! state apart from that of other workers, a cheap timer and the buffers of its
//! sockets. A leaf.
//!
//! A worker is a thread with a current-thread runtime of its own. A connection
//! is served on one worker from accept to close, so nothing here is sent
//! between threads while a request is served. State that each request touches
//! is kept once per worker ([`PerWorker`]), so that no two workers write to the
//! same cache line.
//!
//! * [`worker`]: the number of the current thread.
//! * [`timer`]: timeouts that are cheap to move and honest under load. They
//!   replace those of tokio on the path of a request.
//! * [`io`]: reads into a shared buffer.
//! * [`output`]: bytes that wait to be written.
//! * [`socket`]: reads and writes that do not wait, with few instructions.
//! * [`spare`]: buffers for heads.

pub mod io;
pub mod output;
mod per_worker;
pub mod socket;
pub mod spare;
pub mod timer;
pub mod worker;

pub use self::per_worker::{LazyPerWorker, PerWorker};
