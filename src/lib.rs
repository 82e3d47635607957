//! tidegate: a rate-limiting HTTP gateway.

pub mod alarm;
pub mod body;
pub mod config;
pub mod error;
pub mod http1;
pub mod limit;
pub mod message;
pub mod server;
pub mod telemetry;
