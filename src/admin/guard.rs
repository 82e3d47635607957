//! Decides which calls of the admin listener are allowed.
//!
//! Web pages are not, whatever name they gave to this address: a page can make
//! a browser call a host whose name it points at this address (DNS rebinding),
//! so that `Host` and `Origin` have to name the listener. An `Origin` of
//! another site is refused as well, which covers cross-site requests (CSRF).
//! Calls that change something need the token, if there is one.
//!
//! Probes and scrapers are excepted from the check of the host: they reach a
//! pod by whatever name they have for it, and `/metrics`, `/livez` and
//! `/readyz` show nothing secret.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, Method, Request, StatusCode, Version, header, uri};

use crate::policy;

/// The ports of a URL without one.
const HTTP: u16 = 80;
const HTTPS: u16 = 443;

/// The two ends of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    /// The other end.
    pub(super) peer: SocketAddr,
    /// This end.
    pub(super) local: SocketAddr,
}

/// The rules for a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'a> {
    /// This end of the connection.
    pub(super) local: SocketAddr,
    /// The hosts and the token that are configured.
    pub(super) settings: &'a policy::Admin,
}

/// How much a caller sees of the values of keys, which may be addresses, names
/// and credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// Everything, because the caller has presented the token.
    All,
    /// Everything but possible credentials, of which four characters are shown.
    /// No token is set.
    NoSecrets,
    /// Nothing, because a token is set and the caller has not presented it.
    Nothing,
}

/// Why a call was refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Denial {
    /// A reload has switched the listener off, and it is closing.
    Off,
    /// The host is missing, given twice, or cannot be parsed.
    BadHost,
    /// The call names another host: it is meant for another server, or a web
    /// page has rebound its name to this address.
    ForeignHost(String),
    /// A web page of another origin made the call.
    ForeignOrigin,
    /// The token is missing.
    NoToken,
    /// The token is wrong.
    WrongToken,
}

impl Denial {
    /// The status of the response.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Denial::Off => StatusCode::SERVICE_UNAVAILABLE,
            Denial::BadHost => StatusCode::BAD_REQUEST,
            Denial::ForeignHost(_) => StatusCode::MISDIRECTED_REQUEST,
            Denial::ForeignOrigin => StatusCode::FORBIDDEN,
            Denial::NoToken | Denial::WrongToken => StatusCode::UNAUTHORIZED,
        }
    }

    /// The reason in words.
    pub(super) fn detail(&self) -> String {
        match self {
            Denial::Off => "the admin listener was switched off".to_owned(),
            Denial::BadHost => "a call names its host once, in a Host field".to_owned(),
            Denial::ForeignHost(host) => {
                format!("this is not \"{host}\"; names are added with `hosts` of `[admin]`")
            }
            Denial::ForeignOrigin => "pages of other sites may not call this".to_owned(),
            Denial::NoToken => "this call needs the token: Authorization: Bearer TOKEN".to_owned(),
            Denial::WrongToken => {
                "the token is not the one in `token_file` of `[admin]`".to_owned()
            }
        }
    }

    /// The value of `WWW-Authenticate` (RFC 6750, 3), for refusals by the
    /// token.
    pub(super) fn challenge(&self) -> Option<&'static str> {
        match self {
            Denial::NoToken => Some("Bearer realm=\"tidegate\""),
            Denial::WrongToken => Some("Bearer realm=\"tidegate\", error=\"invalid_token\""),
            _ => None,
        }
    }
}

/// True for methods that may change something: all that are not safe (RFC 9110,
/// 9.2.1).
pub(super) fn changes(method: &Method) -> bool {
    !matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    )
}

