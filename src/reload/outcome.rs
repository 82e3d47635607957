//! The source and the outcome of a reload, and the handle to ask for one.

use std::{fmt, path::PathBuf, sync::Arc};

use tokio::sync::{mpsc, oneshot};

use crate::{
    build::{BuildError, Report},
    config::{self, Config, Diagnostics},
};

/// The source of the configuration, which every reload reads again.
#[derive(Debug, Clone)]
pub enum ConfigSource {
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

impl ConfigSource {
    /// Reads and checks the configuration, with the environment that the
    /// process has at this moment. Reads files and blocks.
    ///
    /// # Errors
    /// All mistakes of the configuration.
    ///
    /// ```
    /// use tidegate::reload::ConfigSource;
    ///
    /// let text = "[[routes]]\nname = \"a\"\nrespnd = {}\n".to_owned();
    /// let mistakes = ConfigSource::Text { name: "text", text }.load().unwrap_err();
    /// let first = &mistakes.list[0];
    /// assert_eq!(first.place.as_ref().unwrap().line, 3);
    /// assert!(first.help.as_ref().unwrap().contains("respond"));
    /// ```
    pub fn load(&self) -> Result<Config, Diagnostics> {
        let environment = config::process_environment();
        match self {
            ConfigSource::File(path) => config::load(path, &environment),
            ConfigSource::Text { name, text } => config::parse(name, text, &environment),
        }
    }
}

/// The outcome of a reload.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The new configuration serves, on every worker.
    Done {
        /// The changes.
        report: Report,
        /// The sections of the file that changed, by name.
        sections: Vec<&'static str>,
        /// Changes that take effect only with a restart, and sockets that had
        /// lost their file, each a sentence.
        notes: Vec<String>,
        /// Settings of the configuration that are surely not intended.
        warnings: Arc<Diagnostics>,
    },
    /// The configuration equals the running one. Its warnings need not: some
    /// depend on what is in the file system at the time.
    Unchanged {
        /// Sockets that had lost their file, each a sentence.
        notes: Vec<String>,
        /// Settings of the configuration that are surely not intended.
        warnings: Arc<Diagnostics>,
    },
    /// The configuration cannot be used; nothing changed.
    Failed(ReloadFailure),
}

/// Why a configuration cannot be used. Its `Display` is for people: every
/// mistake with its place, or one sentence.
#[derive(Debug, Clone)]
pub enum ReloadFailure {
    /// It has mistakes.
    Mistakes(Arc<Diagnostics>),
    /// It is right but cannot be built at this time, on this machine: an
    /// address is taken, a certificate cannot be used, the files cannot be
    /// read.
    Impossible(String),
}

impl fmt::Display for ReloadFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReloadFailure::Mistakes(diagnostics) => {
                f.write_str(diagnostics.render(false).trim_end())
            }
            ReloadFailure::Impossible(why) => f.write_str(why),
        }
    }
}

impl From<String> for ReloadFailure {
    /// A configuration that cannot be built, for the reason in words.
    fn from(why: String) -> Self {
        ReloadFailure::Impossible(why)
    }
}

impl From<BuildError> for ReloadFailure {
    fn from(error: BuildError) -> Self {
        ReloadFailure::Impossible(error.to_string())
    }
}

/// Requests reloads, on behalf of the admin listener. The channel is bounded:
/// while several requests wait for a reload to end, further callers wait to
/// send theirs.
#[derive(Debug, Clone)]
pub struct ReloadHandle(pub(crate) mpsc::Sender<oneshot::Sender<Outcome>>);

impl ReloadHandle {
    /// Reloads and waits for the outcome; `None` if the process is ending. A
    /// caller that is cancelled does not cancel the reload.
    pub async fn reload(&self) -> Option<Outcome> {
        let (reply, outcome) = oneshot::channel();
        self.0.send(reply).await.ok()?;
        outcome.await.ok()
    }
}

/// The changes from `before` to `after` that take effect only with a restart,
/// each a sentence.
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
