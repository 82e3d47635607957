//! Locations and cookies of a service, mapped back to what its client sees.
//!
//! A service behind the gateway may be reached under another scheme, host and
//! path than the client knows. It writes its own into `Location`,
//! `Content-Location`, `Refresh` and the attributes of cookies. A route with
//! `response.locations` has these mapped back, as NGINX does with
//! `proxy_redirect`, `proxy_cookie_path` and `proxy_cookie_domain`.
//!
//! A URL is one of the service if its authority is that of a server of the
//! upstream, or the host that the client asked for; a path alone always is. All
//! others pass untouched, and so do URLs with a login, a backslash or a control
//! character, which browsers and this code could read differently.
//!
//! # The path
//!
//! Requests lose `strip_prefix` and get `add_prefix`, and a path in a response
//! goes the other way. One that does not begin with `add_prefix` is no path that
//! a request of the route reaches, and stays. A path that a template rewrites
//! has no way back and stays, too. Prefixes that trusted proxies have taken off
//! before, as they say in `X-Forwarded-Prefix`, are put before the path: the
//! client has to send it there again.
//!
//! # Cost
//!
//! A response without any of these fields costs four searches for their names;
//! one with them takes time in proportion to its fields. Routes without
//! `response.locations` pay nothing.

mod cookie;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, cell::LazyCell, ops::Range};

use http::{HeaderName, header};

use super::{super::rewrite::after_prefix, head, hops::ReceivedHops, prefix};
use crate::{
    call::Exchange,
    message::Response,
    policy::{Rewrite, UpstreamServer, path},
};

/// `Refresh`, which is in the HTML standard and in no RFC.
const REFRESH: HeaderName = HeaderName::from_static("refresh");

/// How the locations and cookies of an upstream's responses are mapped back.
#[derive(Debug)]
pub struct Locations {
    /// Where the servers are, as they may call themselves.
    servers: Vec<ServerOrigin>,
    /// The prefix that requests lose: whole segments without a trailing `/`, or
    /// empty.
    strip: String,
    /// The prefix that they get, likewise.
    add: String,
    /// Whether a path of the service is one of the client's with other prefixes.
    /// It is not if a template makes it.
    has_way_back: bool,
}

/// The origin of a server (RFC 6454).
#[derive(Debug)]
struct ServerOrigin {
    is_tls: bool,
    /// Host and port as the URL has them.
    authority: Box<str>,
}

/// The origin that the client asked for, as far as the gateway is told.
struct ClientOrigin<'a> {
    is_tls: bool,
    /// Host and port as the client named them; empty if it named none.
    authority: Cow<'a, [u8]>,
    /// The prefix that trusted proxies have taken off the path: whole segments
    /// without a trailing `/`, or empty.
    prefix: &'a [u8],
}

/// A URL up to its path.
struct UrlOrigin<'a> {
    /// `None` for a URL that begins with `//`.
    is_tls: Option<bool>,
    authority: &'a [u8],
}

impl Locations {
    /// The way back of requests that `rewrite` changes and that go to these
    /// servers.
    pub fn new(rewrite: &Rewrite, servers: &[UpstreamServer]) -> Self {
        let (strip, add) = match rewrite {
            Rewrite::Prefix { strip, add } => (strip.clone(), add.clone()),
            Rewrite::None | Rewrite::Template(_) => Default::default(),
        };
        let origin = |server: &UpstreamServer| ServerOrigin {
            is_tls: server.secure_as.is_some(),
            authority: server.authority().into(),
        };
        Self {
            servers: servers.iter().map(origin).collect(),
            strip,
            add,
            has_way_back: !matches!(rewrite, Rewrite::Template(_)),
        }
    }

    /// Maps the fields of a `response` to the request of `exchange`.
    pub(super) fn apply(&self, response: &mut Response, exchange: &Exchange) {
        let fields = &mut response.fields;
        // Most responses have none of the fields.
        let prefix = LazyCell::new(|| prefix::received(exchange));
        let client = LazyCell::new(|| ClientOrigin::of(exchange, &prefix));
        for name in [header::LOCATION, header::CONTENT_LOCATION, REFRESH] {
            fields.change(&name, |value| match name == REFRESH {
                true => self.refresh(value, &client),
                false => self.url(value, &client),
            });
        }
        fields.change(&header::SET_COOKIE, |value| self.cookie(value, &prefix));
    }

