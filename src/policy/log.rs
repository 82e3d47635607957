//! `[log]`: the log on stderr, and the access lines on stdout.

use std::fmt;

use http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{SampledShare, Statuses};

/// `[log]`: access lines on stdout, and the log on stderr.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The least severity that is logged.
    pub level: LogLevel,
    /// The format of both; `None` is text on a terminal and JSON otherwise.
    pub format: Option<LogFormat>,
    /// Whether each request has an access line on stdout.
    pub access: bool,
    /// How much of a request's query is in its access line.
    pub query: LogQuery,
    /// Fields of messages that access lines have besides their own, each once;
    /// at most [`MOST_LOG_FIELDS`].
    pub fields: Vec<LogField>,
    /// Whether access lines have the keys of all limits of the route, as hashes.
    pub keys: bool,
    /// How many lines are written of some statuses, the narrowest range first.
    pub sample: Vec<LogSample>,
}

/// Most fields that access lines have besides their own: lines wait in buffers,
/// which would grow with them.
pub const MOST_LOG_FIELDS: usize = 16;

/// A field of a message that access lines have. Displayed as the configuration
/// and the lines name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LogField {
    /// A header field of the request as received.
    Request(HeaderName),
    /// A header field of the response as the client gets it.
    Response(HeaderName),
    /// A cookie of the request.
    Cookie(Box<str>),
}

impl fmt::Display for LogField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(name) => write!(f, "header:{name}"),
            Self::Response(name) => write!(f, "response-header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
        }
    }
}

/// The share of access lines that are written of some statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSample {
    /// The statuses.
    pub statuses: Statuses,
    /// The share.
    pub share: SampledShare,
}

impl LogSample {
    /// Whether it is about lines with this status. `is_telling` says that a line
    /// tells of a refusal, also of one in shadow mode, or of a failure: only a
    /// status from 400 on that was named by itself leaves out such a line, as
    /// nobody may miss it by a class.
    ///
    /// ```
    /// use tidegate::policy::{LogSample, SampledShare, Statuses};
    ///
    /// let sample = |first, last| LogSample {
    ///     statuses: Statuses { first, last },
    ///     share: SampledShare::of_million(1000),
    /// };
    /// assert!(sample(400, 499).concerns(429, false) && !sample(400, 499).concerns(429, true));
    /// assert!(sample(429, 429).concerns(429, true));
    /// ```
    pub fn concerns(&self, status: u16, is_telling: bool) -> bool {
        let Statuses { first, last } = self.statuses;
        let is_asked = first == last && status >= 400;
        (first..=last).contains(&status) && (is_asked || !is_telling)
    }
}

/// How much of a request's query is in its access line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogQuery {
    /// The query without the values of parameters that are keys of the route's
    /// limits or have the [name of a secret](super::is_secret_name).
    #[default]
    Masked,
    /// No query.
    Off,
    /// The query as it was received.
    Full,
}

/// Severities of `[log] level`, the most severe first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// The format of log lines and access lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object for each line.
    Json,
    /// Text for people.
    Text,
}
