//! Observers of bodies. The gateway has one: the exchange, which is emitted
//! when its last body ends.

use http::HeaderMap;

use crate::error::Fault;

/// Learns how a body ends. The methods run within a poll or a drop, so they
/// must be fast.
pub trait BodyObserver: Send + Sync {
    /// Called once, at the end: `bytes` were pulled, and all of them reached
    /// the other side if `delivered`.
    fn ended(&self, bytes: u64, delivered: bool);
    /// Called when the body broke off, before [`ended`](BodyObserver::ended).
    fn broke(&self, fault: &Fault);
    /// Called once for a tunnel, before [`ended`](BodyObserver::ended), with
    /// the bytes that went the other way.
    fn received(&self, _bytes: u64) {}
    /// Called once for trailers, when they pass.
    fn trailed(&self, _trailers: &HeaderMap) {}
}
