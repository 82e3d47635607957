//! The vocabulary of the gateway: every policy as plain data, with names
//! resolved, ranges kept and defaults filled in.
//!
//! The configuration resolves into these types, and the parts that run take
//! them as they are. A leaf: nothing here reads a file, waits, or knows another
//! module.

mod headers;
mod health;
mod limits;
pub mod path;
mod process;
mod routes;
mod secret;
mod store;
mod tls;
mod upstreams;

pub use self::{
    headers::*, health::*, limits::*, process::*, routes::*, secret::*, store::*, tls::*,
    upstreams::*,
};
