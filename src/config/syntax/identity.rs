//! Places of credentials and of keys, names of claims, algorithms.

use std::time::Duration;

use http::{HeaderName, header::AUTHORIZATION};

use super::{
    super::{suggest, units, wrong::Wrong},
    address, file_name, header, path,
};
use crate::policy::{Algorithm, CredentialPlace, UpstreamServer};

/// `"bearer"`, `"header:NAME"`, `"query:NAME"`, `"cookie:NAME"`.
///
/// # Errors
/// Anything else. `"header:authorization"` is refused, too: its value has a
/// scheme before the credential, so that no key or token would ever be found.
pub(in crate::config) fn credential_place(text: &str) -> Result<CredentialPlace, Wrong> {
    let all = "write \"bearer\", \"header:NAME\", \"query:NAME\" or \"cookie:NAME\"";
    let (kind, name) = match text.split_once(':') {
        Some((kind, name)) => (kind, name),
        None if text == "bearer" => return Ok(CredentialPlace::Bearer),
        None => {
            let lower = text.trim().to_ascii_lowercase();
            let wrong = Wrong::new("it is no place of a credential", all);
            return Err(match &*lower {
                "bearer" | "authorization" => wrong.or_advice(Some("write \"bearer\"".to_owned())),
                name if name.contains('-') && header::name(name).is_ok() => {
                    wrong.or_advice(Some(format!("write \"header:{name}\"")))
                }
                name => wrong.or_meant(suggest::nearest(name, &["bearer"])),
            });
        }
    };
    let named = |help: &str| header::name(name).map_err(|wrong| Wrong::new(wrong.why, help));
    match kind {
        "header" => match named("write letters, digits and `-`, such as \"header:x-api-key\"")? {
            AUTHORIZATION => Err(Wrong::new(
                "`Authorization` has a scheme before the credential",
                "write \"bearer\"",
            )),
            name => Ok(CredentialPlace::Header(name)),
        },
        "cookie" => {
            named("write letters, digits and `-`, such as \"cookie:session\"")?;
            Ok(CredentialPlace::Cookie(name.into()))
        }
        "query" if name.is_empty() => Err(Wrong::new(
            "it is not the name of a query parameter",
            "write it decoded, such as \"query:api_key\"",
        )),
        "query" => Ok(CredentialPlace::Query(name.into())),
        _ => Err(Wrong::new("it is no place of a credential", all)),
    }
}

/// The name of a claim: any text without control characters. A name with dots
/// is also a path, as in `realm_access.roles`.
///
/// # Errors
/// An empty name, and one with outer blanks or control characters.
pub(in crate::config) fn claim_name(text: &str) -> Result<Box<str>, Wrong> {
    let help = "write the name of a claim, such as \"org\" or \"realm_access.roles\"";
    let is_odd = text.is_empty() || text.trim() != text || text.contains(char::is_control);
    match is_odd {
        true => Err(Wrong::new("it is not the name of a claim", help)),
        false => Ok(text.into()),
    }
}

/// `"claim:NAME"`.
///
/// # Errors
/// Anything else.
pub(in crate::config) fn claim(text: &str) -> Result<Box<str>, Wrong> {
    match text.strip_prefix("claim:") {
        Some(name) => claim_name(name),
        None => Err(Wrong::new(
            "it does not say which claim",
            match claim_name(text) {
                Ok(name) => format!("write \"claim:{name}\""),
                Err(_) => "write one such as \"claim:plan\"".to_owned(),
            },
        )),
    }
}

/// `"header:NAME"`.
///
/// # Errors
/// Anything else.
pub(in crate::config) fn header_of(text: &str) -> Result<HeaderName, Wrong> {
    let help = "write one such as \"header:x-auth-user\"";
    match text.split_once(':') {
        Some(("header", name)) => header::name(name).map_err(|wrong| Wrong::new(wrong.why, help)),
        _ => {
            let right = header::name(text).ok();
            let right = right.map(|name| format!("write \"header:{name}\""));
            Err(Wrong::new("it does not say which header", help).or_advice(right))
        }
    }
}

/// The place of an issuer's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) enum KeyPlace {
    /// A server, and the path with the query.
    Url(UpstreamServer, String),
    /// A file, relative to the file that names it.
    File(String),
}

/// The URL of a key set, or the name of a file.
///
/// # Errors
/// A URL that is none of HTTP, and what is no name of a file.
pub(in crate::config) fn key_place(text: &str) -> Result<KeyPlace, Wrong> {
    if text.contains("://") {
        return asked_url(text).map(|(server, target)| KeyPlace::Url(server, target));
    }
    file_name(text).map(KeyPlace::File)
}

/// The URL of a service that is asked: its server, and the path with the query.
///
/// # Errors
/// The server or the path is malformed, or the URL has a part that is not allowed.
pub(in crate::config) fn asked_url(text: &str) -> Result<(UpstreamServer, String), Wrong> {
    let authority = text.find("://").map_or(0, |at| at + 3);
    let path = text[authority..].find(['/', '?']);
    let (server, target) = text.split_at(path.map_or(text.len(), |at| authority + at));
    let server = address::server_url(server)?;
    let target = match target {
        "" => "/".to_owned(),
        query if query.starts_with('?') => format!("/{query}"),
        target => target.to_owned(),
    };
    Ok((server, path::target(&target)?))
}

