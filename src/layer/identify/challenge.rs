//! Challenges: how a client is told to authenticate (RFC 9110, 11.6.1).

use crate::policy::CredentialPlace;

/// The value of `WWW-Authenticate` that asks for a credential in this place. A
/// scheme is registered for tokens only (RFC 6750); the others say where the
/// credential belongs.
pub(super) fn challenge(place: &CredentialPlace, identity: &str) -> String {
    match place {
        CredentialPlace::Bearer => format!("Bearer realm=\"{identity}\""),
        CredentialPlace::Header(name) => format!("ApiKey realm=\"{identity}\", header=\"{name}\""),
        CredentialPlace::Query(name) => {
            format!("ApiKey realm=\"{identity}\", query=\"{}\"", quoted(name))
        }
        CredentialPlace::Cookie(name) => format!("Cookie realm=\"{identity}\", cookie=\"{name}\""),
    }
}

/// The inside of a quoted string (RFC 9110, 5.6.4), without what a header field
/// cannot hold.
fn quoted(text: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
    text.chars().filter(is_plain).collect()
}
