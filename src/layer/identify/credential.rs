//! Finds the credential of a request.

use std::borrow::Cow;

use crate::{
    call::{Exchange, cookies, query, unquoted},
    message::FieldName,
    policy::CredentialPlace,
};

/// The credential of a request, in the first place that has one.
pub(super) enum Credential<'e> {
    /// No place has one.
    Absent,
    /// The place has several that differ. Which one a service would take is
    /// unknown here.
    Ambiguous,
    /// The credential, which is not empty.
    Given(Cow<'e, [u8]>),
}

/// The scheme of tokens (RFC 6750, 2.1), in lower case.
const BEARER: [u8; 6] = *b"bearer";

impl<'e> Credential<'e> {
    /// The credential in the first of these places that has one.
    pub(super) fn find(places: &[CredentialPlace], exchange: &'e Exchange) -> Self {
        let found = places.iter().map(|place| Self::at(place, exchange));
        let mut found = found.filter(|found| !matches!(found, Self::Absent));
        found.next().unwrap_or(Self::Absent)
    }

    /// The credential in one place. An empty one is none.
    fn at(place: &CredentialPlace, exchange: &'e Exchange) -> Self {
        let headers = &exchange.request.headers;
        match place {
            CredentialPlace::Bearer => {
                let lines = headers.known(FieldName::Authorization);
                Self::only(lines.filter_map(token).map(Cow::Borrowed))
            }
            CredentialPlace::Header(name) => Self::only(
                headers
                    .all(name)
                    .map(|line| Cow::Borrowed(line.trim_ascii())),
            ),
            CredentialPlace::Query(name) => {
                let pairs = query::pairs(exchange.target.query().unwrap_or_default());
                let named = pairs.filter(|(known, _)| **known == *name.as_bytes());
                Self::only(named.map(|(_, value)| value))
            }
            CredentialPlace::Cookie(name) => {
                let named = cookies(headers).filter(|(known, _)| *known == name.as_bytes());
                Self::only(named.map(|(_, value)| Cow::Borrowed(unquoted(value))))
            }
        }
    }

    /// The one value among `found`.
    fn only(found: impl Iterator<Item = Cow<'e, [u8]>>) -> Self {
        let mut found = found.filter(|value| !value.is_empty());
        let Some(first) = found.next() else {
            return Self::Absent;
        };
        match found.all(|other| other == first) {
            true => Self::Given(first),
            false => Self::Ambiguous,
        }
    }
}

/// The token in a value of `Authorization`; `None` for another scheme, whose
/// letter case does not count (RFC 9110, 11.1).
fn token(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    let (scheme, token) = value.split_first_chunk()?;
    // Letters become small ones by this bit, and no other byte becomes a letter
    // of the word.
    let is_bearer = scheme.map(|byte| byte | 0x20) == BEARER && token.starts_with(b" ");
    is_bearer.then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_follows_its_scheme_in_any_letter_case() {
        for (value, expected) in [
            (&b"Bearer abc"[..], Some(&b"abc"[..])),
            (b"bEARER  abc ", Some(b"abc")),
            (b"Bearer", None),
            (b"Bearerabc", None),
            (b"Basic abc", None),
            (b"", None),
        ] {
            assert_eq!(token(value), expected, "{}", value.escape_ascii());
        }
    }
}
