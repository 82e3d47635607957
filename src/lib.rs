//! tidegate: a rate-limiting HTTP gateway.

pub mod admin;
pub mod alarm;
pub mod app;
pub mod body;
pub mod call;
pub mod cli;
pub mod config;
pub mod error;
pub mod gateway;
pub mod http1;
pub mod io;
pub mod layer;
pub mod limit;
pub mod message;
pub mod reload;
pub mod server;
pub mod telemetry;
pub mod upstream;
pub mod watch;
