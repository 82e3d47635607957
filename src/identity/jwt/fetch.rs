//! Fetches a set of keys by its URL.
//!
//! Runs on the control thread, so that a slow issuer delays no request.
//! Everything about it is bounded: the time, the head, the body and the number
//! of keys. A redirect is not followed, as the issuer is the host that the
//! configuration names.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use thiserror::Error;

use crate::{
    http_client::{ClientBounds, ClientFault, HttpClient, HttpServer},
    policy::{KeySet, KeySetFault},
};

/// Bounds of a fetch.
pub(super) const BOUNDS: ClientBounds = ClientBounds {
    connect: Duration::from_secs(2),
    total: Duration::from_secs(5),
    body: 256 * 1024,
};

/// The age after which a set is fetched again if the issuer names none.
const USUAL_AGE: Duration = Duration::from_secs(10 * 60);
/// The shortest and the longest age that an issuer may name. A key that it
/// takes out is refused a day later at the latest.
const SHORTEST_AGE: Duration = Duration::from_secs(60);
const LONGEST_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// A set of keys, and how long it is good for.
#[derive(Debug)]
pub(super) struct FetchedKeys {
    pub(super) set: KeySet,
    /// When it is to be fetched again, from now.
    pub(super) fresh_for: Duration,
}

/// Why a set of keys was not fetched. The texts complete "cannot be fetched:".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum FetchFault {
    #[error(transparent)]
    Client(#[from] ClientFault),
    #[error("the response has status {}", .0.as_u16())]
    Status(StatusCode),
    #[error("the response {0}")]
    NoSet(#[from] KeySetFault),
}

/// Fetches the set at this path of a server once.
///
/// # Errors
/// There is no response within [`BOUNDS`], or it is no set of keys.
pub(super) async fn fetch(
    client: &HttpClient,
    server: &HttpServer,
    target: &str,
) -> Result<FetchedKeys, FetchFault> {
    let request = Request::get(target)
        .header(header::ACCEPT, "application/jwk-set+json, application/json")
        .body(Bytes::new())
        .map_err(|_| ClientFault::Broken)?;
    let response = client.send(server, request).await?;
    if response.status() != StatusCode::OK {
        return Err(FetchFault::Status(response.status()));
    }
    Ok(FetchedKeys {
        set: KeySet::from_jwks(response.body())?,
        fresh_for: fresh_for(response.headers()),
    })
}

/// How long a set is good for, as `max-age` of `Cache-Control` says (RFC 9111,
/// 5.2.2.1), within bounds. A set that is not to be stored is fetched again as
/// soon as the bounds allow.
fn fresh_for(headers: &HeaderMap) -> Duration {
    let lines = headers.get_all(header::CACHE_CONTROL).into_iter();
    let directives = lines.filter_map(|line| line.to_str().ok());
    let directives = directives.flat_map(|line| line.split(',')).map(str::trim);
    let mut age = None;
    for directive in directives {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
            return SHORTEST_AGE;
        }
        if name.eq_ignore_ascii_case("max-age") && age.is_none() {
            age = value
                .trim_matches('"')
                .parse()
                .ok()
                .map(Duration::from_secs);
        }
    }
    age.unwrap_or(USUAL_AGE).clamp(SHORTEST_AGE, LONGEST_AGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_issuer_says_how_long_a_set_is_good_for_within_bounds() {
        for (line, seconds) in [
            ("", 600),
            ("public", 600),
            ("max-age=x", 600),
            ("max-age=-1", 600),
            ("max-age=3600", 3600),
            ("public, MAX-AGE=\"120\", must-revalidate", 120),
            ("max-age=0", 60),
            ("max-age=99999999999", 86400),
            ("max-age=3600, no-cache", 60),
            ("no-store", 60),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, line.parse().unwrap());
            assert_eq!(fresh_for(&headers), Duration::from_secs(seconds), "{line}");
        }
    }
}
