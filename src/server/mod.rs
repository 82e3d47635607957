//! The server: sockets in, [`Arrival`](crate::message::Arrival)s out to the
//! service that it is given. Routes are unknown here.
//!
//! In the order in which a connection meets them:
//!
//! * `bind`, `worker`, `accept`, `incoming`: each worker accepts on a socket of
//!   its own.
//! * `listener`, `connections`, `slots`: how many connections may be open, and
//!   which one is closed for a new one.
//! * `handshake`, [`proxy_protocol`]: before the first request.
//! * `connection`: everything that serving a connection takes, in either
//!   protocol.
//! * `http1`, `http2`: the protocols. Both call the same service.
//! * `linger`: the end of a connection whose client still sends.
//!
//! # The service
//!
//! Any tower service from an [`Arrival`](crate::message::Arrival) to a
//! [`Response`](crate::message::Response) that never fails can be served. Each
//! request gets a clone of it that was seen ready. A response may end its
//! connection
//! ([`Hangup`](crate::message::Hangup)), carry guards in its body that live
//! until its last byte is written, or switch protocols by a
//! [tunnel](crate::body::Body::tunnel) in place of its body.
//!
//! # Bounds
//!
//! Everything that a client can make larger has a bound: connections of a
//! listener, of the process and of one client; the bytes, lines and duration of
//! a head; bytes that are read ahead of their reader (64 KiB); the silence
//! between requests; streams, frames and resets of HTTP/2; TLS handshakes that
//! are computed at once; and the time for which a connection lingers.
//!
//! # Cancellation
//!
//! A connection is one task, and a stream of HTTP/2 another one that the
//! connection owns. A client that leaves ends the task, or resets the stream,
//! which drops the future of the service.

mod accept;
mod bind;
mod connection;
mod connections;
mod handshake;
mod http1;
mod http2;
mod incoming;
mod linger;
mod listener;
mod log_throttle;
pub mod proxy_protocol;
mod settings;
mod slots;
mod socket;
mod unix;
mod worker;

pub use accept::accept;
pub use bind::{DualStack, SharedPort, Sockets, bind};
pub use connection::RequestService;
pub use connections::AllConnections;
pub use incoming::{Accept, Accepted};
pub use listener::Listener;
pub use settings::ListenerSettings;
pub use socket::Socket;
pub use unix::{FileId, LockWait, SocketFile, bind_unix};
pub use worker::Worker;
