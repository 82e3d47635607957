//! Reasons why a sound configuration cannot be built: those that show only once
//! its parts are made.
//!
//! Configuration files are checked before this, with all of their mistakes at
//! once and with their positions. The errors here concern limits with too many
//! keys or quotas, expressions that do not compile together, and the TLS of an
//! upstream. A build that fails has changed nothing: at the start the process
//! ends, and after a reload the generation before it goes on to serve.

use std::sync::Arc;

use thiserror::Error as ThisError;

use crate::limit::LimiterError;

/// Why a sound configuration could not be built.
#[derive(Debug, ThisError)]
#[expect(missing_docs, reason = "each variant's message says it")]
pub enum BuildError {
    /// The expressions of one host do not compile together, though each of them
    /// compiles alone.
    #[error("the routes' paths: {0}")]
    Table(#[from] regex::Error),
    /// There is no memory for the keys of a limit, or its keys have had too
    /// many different quotas in the life of the process.
    #[error("limit \"{name}\": {cause}")]
    Limit { name: Arc<str>, cause: LimiterError },
    /// The TLS of an upstream cannot be set up, such as with a certificate that
    /// cannot be used. `why` is a text for people.
    #[error("upstream \"{name}\": {why}")]
    Tls { name: Arc<str>, why: String },
    /// An identity cannot verify credentials: no TLS can be spoken with the
    /// server of its keys, or there is no thread. `why` is a text for people.
    #[error("identity \"{name}\": {why}")]
    Identity { name: Arc<str>, why: String },
    /// Spans cannot be exported: no TLS can be spoken with the collector, there
    /// is no thread, or the environment asks for something that is not built in.
    /// The text is for people.
    #[error("traces: {0}")]
    Traces(String),
}
