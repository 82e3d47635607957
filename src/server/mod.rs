//! The server: sockets in, [`Arrival`]s out to whatever service it is given. Nothing here knows what a route is.

mod accept;
mod answer;
mod arrival;
mod connection;
mod crowd;
mod door;
mod entrance;
mod head;
mod http2;
mod idle;
mod linger;
mod listener;
mod places;
pub mod proxy_protocol;
mod socket;
mod transfer;
mod tunnel;
mod wire;
mod worker;

pub use accept::accept;
pub use arrival::{Arrival, ConnectionLimits};
use connection::serve;
pub use crowd::Crowd;
pub use door::{Door, DoorSettings};
pub use listener::{Accepted, Listener, bind};
pub use socket::Socket;
pub use worker::Worker;
