//! The view of certificates that the gateway orders itself.

use std::time::SystemTime;

use serde::Serialize;

use crate::{
    acme::{AcmeDomain, AcmeState},
    policy::AcmeChallenge,
};

/// A domain that a certificate is ordered for.
#[derive(Debug, Serialize)]
pub(super) struct DomainView<'a> {
    domain: &'a str,
    directory: &'a str,
    challenge: AcmeChallenge,
    /// "serving" with a certificate, also while its renewal fails; "failing"
    /// without one after a failure; "pending" before.
    state: &'static str,
    /// The end of the validity of its certificate, in seconds since 1970;
    /// absent while it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    /// When it is looked at next, in seconds since 1970.
    next_attempt: u64,
    /// Attempts in a row that failed.
    failures: u32,
    /// Why the last attempt failed; absent after a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
}

/// The domains of the configuration, by name.
pub(super) fn domains(state: &AcmeState) -> Vec<DomainView<'_>> {
    state.domains.iter().map(domain).collect()
}

fn domain(of: &AcmeDomain) -> DomainView<'_> {
    DomainView {
        domain: &of.domain,
        directory: &of.acme.directory,
        challenge: of.acme.challenge,
        state: match (of.expires, of.failures) {
            (Some(_), _) => "serving",
            (None, 0) => "pending",
            (None, _) => "failing",
        },
        expires: of.expires.map(seconds),
        next_attempt: seconds(of.next),
        failures: of.failures,
        problem: of.problem.as_deref(),
    }
}

/// Seconds since 1970; 0 for times before.
fn seconds(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
