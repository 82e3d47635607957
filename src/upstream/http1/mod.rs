//! The HTTP/1.1 client: connections that carry one request at a time.
//!
//! * `connection`: a socket with its buffers.
//! * `pool`: the idle connections of each worker, and those in use.
//! * `exchange`: a request on its way to the server, and the wait for the
//!   response's head.
//! * `upload`: the request's body on its way to the server.
//! * `body`: the response's body on its way to the client; it ends by pooling
//!   or closing the connection.
//! * `abandoned`: a request whose client has left.
//! * `tunnel`: a connection that has switched to another protocol.
//!
//! # The life of a connection
//!
//! ```text
//! made ──> leased ──> exchange ──> body ──> pooled ──> leased ...
//!             │           │          │         └─ too old, closed by its server: closed
//!             │           │          └─ cut, or bytes left over: closed
//!             │           └─ 101: tunnel; client gone: closed, or abandoned
//!             └─ dropped: closed
//! ```
//!
//! The holder of the lease owns the socket: there is no task for a connection.
//!
//! hyper's client is not used, for the reasons that [`crate::http1`] gives:
//! strict framing, interim responses, and failures told apart by what the
//! server has seen.

mod abandoned;
mod body;
mod connection;
mod exchange;
mod pool;
mod tunnel;
mod upload;

pub(super) use self::{
    exchange::{Http1Exchange, MOST_INTERIMS},
    pool::{Acquired, Http1Pool, Lease, Reuse},
};
