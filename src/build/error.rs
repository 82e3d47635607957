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
    #[error("the routes' paths: {0}")]
    Table(#[from] regex::Error),
    #[error("limit \"{name}\": {cause}")]
    Limit { name: Arc<str>, cause: LimiterError },
    #[error("upstream \"{name}\": {why}")]
    Tls { name: Arc<str>, why: String },
}
