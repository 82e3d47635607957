//! `[log]`: the log and access lines.

use super::checks::distinct;
use crate::config::{
    field::{Given, Nested, section},
    problem::{Code, Problems},
    wire::process as wire,
};
use crate::policy::{CredentialPlace, Identity, Log, LogField, LogSample, MOST_LOG_FIELDS};

/// Format and detail of the log, and what access lines have.
///
/// A format that is absent stays `None`: the output is known to the process and
/// not to the file. The credentials of the identities are not logged; `None` if
/// a mistake hides some of them.
pub(super) fn log(
    entry: &Nested<wire::Log>,
    identities: Option<&[Identity]>,
    problems: &mut Problems,
) -> Option<Log> {
    let log = section(entry)?;
    let fields = log.fields.elements();
    if fields.len() > MOST_LOG_FIELDS {
        let message = format!(
            "an access line has at most {MOST_LOG_FIELDS} further fields; these are {}",
            fields.len()
        );
        let help = "name fewer";
        problems.error(Code::BadValue, log.fields.at(), message, help);
    }
    distinct("fields", &log.fields, problems);
    for field in fields {
        let holder = field.read().and_then(|one| holder(&one, identities?));
        if let Some(identity) = holder {
            let message = format!("the identity `{}` has its credentials there", identity.name);
            let help = "leave it out: a credential is never logged, and an access line has the `identity` of a client";
            problems.error(Code::Conflict, field.at(), message, help);
        }
    }
    let mut sample: Vec<_> = log
        .sample
        .read()
        .unwrap_or_default()
        .into_iter()
        .map(|(statuses, share)| LogSample { statuses, share })
        .collect();
    sample.sort_by_key(|one| one.statuses.last - one.statuses.first);
    Some(Log {
        level: log.level.value?,
        format: log.format.value().copied(),
        access: log.access.value?,
        query: log.query.value?,
        fields: log.fields.read()?,
        keys: log.keys.value?,
        sample,
    })
}

/// The identity whose credentials stand in this field.
fn holder<'i>(field: &LogField, identities: &'i [Identity]) -> Option<&'i Identity> {
    let is_there = |place: &CredentialPlace| match (place, field) {
        (CredentialPlace::Header(name), LogField::Request(logged)) => name == logged,
        (CredentialPlace::Cookie(name), LogField::Cookie(logged)) => name == logged,
        _ => false,
    };
    let mut identities = identities.iter();
    identities.find(|identity| identity.credentials().iter().any(is_there))
}
