//! The server: sockets in, [`Arrival`]s out to whatever service it is given. Nothing here knows what a route is.

mod answer;
mod connection;

mod transfer;
mod wire;

pub use connection::{Arrival, ConnectionLimits, serve};