impl Rules<'_> {
    /// Checks a call. With `any_host` the host is not compared: probes use any
    /// name, and the response is not secret.
    ///
    /// # Errors
    /// The reason for which the call is refused.
    pub(super) fn check<B>(&self, request: &Request<B>, any_host: bool) -> Result<(), Denial> {
        let headers = request.headers();
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => Some(host.to_str().map_err(|_| Denial::BadHost)?),
            // Probes that speak HTTP/1.0 name no host; those of HAProxy do so
            // by default.
            (None, _) if any_host && request.version() == Version::HTTP_10 => None,
            _ => return Err(Denial::BadHost),
        };
        let called = [host, request.uri().authority().map(uri::Authority::as_str)];
        for name in called.into_iter().flatten() {
            let authority = Authority::read(name).ok_or(Denial::BadHost)?;
            if !any_host && !self.is_ours(authority) {
                return Err(Denial::ForeignHost(name.to_owned()));
            }
        }
        for origin in headers.get_all(header::ORIGIN) {
            if !self.is_our_origin(origin.as_bytes()) {
                return Err(Denial::ForeignOrigin);
            }
        }
        if changes(request.method()) {
            self.check_token(headers)
        } else {
            Ok(())
        }
    }

    /// Whether a host and port are names of this listener: its own, or one of
    /// `hosts`. A host without a port is accepted on any port.
    fn is_ours(&self, called: Authority<'_>) -> bool {
        let is_own_port = called.port.is_none_or(|port| port == self.local.port());
        if is_own_port && self.is_own_host(called.host) {
            return true;
        }
        for name in &self.settings.hosts {
            if let Some(listed) = Authority::read(name)
                && listed.covers(called)
            {
                return true;
            }
        }
        false
    }

    /// True for the address itself, loopback and `localhost`: an address cannot
    /// be rebound as a name can, and browsers resolve `localhost` themselves.
    fn is_own_host(&self, host: &str) -> bool {
        let unbracketed = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        match unbracketed.parse::<IpAddr>() {
            Ok(address) => {
                let address = address.to_canonical();
                address.is_loopback() || address == self.local.ip().to_canonical()
            }
            Err(_) => host.eq_ignore_ascii_case("localhost"),
        }
    }

    /// True for an origin of this listener. The port counts, as another service
    /// of this machine is another origin.
    fn is_our_origin(&self, origin: &[u8]) -> bool {
        let Ok(origin) = str::from_utf8(origin) else {
            return false;
        };
        let (authority, port) = match origin.split_once("://") {
            Some(("http", authority)) => (authority, HTTP),
            Some(("https", authority)) => (authority, HTTPS),
            _ => return false,
        };
        let Some(mut authority) = Authority::read(authority) else {
            return false;
        };
        authority.port.get_or_insert(port);
        self.is_ours(authority)
    }

    /// How much of the values of keys a caller with these headers may see.
    pub(super) fn sight(&self, headers: &HeaderMap) -> Sight {
        match self.settings.token {
            None => Sight::NoSecrets,
            Some(_) if self.check_token(headers).is_ok() => Sight::All,
            Some(_) => Sight::Nothing,
        }
    }

    /// Checks the bearer token (RFC 6750, 2.1), if one is configured.
    ///
    /// # Errors
    /// It is missing, given twice, or wrong.
    fn check_token(&self, headers: &HeaderMap) -> Result<(), Denial> {
        let Some(token) = &self.settings.token else {
            return Ok(());
        };
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(given), None) = (given.next(), given.next()) else {
            return Err(Denial::NoToken);
        };
        match given.as_bytes().split_at_checked(b"bearer ".len()) {
            Some((scheme, given)) if scheme.eq_ignore_ascii_case(b"bearer ") => {
                if is_same(given.trim_ascii(), token.0.as_bytes()) {
                    Ok(())
                } else {
                    Err(Denial::WrongToken)
                }
            }
            _ => Err(Denial::NoToken),
        }
    }
}

/// Compares in a time that depends on the length of `given` alone, so that the
/// time does not reveal how many bytes were right.
fn is_same(given: &[u8], token: &[u8]) -> bool {
    let mut differs = 0;
    for (given, expected) in given.iter().zip(token.iter().cycle()) {
        differs |= given ^ expected;
    }
    std::hint::black_box(differs) == 0 && given.len() == token.len() && !token.is_empty()
}

/// A host as written, with IPv6 in brackets, and its port.
#[derive(Debug, Clone, Copy)]
struct Authority<'a> {
    /// The host, as it is written.
    host: &'a str,
    /// The port, if one is written.
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Parses `host`, `host:port` or `[address]:port`; `None` for anything
    /// else.
    fn read(text: &'a str) -> Option<Self> {
        let end = match text.starts_with('[') {
            true => text.find(']')? + 1,
            false => text.find(':').unwrap_or(text.len()),
        };
        let (host, rest) = text.split_at(end);
        if host.is_empty() {
            return None;
        }
        if rest.is_empty() {
            return Some(Self { host, port: None });
        }
        let digits = rest.strip_prefix(':')?;
        // A number may have a sign for `parse`, and a port may not.
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let port = Some(digits.parse().ok()?);
        Some(Self { host, port })
    }

    /// Whether this name, as it is configured, is the one that a call names. A
    /// name without a port stands for every port.
    fn covers(self, called: Authority<'_>) -> bool {
        let port = called.port.unwrap_or(HTTP);
        self.host.eq_ignore_ascii_case(called.host) && self.port.is_none_or(|listed| listed == port)
    }
}

#[cfg(test)]
mod tests;
