//! Tests of shared limits: the arithmetic without a server, then the script and
//! the whole store on a real one.

mod cluster;
mod found;
#[path = "../../../tests/support/redis.rs"]
mod redis_server;
mod script;
mod simulation;
mod whole;
