//! Words of messages that depend on the error's fields.

use std::{sync::Arc, time::Duration};

/// The words of a limit about a request that may come again after this time.
pub(super) fn refusal(retry_after: Duration) -> &'static str {
    match retry_after {
        Duration::MAX => "admits no such request at any time",
        _ => "is exhausted",
    }
}

/// The message of a request without good credentials.
pub(super) fn unauthenticated(rejected: Option<&'static str>) -> String {
    match rejected {
        Some(why) => format!("the credentials are not accepted: {why}"),
        None => "the request has no credentials that this route accepts".to_owned(),
    }
}

/// Shows the names of limits in a sentence: quoted, separated by commas.
pub(super) struct QuotedNames<'a>(pub(super) &'a [Arc<str>]);

impl std::fmt::Display for QuotedNames<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, name) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}\"{name}\"")?;
        }
        Ok(())
    }
}