/// The name of an algorithm of signatures.
///
/// # Errors
/// Anything else, among it `none`.
pub(in crate::config) fn algorithm(text: &str) -> Result<Algorithm, Wrong> {
    let all = Algorithm::ALL.map(Algorithm::name);
    Algorithm::named(text).ok_or_else(|| {
        if text.eq_ignore_ascii_case("none") {
            let why = "anybody can make a token without a signature";
            return Wrong::new(why, "name the algorithms that the issuer signs with");
        }
        let right = all.into_iter().find(|one| one.eq_ignore_ascii_case(text));
        let wrong = Wrong::new(
            "it is no algorithm that is known here",
            format!("write one of {}", all.join(", ")),
        );
        match right {
            Some(right) => wrong.or_advice(Some(format!("write \"{right}\""))),
            None => wrong.or_meant(suggest::nearest(text, &all)),
        }
    })
}

/// The longest difference of clocks: with more, an expiry means nothing.
const LONGEST_LEEWAY: Duration = Duration::from_secs(60 * 60);

/// A difference of clocks.
///
/// # Errors
/// No duration, or more than an hour.
pub(in crate::config) fn leeway(text: &str) -> Result<Duration, Wrong> {
    match units::duration(text)? {
        long if long > LONGEST_LEEWAY => {
            let help = "set the clocks; most issuers need \"30s\" or less";
            Err(Wrong::new("the most is 1h", help))
        }
        leeway => Ok(leeway),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_a_credential_is_read() {
        assert_eq!(credential_place("bearer").unwrap(), CredentialPlace::Bearer);
        assert_eq!(
            credential_place("header:X-Api-Key").unwrap(),
            CredentialPlace::Header(HeaderName::from_static("x-api-key"))
        );
        assert_eq!(
            credential_place("query:api key").unwrap(),
            CredentialPlace::Query("api key".into())
        );
        assert_eq!(
            credential_place("cookie:session").unwrap(),
            CredentialPlace::Cookie("session".into())
        );
    }

    #[test]
    fn other_places_are_corrected() {
        for (text, right) in [
            ("Bearer", "\"bearer\""),
            ("authorization", "\"bearer\""),
            ("header:authorization", "\"bearer\""),
            ("x-api-key", "\"header:x-api-key\""),
            ("header:", "\"header:x-api-key\""),
            ("cookie:a b", "\"cookie:session\""),
            ("query:", "\"query:api_key\""),
            ("body:key", "\"query:NAME\""),
        ] {
            let help = credential_place(text).unwrap_err().help;
            assert!(help.contains(right), "{text}: {help}");
        }
    }

    #[test]
    fn the_url_of_a_service_has_a_server_and_a_path() {
        for (text, url, target) in [
            ("http://a:4180/verify", "http://a:4180", "/verify"),
            ("https://a/x?y=1", "https://a", "/x?y=1"),
            ("http://[::1]:1", "http://[::1]:1", "/"),
            ("http://a?x", "http://a", "/?x"),
        ] {
            let (server, path) = asked_url(text).unwrap();
            assert_eq!((&*server.url, &*path), (url, target));
        }
        for text in ["", "a/verify", "http:///x", "http://a/x y", "ftp://a/x"] {
            assert!(asked_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn keys_are_at_a_url_or_in_a_file() {
        for (text, url, target) in [
            ("https://idp/jwks.json?a=1", "https://idp", "/jwks.json?a=1"),
            ("http://[::1]:1", "http://[::1]:1", "/"),
        ] {
            let Ok(KeyPlace::Url(server, path)) = key_place(text) else {
                panic!("{text} is a URL");
            };
            assert_eq!((&*server.url, &*path), (url, target));
        }
        let file = KeyPlace::File("keys/idp.pem".to_owned());
        assert_eq!(key_place("keys/idp.pem").unwrap(), file);
        for text in [
            "",
            "file:///keys",
            "https:///x",
            "https://idp/a b",
            "https://u@idp/x",
        ] {
            assert!(key_place(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_algorithm_is_corrected_and_none_is_refused() {
        assert_eq!(algorithm("EdDSA").unwrap(), Algorithm::EdDsa);
        let help = |text| algorithm(text).unwrap_err().help;
        assert!(help("rs256").contains("\"RS256\""));
        assert!(help("RSA256").contains("RS256"));
        assert_eq!(
            algorithm("None").unwrap_err().why,
            "anybody can make a token without a signature"
        );
    }

    #[test]
    fn a_claim_is_named_with_its_kind() {
        assert_eq!(&*claim("claim:plan").unwrap(), "plan");
        assert_eq!(
            &*claim("claim:https://example.com/plan").unwrap(),
            "https://example.com/plan"
        );
        assert!(claim("plan").unwrap_err().help.contains("\"claim:plan\""));
        assert!(claim("claim:").is_err() && claim("").is_err());
    }
}
