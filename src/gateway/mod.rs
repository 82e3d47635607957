//! The gateway: what stands between a parsed request and an upstream.

pub mod table;
