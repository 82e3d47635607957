//! A meter sees everything of a body that passes, so that the cost of an
//! exchange is known when it ends.

use http::HeaderMap;

/// Sees a body that passes. The methods run within a poll or a drop, so they
/// must be fast.
pub trait BodyMeter: Send {
    /// Called for each piece that was pulled.
    fn passed(&mut self, bytes: &[u8]);
    /// Called once for the trailers, before those are taken out that do not
    /// pass.
    fn trailed(&mut self, trailers: &HeaderMap);
    /// Called once for a tunnel, with the bytes that went each way: from the
    /// client, and to it.
    fn tunnelled(&mut self, received: u64, passed: u64);
    /// Called once, at the end. `is_whole` says that nothing of the body was
    /// left.
    fn ended(self: Box<Self>, is_whole: bool);
}
