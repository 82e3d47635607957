//! The server: sockets in, [`Arrival`]s out to the service that it is given.
//! Routes are unknown here.
//!
//! In the order in which a connection meets them:
//!
//! * `bind`, `worker`, `accept`: each worker accepts on a socket of its own.
//! * `listener`, `clients`, `eviction`, `slots`: how many connections may be
//!   open, and which one is closed for a new one.
//! * `handshake`, [`proxy_protocol`]: before the first request.
//! * `http1`, `http2`: the protocols. Both call the same service.
//! * `linger`: the end of a connection whose client still sends.

mod accept;
mod arrival;
mod bind;
mod clients;
mod connection;
mod eviction;
mod handshake;
mod http1;
mod http2;
mod linger;
mod listener;
mod log_throttle;
pub mod proxy_protocol;
mod slots;
mod socket;
mod worker;

pub use accept::accept;
pub use arrival::Arrival;
pub use bind::{Accept, Accepted, DualStack, Sockets, bind};
pub use clients::AllConnections;
pub use listener::{Listener, ListenerSettings};
pub use socket::Socket;
pub use worker::Worker;
