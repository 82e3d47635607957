//! tidegate: a rate-limiting HTTP gateway.

pub mod body;
pub mod config;
pub mod error;
pub mod gateway;
pub mod limit;
pub mod telemetry;
