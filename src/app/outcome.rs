//! The outcome of a start and of the whole run, as commands see it. `cli` turns
//! them into messages and exit statuses.

use std::{fmt, net::SocketAddr};

use crate::config::Diagnostics;

/// Why the gateway did not start.
#[derive(Debug)]
pub enum StartError {
    /// The configuration has mistakes.
    Mistakes(Diagnostics),
    /// Anything else: an address that is taken, a folder that cannot be written
    /// to. The text is a sentence for people.
    Other(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Mistakes(diagnostics) => f.write_str(&diagnostics.render(false)),
            StartError::Other(why) => f.write_str(why),
        }
    }
}

impl From<String> for StartError {
    fn from(why: String) -> Self {
        StartError::Other(why)
    }
}

/// How the gateway ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// After a drain.
    Drained {
        /// Connections that still had a request in flight when the time for the
        /// drain was over, and were cut.
        cut: usize,
    },
    /// A second signal ended the drain.
    AtOnce,
    /// The thread of a worker ended by itself; the others were drained.
    Broken,
}

/// Called once the gateway serves, on the control thread. It should return
/// soon, since nothing else runs on this thread meanwhile.
pub type OnReady = Box<dyn FnOnce(&Ready) + Send>;

/// The addresses of a gateway that serves.
#[derive(Debug)]
pub struct Ready {
    /// Listeners, with the ports that the system chose.
    pub listeners: Vec<SocketAddr>,
    /// The admin listener, if it is on.
    pub admin: Option<SocketAddr>,
}
