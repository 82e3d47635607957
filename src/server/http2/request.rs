//! From a header list to a request: HTTP/2's own spellings become those of
//! HTTP/1, strictly (RFC 9113, 8), so that the gateway knows one form.
//!
//! h2 has already refused requests with fields of the connection, with a `te`
//! other than `trailers`, with pseudo-fields that are missing, repeated or
//! late, and with lengths that are malformed. Names in upper case, fragments
//! and control characters come as a [`FieldFault`] among the extensions.
//!
//! * `:authority` becomes `Host`; if both are there, they have to agree.
//! * `cookie` fields are joined (RFC 9113, 8.2.3).
//! * The bounds of the listener apply as if the head came by HTTP/1, so that a
//!   client gains nothing by its choice of protocol.
//!
//! # Order
//!
//! [`normalise`] is the only entry, called once for each stream before the
//! request is handed to the service. A fault that was found in the block comes
//! first, since the repaired fields are not those that the client sent. `Host`
//! comes before the bounds, so that it is counted whichever way the client has
//! sent it. Cookies are joined last, when no field can be refused any more.
//!
//! # Cost
//!
//! A request that is like others allocates for its target and its `Host`, and
//! is passed over a few times. Fields are moved to a new value only if there
//! are several cookies.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Uri, header, request::Parts, uri::Scheme};

use super::blocks::FieldFault;
use crate::{error::Error, message::Headers, policy::HeadLimits};

/// Bytes of a line of HTTP/1 beside its name and value: colon, space and line
/// end.
///
/// The bytes are those of `: ` and CR LF.
const LINE_OVERHEAD: usize = 4;

/// Brings the fields of a request to the form that they have in HTTP/1, with
/// exactly one `Host`. Returns the target as HTTP/1 would write it, and the
/// fields.
///
/// `Host` is set from `:authority`, fields with `_` in their names are dropped
/// unless the listener keeps them, and cookies are joined. `parts` is changed
/// on the way, and of no further use after an error: the client gets a response
/// that is made of the error alone.
///
/// # Errors
/// [`Error::HeadTooLarge`], [`Error::TooManyHeaders`] or
/// [`Error::TargetTooLong`] beyond a bound of the listener, and
/// [`Error::Malformed`] for a list that no request has.
pub(super) fn normalise(parts: &mut Parts, limits: &HeadLimits) -> Result<(Bytes, Headers), Error> {
    if let Some(fault) = parts.extensions.get::<FieldFault>() {
        return Err(Error::Malformed(match fault {
            FieldFault::Fragment => "the target holds a fragment",
            FieldFault::Name => {
                "the name of a field holds a character that no name may hold, or one in upper case"
            }
            FieldFault::Control => "the value of a field holds a control character",
        }));
    }
    name_host(&mut parts.headers, &parts.uri)?;
    bound(parts, limits)?;
    if parts
        .headers
        .values()
        .any(|value| is_padded(value.as_bytes()))
    {
        return Err(Error::Malformed(
            "a header value begins or ends with a space",
        ));
    }
    join_cookies(&mut parts.headers);
    let target = target(&parts.uri)?;
    let headers = Headers::collect(&parts.headers, limits.keeps_underscores);
    Ok((target, headers))
}

/// Checks the bounds of a head of HTTP/1, counted as if this were one.
///
/// The method and the target count without the blanks and the version of a
/// request line. A target that fills the bound by itself is reported as such,
/// with status 414, and any other excess as that of the fields, with 431.
fn bound(parts: &Parts, limits: &HeadLimits) -> Result<(), Error> {
    if parts.headers.len() > limits.headers {
        return Err(Error::TooManyHeaders {
            limit: limits.headers,
        });
    }
    let line = |(name, value): (&header::HeaderName, &HeaderValue)| {
        name.as_str().len() + value.len() + LINE_OVERHEAD
    };
    let target = parts
        .uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    let bytes =
        parts.headers.iter().map(line).sum::<usize>() + parts.method.as_str().len() + target;
    if bytes <= limits.bytes {
        Ok(())
    } else if target >= limits.bytes {
        Err(Error::TargetTooLong {
            limit: limits.bytes,
        })
    } else {
        Err(Error::HeadTooLarge {
            limit: limits.bytes,
        })
    }
}

/// Whether a value begins or ends with a blank: HTTP/1 removes blanks around a
/// value, and in HTTP/2 they make it malformed (RFC 9113, 8.2.1).
///
/// An empty value is not padded.
fn is_padded(value: &[u8]) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_space(value.first()) || is_space(value.last())
}

/// Joins the cookies. A client may send them in several fields, which compress
/// better; upstreams want one (RFC 9113, 8.2.3).
///
/// The order of the fields is kept, and `; ` stands between them. One field is
/// left as it is, without a copy.
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    if cookies.next().is_none() || cookies.next().is_none() {
        return;
    }
    let cookies: Vec<_> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(whole) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
        headers.insert(header::COOKIE, whole);
    }
}