    /// The URL in place of this one; `None` if it stays.
    fn url(&self, url: &[u8], client: &ClientOrigin<'_>) -> Option<Vec<u8>> {
        let is_odd = |byte: &u8| byte.is_ascii_control() || *byte == b'\\';
        if url.iter().any(is_odd) {
            return None;
        }
        let (origin, rest) = split(url)?;
        let mut mapped = match &origin {
            Some(origin) => self.origin(origin, client)?,
            None => Vec::new(),
        };
        let end = rest.iter().position(|byte| matches!(byte, b'?' | b'#'));
        let (path, behind) = rest.split_at(end.unwrap_or(rest.len()));
        // A URL without a path has the root.
        let path = if path.is_empty() { b"/" } else { path };
        match self.path(path, client.prefix) {
            Some(path) => mapped.extend_from_slice(&path),
            None => mapped.extend_from_slice(path),
        }
        mapped.extend_from_slice(behind);
        Some(mapped).filter(|mapped| mapped != url)
    }

    /// The beginning of a URL in place of this one; `None` if it is not one of
    /// the service.
    ///
    /// A client that named no host gets a path alone. The scheme of the client's
    /// own host is only ever changed from http to https: a service that sends
    /// its clients to https means it.
    fn origin(&self, origin: &UrlOrigin<'_>, client: &ClientOrigin<'_>) -> Option<Vec<u8>> {
        let UrlOrigin { is_tls, authority } = *origin;
        let is_server = |server: &ServerOrigin| {
            let of_url = is_tls.unwrap_or(server.is_tls);
            let known = server.authority.as_bytes();
            of_url == server.is_tls && is_same(authority, of_url, known, server.is_tls)
        };
        let of_url = is_tls.unwrap_or(client.is_tls);
        let (is_https, authority) = if self.servers.iter().any(is_server) {
            (client.is_tls, &*client.authority)
        } else if is_same(authority, of_url, &client.authority, client.is_tls) {
            let has_plain = self.servers.iter().any(|server| !server.is_tls);
            (of_url || (client.is_tls && has_plain), authority)
        } else {
            return None;
        };
        let scheme = match is_tls {
            _ if authority.is_empty() => "",
            None => "//",
            Some(_) if is_https => "https://",
            Some(_) => "http://",
        };
        Some([scheme.as_bytes(), authority].concat())
    }

    /// The path in place of this one, which begins with `/`; `None` if it
    /// stays. The client has to put `prefix` before paths of the gateway.
    ///
    /// Dot segments count as the client resolves them. The result never begins
    /// with `//`, which would be the name of a host.
    fn path(&self, path: &[u8], prefix: &[u8]) -> Option<Vec<u8>> {
        if !self.has_way_back {
            return None;
        }
        let normal = match memchr::memmem::find(path, b"/.") {
            Some(_) => path::normal_form(path),
            None => None,
        };
        let path = normal.as_deref().map_or(path, str::as_bytes);
        let mut mapped = [prefix, self.strip.as_bytes()].concat();
        mapped.extend_from_slice(after_prefix(path, &self.add)?);
        if mapped.is_empty() {
            mapped.push(b'/');
        }
        (!mapped.starts_with(b"//")).then_some(mapped)
    }

    /// The value of a `Refresh` in place of this one, such as `5; url=/x`;
    /// `None` if it stays.
    fn refresh(&self, value: &[u8], client: &ClientOrigin<'_>) -> Option<Vec<u8>> {
        let Range { start, end } = url_of_refresh(value)?;
        let url = self.url(&value[start..end], client)?;
        Some([&value[..start], &url, &value[end..]].concat())
    }
}

