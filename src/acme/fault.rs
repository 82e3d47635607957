//! Why there is no certificate, for people and for metrics.

use std::{fmt, io};

use instant_acme::{Error, Problem};

use super::client::AuthorityFault;
use crate::http_client::ClientFault;

/// Characters of a text of an authority that are repeated.
const MOST_REPEATED: usize = 400;

/// The type of a problem that says to come later (RFC 8555, 6.7).
const RATE_LIMITED: &str = "rateLimited";
/// The type of a problem that says that a request has to be sent anew. The
/// library has done so twice by then.
const BAD_NONCE: &str = "badNonce";
/// The type of a problem that says that there is no such account.
const NO_ACCOUNT: &str = "accountDoesNotExist";

/// Why a certificate was not obtained. Its `Display` is for people: half a
/// sentence, in which everything that an authority said is escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OrderFault {
    /// The kind of the fault.
    pub(super) kind: FaultKind,
    /// Whether the authority had made the order by then.
    is_ordered: bool,
    text: String,
}

/// Kinds of faults, as metrics tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FaultKind {
    /// The authority was not reached.
    Unreachable,
    /// The authority has looked at no more of a request than its nonce.
    BadNonce,
    /// The authority said no.
    Refused,
    /// The authority was asked too often.
    RateLimited,
    /// The authority does not know the account any more.
    NoAccount,
    /// The authority did not come to an end in time.
    Timeout,
    /// A response is not what RFC 8555 says, or a certificate is not the one
    /// that was ordered.
    Invalid,
    /// Something on this machine failed.
    Local,
}

impl FaultKind {
    /// The label `outcome` of `tidegate_acme_orders_total`.
    pub(super) fn outcome(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::BadNonce => "bad_nonce",
            Self::Refused => "refused",
            Self::RateLimited => "rate_limited",
            Self::NoAccount => "no_account",
            Self::Timeout => "timeout",
            Self::Invalid => "invalid",
            Self::Local => "local",
        }
    }
}

impl OrderFault {
    /// A fault of this kind, with a text of our own.
    pub(super) fn new(kind: FaultKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            is_ordered: false,
            text: text.into(),
        }
    }

    /// The same fault, met after the authority had made the order.
    pub(super) fn after_order(self) -> Self {
        Self {
            is_ordered: true,
            ..self
        }
    }

    /// Whether the authority may have counted the order, as it permits only so
    /// many in an hour. It counts when it makes one, and may count a request
    /// for one that it has read.
    pub(super) fn may_be_counted(&self) -> bool {
        let is_unread = matches!(
            self.kind,
            FaultKind::Unreachable | FaultKind::BadNonce | FaultKind::Local
        );
        self.is_ordered || !is_unread
    }

    /// An authority that does not keep to RFC 8555, with a text of our own.
    pub(super) fn invalid(text: impl Into<String>) -> Self {
        Self::new(FaultKind::Invalid, text)
    }

    /// A file or a folder that cannot be used.
    pub(super) fn local(what: &str, error: &io::Error) -> Self {
        Self::new(FaultKind::Local, format!("{what} ({error})"))
    }

    /// The problem that an authority has told.
    pub(super) fn of_problem(problem: &Problem) -> Self {
        let kind = problem.r#type.as_deref().unwrap_or_default();
        let kind = kind.rsplit(':').next().unwrap_or_default();
        let detail = problem.detail.as_deref().unwrap_or("it says no more");
        let mut text = format!("the authority refuses: {}", repeated(detail));
        if !kind.is_empty() {
            text.push_str(&format!(" ({})", repeated(kind)));
        }
        let kind = match kind {
            RATE_LIMITED => FaultKind::RateLimited,
            NO_ACCOUNT => FaultKind::NoAccount,
            BAD_NONCE => FaultKind::BadNonce,
            _ => FaultKind::Refused,
        };
        Self::new(kind, text)
    }
}

impl fmt::Display for OrderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Error> for OrderFault {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(problem) => Self::of_problem(&problem),
            Error::Timeout(_) => Self::new(
                FaultKind::Timeout,
                "the authority did not come to an end in time",
            ),
            Error::Other(other) => match other.downcast_ref::<AuthorityFault>() {
                Some(fault) => Self::of_client(*fault),
                None => Self::invalid(repeated(&other.to_string())),
            },
            Error::Crypto | Error::KeyRejected => Self::new(
                FaultKind::Local,
                format!("the key of the account cannot be used ({error})"),
            ),
            error => Self::invalid(format!(
                "the response is not as RFC 8555 has it ({})",
                repeated(&error.to_string())
            )),
        }
    }
}

impl OrderFault {
    /// A request without a response.
    fn of_client(fault: AuthorityFault) -> Self {
        let kind = match fault {
            AuthorityFault::Client(ClientFault::Timeout(_)) => FaultKind::Timeout,
            AuthorityFault::Client(fault) if fault.is_before_request() => FaultKind::Unreachable,
            _ => FaultKind::Invalid,
        };
        Self::new(kind, format!("the authority cannot be used: {fault}"))
    }
}

/// A text of an authority as it can stand in a line of the log: characters but
/// those of ASCII are escaped, and a long text is cut.
pub(super) fn repeated(text: &str) -> String {
    let mut out = String::new();
    for (at, c) in text.chars().enumerate() {
        match c {
            _ if at >= MOST_REPEATED => {
                out.push_str("...");
                break;
            }
            ' '..='~' => out.push(c),
            c => out.extend(c.escape_default()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn problem(kind: &str, detail: &str) -> Problem {
        let json = serde_json::json!({ "type": kind, "detail": detail });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn an_authority_cannot_write_lines_of_its_own_into_the_log() {
        let said = "no\n{\"level\":\"ERROR\"}\u{1b}[2J\u{202e}".to_owned() + &"x".repeat(100_000);
        let fault = OrderFault::of_problem(&problem("urn:ietf:params:acme:error:caa", &said));
        let text = fault.to_string();
        assert!(
            text.is_ascii() && !text.contains(char::is_control),
            "{text}"
        );
        assert!(text.len() < 600 && text.ends_with("... (caa)"), "{text}");
        assert_eq!(fault.kind, FaultKind::Refused);
    }

    #[test]
    fn kinds_are_told_apart() {
        for (kind, expected) in [
            (
                "urn:ietf:params:acme:error:rateLimited",
                FaultKind::RateLimited,
            ),
            (
                "urn:ietf:params:acme:error:accountDoesNotExist",
                FaultKind::NoAccount,
            ),
            ("urn:ietf:params:acme:error:badNonce", FaultKind::BadNonce),
            ("urn:ietf:params:acme:error:malformed", FaultKind::Refused),
            ("", FaultKind::Refused),
        ] {
            assert_eq!(OrderFault::of_problem(&problem(kind, "x")).kind, expected);
        }
        for (fault, expected) in [
            (
                ClientFault::Connect(io::ErrorKind::ConnectionRefused).into(),
                FaultKind::Unreachable,
            ),
            (
                ClientFault::Timeout(Duration::from_secs(20)).into(),
                FaultKind::Timeout,
            ),
            (ClientFault::Large(1024).into(), FaultKind::Invalid),
            (AuthorityFault::Redirect, FaultKind::Invalid),
        ] {
            assert_eq!(
                OrderFault::from(Error::Other(Box::new(fault))).kind,
                expected
            );
        }
    }
}
