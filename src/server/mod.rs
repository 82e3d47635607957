//! The server: sockets in, [`Arrival`]s out to whatever service it is given. Nothing here knows what a route is.

mod accept;
mod answer;
mod arrival;
mod connection;
mod entrance;
mod head;
mod http2;
mod listener;
pub mod proxy_protocol;
mod socket;
mod transfer;
mod tunnel;
mod wire;
mod worker;

pub use accept::{Door, DoorSettings, accept};
pub use arrival::{Arrival, ConnectionLimits};
use connection::serve;
pub use listener::{Accepted, Listener, bind};
pub use socket::Socket;
pub use worker::Worker;