impl<'a> ClientOrigin<'a> {
    /// The origin that services are told in `X-Forwarded-Proto` and
    /// `X-Forwarded-Host`: that of the request, or the one that a trusted proxy
    /// gives.
    fn of(exchange: &'a Exchange, prefix: &'a [u8]) -> Self {
        let received = exchange
            .client
            .chain
            .map(|chain| ReceivedHops::of(exchange, chain))
            .unwrap_or_default();
        let is_sound = |host: &Cow<'_, [u8]>| {
            let is_of_host = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(byte);
            host.iter().all(is_of_host)
        };
        let own = || Cow::Borrowed(head::host(exchange).unwrap_or_default());
        Self {
            is_tls: match received.proto.as_deref() {
                Some(said) if said.eq_ignore_ascii_case(b"https") => true,
                Some(said) if said.eq_ignore_ascii_case(b"http") => false,
                _ => exchange.origin.tls.is_some(),
            },
            authority: received.host.filter(is_sound).unwrap_or_else(own),
            prefix,
        }
    }
}

/// The place of the URL in a `Refresh`, as browsers read it (HTML, "shared
/// declarative refresh steps"): behind a time and `;`, `,` or a blank, with or
/// without `url=` and quotes. `None` if a browser takes it for no refresh.
fn url_of_refresh(value: &[u8]) -> Option<Range<usize>> {
    let skip = |at: usize, is: fn(&u8) -> bool| {
        let rest = value.get(at..).unwrap_or_default();
        at + rest.iter().take_while(|byte| is(byte)).count()
    };
    let after_blanks = |at| skip(at, u8::is_ascii_whitespace);
    let time = after_blanks(0);
    let time_end = skip(time, |byte| byte.is_ascii_digit() || *byte == b'.');
    let mut at = after_blanks(time_end);
    let is_separated = match value.get(at) {
        Some(b';' | b',') => {
            at = after_blanks(at + 1);
            true
        }
        _ => at > time_end,
    };
    if time_end == time || !is_separated {
        return None;
    }
    let word = value.get(at..at + 3).unwrap_or_default();
    let sign = after_blanks(at + 3);
    if word.eq_ignore_ascii_case(b"url") && value.get(sign) == Some(&b'=') {
        at = after_blanks(sign + 1);
    }
    Some(match value.get(at) {
        Some(quote @ (b'"' | b'\'')) => {
            let inside = &value[at + 1..];
            let length = memchr::memchr(*quote, inside).unwrap_or(inside.len());
            at + 1..at + 1 + length
        }
        _ => at.min(value.len())..value.len(),
    })
}

/// A URL as its origin, if it has one, and the rest from its path on. `None` if
/// it is no http URL and no path from the root, or if it has a login.
fn split(url: &[u8]) -> Option<(Option<UrlOrigin<'_>>, &[u8])> {
    let behind = |scheme: &str| {
        let (begin, rest) = url.split_at_checked(scheme.len())?;
        begin
            .eq_ignore_ascii_case(scheme.as_bytes())
            .then_some(rest)
    };
    let (is_tls, rest) = if let Some(rest) = behind("http://") {
        (Some(false), rest)
    } else if let Some(rest) = behind("https://") {
        (Some(true), rest)
    } else if let Some(rest) = behind("//") {
        (None, rest)
    } else {
        return url.starts_with(b"/").then_some((None, url));
    };
    let ends = |byte: &u8| matches!(byte, b'/' | b'?' | b'#');
    let end = rest.iter().position(ends).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let is_plain = !authority.is_empty() && !authority.contains(&b'@');
    is_plain.then_some((Some(UrlOrigin { is_tls, authority }), rest))
}

/// Whether two authorities are the same, each under its scheme, of which the
/// usual port may be left out.
fn is_same(one: &[u8], one_is_tls: bool, other: &[u8], other_is_tls: bool) -> bool {
    let usual = |is_tls| if is_tls { ":443" } else { ":80" };
    let without = |authority: &'_ [u8], is_tls: bool| {
        let bare = authority.strip_suffix(usual(is_tls).as_bytes());
        bare.unwrap_or(authority).to_ascii_lowercase()
    };
    without(one, one_is_tls) == without(other, other_is_tls)
}