/// Makes `:authority` the `Host`. If both are there they have to agree, since
/// services may look at either. The scheme's own port may be left empty or out
/// (RFC 9113, 8.3.1; RFC 9110, 4.2.3), and so may a final dot.
///
/// A request that has only `Host` keeps it. One that has neither gets none.
/// After this call there is at most one `Host` if `:authority` was there,
/// spelled as in `:authority`.
///
/// # Errors
/// [`Error::Malformed`] if a `Host` names another host or port, or if the
/// authority cannot be the value of a field.
fn name_host(headers: &mut HeaderMap, uri: &Uri) -> Result<(), Error> {
    let Some(authority) = uri.authority() else {
        return Ok(());
    };
    let port: &[u8] = if uri.scheme() == Some(&Scheme::HTTPS) {
        b":443"
    } else {
        b":80"
    };
    let bare = |host: &[u8]| {
        let host = host
            .strip_suffix(port)
            .or_else(|| host.strip_suffix(b":"))
            .unwrap_or(host);
        host.strip_suffix(b".").unwrap_or(host).to_ascii_lowercase()
    };
    let is_other = |host: &HeaderValue| {
        let (host, authority) = (host.as_bytes(), authority.as_str().as_bytes());
        !host.eq_ignore_ascii_case(authority) && bare(host) != bare(authority)
    };
    if headers.get_all(header::HOST).iter().any(is_other) {
        return Err(Error::Malformed("its Host is not its :authority"));
    }
    let host = HeaderValue::from_str(authority.as_str());
    headers.insert(
        header::HOST,
        host.map_err(|_| Error::Malformed("its host cannot be read"))?,
    );
    Ok(())
}

/// The target of the request; `*` for CONNECT, which has none and is refused
/// later.
///
/// The path and the query are copied as they came, without any decoding.
///
/// # Errors
/// It is no path.
fn target(uri: &Uri) -> Result<Bytes, Error> {
    // CONNECT has none; the gateway says so when it sees the method.
    let Some(target) = uri.path_and_query() else {
        return Ok(Bytes::from_static(b"*"));
    };
    match target.as_str().as_bytes() {
        target @ ([b'/', ..] | b"*") => Ok(Bytes::copy_from_slice(target)),
        // An absolute form would name a second host.
        _ => Err(Error::Malformed("the target is not a path")),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::message::FieldName;

    const LIMITS: HeadLimits = HeadLimits {
        bytes: 1000,
        headers: 4,
        keeps_underscores: false,
    };

    fn normalised(uri: &str, headers: &[(&'static str, &str)]) -> Result<(Bytes, Headers), Error> {
        let mut parts = Request::builder().uri(uri).body(()).unwrap().into_parts().0;
        for (name, value) in headers {
            parts.headers.append(*name, value.parse().unwrap());
        }
        normalise(&mut parts, &LIMITS)
    }

    #[test]
    fn the_authority_is_the_one_host() {
        for headers in [&[][..], &[("host", "A.example")]] {
            let (target, headers) = normalised("http://a.example/x?y", headers).unwrap();
            assert_eq!(
                (&target[..], headers.only(FieldName::Host)),
                (&b"/x?y"[..], Some(&b"a.example"[..]))
            );
        }
        for headers in [
            &[("host", "b.example")][..],
            &[("host", "a.example"), ("host", "b.example")],
        ] {
            assert!(matches!(
                normalised("http://a.example/", headers),
                Err(Error::Malformed(_))
            ));
        }
    }

    #[test]
    fn the_port_of_the_scheme_need_not_be_named_by_both() {
        for (uri, host) in [
            ("http://svc.test:80/", "svc.test"),
            ("http://svc.test/", "SVC.test:80"),
            ("https://svc.test:443/", "svc.test"),
            ("https://svc.test/", "svc.test:443"),
            ("http://[::1]:80/", "[::1]"),
            ("http://svc.test/", "svc.test:"),
            ("http://svc.test:/", "svc.test"),
            ("http://svc.test./", "svc.test"),
            ("http://svc.test/", "Svc.test.:80"),
        ] {
            assert!(normalised(uri, &[("host", host)]).is_ok(), "{uri} {host}");
        }
        for (uri, host) in [
            ("http://svc.test:443/", "svc.test"),
            ("https://svc.test/", "svc.test:80"),
            ("http://svc.test:8080/", "svc.test"),
            ("http://svc.test:80/", "svc.tes"),
            ("http://svc.test:80/", "svc.test:81"),
        ] {
            assert!(
                matches!(normalised(uri, &[("host", host)]), Err(Error::Malformed(_))),
                "{uri} {host}"
            );
        }
    }

    #[test]
    fn a_cookie_in_pieces_is_joined() {
        let (_, headers) = normalised(
            "http://a/",
            &[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")],
        )
        .unwrap();
        assert!(headers.all(&header::COOKIE).eq([b"a=1; b=2; c=3"]));
    }

    #[test]
    fn a_head_has_the_bounds_that_it_has_in_http_1() {
        let long = "x".repeat(1000);
        assert!(matches!(
            normalised("http://a/", &[("a", &long)]),
            Err(Error::HeadTooLarge { .. })
        ));
        assert!(matches!(
            normalised(&format!("http://a/{long}"), &[]),
            Err(Error::TargetTooLong { .. })
        ));
        assert!(matches!(
            normalised("http://a/", &[("a", ""); 4]),
            Err(Error::TooManyHeaders { .. })
        ));
        assert!(normalised("http://a/", &[("a", &long[..900])]).is_ok());
    }

    #[test]
    fn spaces_around_a_value_are_not_forgiven() {
        let parts = |value| {
            let mut parts = Request::builder()
                .uri("http://a/")
                .body(())
                .unwrap()
                .into_parts()
                .0;
            parts.headers.append("a", HeaderValue::from_static(value));
            normalise(&mut parts, &LIMITS)
        };
        for value in [" a", "a ", "\ta", " "] {
            assert!(parts(value).is_err(), "{value:?}");
        }
        assert!(parts("a b").is_ok() && parts("").is_ok());
    }
}
