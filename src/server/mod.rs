//! The server: sockets in, [`Arrival`]s out to the service that it is given.
//! Routes are unknown here.
//!
//! In the order in which a connection meets them:
//!
//! * `bind`, `worker`, `accept`: each worker accepts on a socket of its own.
//! * `listener`, `clients`, `eviction`, `slots`: the bounds on open
//!   connections, and the choice of the one that is closed for a new one.
//! * `handshake`, [`proxy_protocol`]: before the first request.
//! * `http1`, `http2`: the protocols. Both call the same service.
//! * `linger`: the end of a connection whose client still sends.
//!
//! # The task of a connection
//!
//! Each connection is one task on the worker that accepted it, and stays there.
//! For HTTP/1 it serves one request at a time, and for HTTP/2 it has a task for
//! each stream. Dropping the task drops the request in flight with all that it
//! holds, so nothing has to be told when a client leaves.
//!
//! # Bounds
//!
//! Nothing that a client can do without a request costs more than a connection:
//! the number of connections in all, by listener and by client is bounded, and
//! so is the time for a PROXY protocol header, a TLS handshake and a head, and
//! the silence between requests. A panic in a task ends that connection alone
//! and is counted.

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
