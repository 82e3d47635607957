//! The input and the outcome of a reload.

use std::{fmt, path::PathBuf, sync::Arc};

use tokio::sync::{mpsc, oneshot};

use crate::{
    build::{BuildError, Report},
    config::{self, Config, Diagnostics},
};

/// The source of the configuration.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// A text in memory, for commands that need no file.
    Text {
        /// Its name in diagnostics.
        name: &'static str,
        /// TOML.
        text: String,
    },
}

impl Source {
    /// Reads and checks the configuration.
    ///
    /// # Errors
    /// All of its mistakes.
    pub fn load(&self) -> Result<Config, Diagnostics> {
        let environment = config::process_environment();
        match self {
            Source::File(path) => config::load(path, &environment),
            Source::Text { name, text } => config::parse(name, text, &environment),
        }
    }
}

/// The outcome of a reload.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The new configuration serves.
    Done {
        /// The changes.
        report: Report,
        /// The sections of the file that changed.
        sections: Vec<&'static str>,
        /// Changes that take effect only with a restart.
        notes: Vec<String>,
        /// Settings of the configuration that are surely not intended.
        warnings: Arc<Diagnostics>,
    },
    /// The configuration is the same. So are its warnings, apart from their
    /// places.
    Unchanged {
        /// Settings of the configuration that are surely not intended.
        warnings: Arc<Diagnostics>,
    },
    /// The configuration cannot be used; nothing changed.
    Failed(Failure),
}

/// Why a configuration cannot be used.
#[derive(Debug, Clone)]
pub enum Failure {
    /// It has mistakes.
    Mistakes(Arc<Diagnostics>),
    /// It is sound, but cannot be built on this machine at this time.
    Impossible(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Mistakes(diagnostics) => f.write_str(diagnostics.render(false).trim_end()),
            Failure::Impossible(why) => f.write_str(why),
        }
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        Failure::Impossible(error.to_string())
    }
}

/// Requests reloads, on behalf of the admin listener.
#[derive(Debug, Clone)]
pub struct ReloadHandle(pub(crate) mpsc::Sender<oneshot::Sender<Outcome>>);

impl ReloadHandle {
    /// Reloads and waits for the outcome; `None` if the process is ending.
    pub async fn reload(&self) -> Option<Outcome> {
        let (reply, outcome) = oneshot::channel();
        self.0.send(reply).await.ok()?;
        outcome.await.ok()
    }
}

/// The changes that take effect only with a restart.
pub(super) fn notes(before: &Config, after: &Config) -> Vec<String> {
    let mut notes = Vec::new();
    if before.server.workers != after.server.workers {
        notes.push("[server] workers changed: it takes effect with a restart".to_owned());
    }
    if before.server.state_dir != after.server.state_dir {
        notes.push("[server] state_dir changed: it takes effect with a restart".to_owned());
    }
    if before.log.format != after.log.format {
        notes.push("[log] format changed: it takes effect with a restart".to_owned());
    }
    notes
}
