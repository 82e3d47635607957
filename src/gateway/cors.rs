//! The CORS protocol of the Fetch standard: the responses to preflights, and
//! the fields by which a browser lets a page of another origin read a response.
//!
//! # Preflights
//!
//! Before a request that a form could not send, a browser asks with OPTIONS
//! whether it may. Such a preflight is about another request: it is routed by
//! the method that it asks about, and answered before any layer runs, so that
//! it takes no token, no permit and no server. The response lists everything
//! that the route permits, whatever was asked: the browser compares, and tells
//! the page's author what is missing.
//!
//! # Responses
//!
//! Every response on a route with `cors` has the fields, those of the gateway
//! itself included: without them a page could not tell a refusal from a network
//! that is down. Fields of the protocol that a service sends are removed, since
//! two of them together are refused by every browser.
//!
//! An origin that is not permitted gets no field, and its request is treated
//! like any other. The standard protects people with a browser, and the service
//! has to protect itself.
//!
//! # Caches
//!
//! A response for `*` is the same for all origins and has no `Vary`. All others
//! say `Vary: Origin`, also if the request has no origin (Fetch, "CORS protocol
//! and HTTP caches").

use http::{Method, StatusCode, header};

use super::vary;
use crate::{
    body::Body,
    duration::whole_seconds,
    message::{FieldName, Fields, Headers, RequestHead, Response},
    policy::Cors,
};

/// The prefix of the names of all response fields of the protocol.
const PREFIX: &[u8] = b"access-control-";

/// The request fields by which a response to a preflight is chosen.
const VARY: &str = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

/// The method that a preflight asks about; `None` for every other request.
///
/// A preflight has an origin and names one method, which is a token.
pub(super) fn asked_method(request: &RequestHead) -> Option<Method> {
    if request.method != Method::OPTIONS || !request.headers.has(FieldName::Origin) {
        return None;
    }
    let mut methods = request.headers.all(&header::ACCESS_CONTROL_REQUEST_METHOD);
    let method = Method::from_bytes(methods.next()?).ok()?;
    methods.next().is_none().then_some(method)
}

/// The response to a preflight with these `headers`: an empty 204, which says
/// nothing to an origin that is not permitted.
pub(super) fn to_preflight(cors: &Cors, headers: &Headers) -> Response {
    let mut response = Response::new(StatusCode::NO_CONTENT, Body::empty());
    let fields = &mut response.fields;
    fields.push(header::VARY.as_str(), VARY.as_bytes());
    if !allow(fields, cors, headers) {
        return response;
    }
    let methods = cors.methods.iter().map(Method::as_str);
    push_list(
        fields,
        header::ACCESS_CONTROL_ALLOW_METHODS.as_str(),
        methods,
    );
    let names = cors.headers.iter().map(|name| name.as_str());
    push_list(fields, header::ACCESS_CONTROL_ALLOW_HEADERS.as_str(), names);
    let name = header::ACCESS_CONTROL_MAX_AGE;
    fields.push_number(name.as_str(), whole_seconds(cors.max_age));
    response
}

/// Writes the fields of any other response, to a request with these `headers`,
/// in the place of those that the response has.
pub(super) fn describe(fields: &mut Fields, cors: &Cors, headers: &Headers) {
    fields.remove_prefixed(PREFIX);
    if allow(fields, cors, headers) {
        let names = cors.expose.iter().map(|name| name.as_str());
        push_list(
            fields,
            header::ACCESS_CONTROL_EXPOSE_HEADERS.as_str(),
            names,
        );
    }
}

/// Permits the origin of a request with these `headers` to read the response.
/// Returns false, and permits nothing, if it may not.
///
/// Several lines of `Origin` are none: no browser sends them, and it is unknown
/// which of them is meant.
fn allow(fields: &mut Fields, cors: &Cors, headers: &Headers) -> bool {
    let name = header::ACCESS_CONTROL_ALLOW_ORIGIN;
    if cors.is_for_all() {
        fields.push(name.as_str(), b"*");
        return true;
    }
    vary::add(fields, "Origin");
    let origin = headers.only(FieldName::Origin);
    let Some(origin) = origin.filter(|origin| cors.allows(origin)) else {
        return false;
    };
    fields.push(name.as_str(), origin);
    if cors.credentials {
        let name = header::ACCESS_CONTROL_ALLOW_CREDENTIALS;
        fields.push(name.as_str(), b"true");
    }
    true
}

/// Writes a field with these members; an empty list writes nothing.
fn push_list<'n>(fields: &mut Fields, name: &str, members: impl ExactSizeIterator<Item = &'n str>) {
    if members.len() == 0 {
        return;
    }
    fields.push_with(name, |out| {
        for (index, member) in members.enumerate() {
            out.extend_from_slice(if index == 0 { b"" } else { b", " });
            out.extend_from_slice(member.as_bytes());
        }
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderName;

    use super::*;
    use crate::policy::OriginPattern;

    fn cors(origins: Vec<OriginPattern>) -> Cors {
        Cors {
            origins,
            methods: vec![Method::GET, Method::PUT],
            headers: vec![header::CONTENT_TYPE],
            expose: vec![header::RETRY_AFTER, HeaderName::from_static("ratelimit")],
            credentials: false,
            max_age: Duration::from_millis(1500),
        }
    }

    fn one() -> Cors {
        cors(vec![OriginPattern::Exact("https://a.example".into())])
    }

    fn described(cors: &Cors, origin: Option<&str>, backend: &[(&str, &str)]) -> String {
        let headers = origin.iter().map(|origin| ("Origin", *origin)).collect();
        let mut fields = Fields::default();
        for (name, value) in backend {
            fields.push(name, value.as_bytes());
        }
        describe(&mut fields, cors, &headers);
        String::from_utf8(fields.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_permitted_origin_is_repeated_and_another_one_gets_nothing() {
        assert_eq!(
            described(&one(), Some("https://a.example"), &[]),
            "vary: Origin\r\naccess-control-allow-origin: https://a.example\r\n\
             access-control-expose-headers: retry-after, ratelimit\r\n"
        );
        for origin in [None, Some("https://b.example"), Some("null"), Some("*")] {
            assert_eq!(described(&one(), origin, &[]), "vary: Origin\r\n");
        }
    }

    #[test]
    fn a_response_for_all_is_the_same_for_all() {
        let all = cors(vec![OriginPattern::Any]);
        for origin in [None, Some("null"), Some("https://a.example")] {
            assert_eq!(
                described(&all, origin, &[("vary", "Accept")]),
                "vary: Accept\r\naccess-control-allow-origin: *\r\n\
                 access-control-expose-headers: retry-after, ratelimit\r\n"
            );
        }
    }

    #[test]
    fn fields_of_the_service_are_replaced_in_any_letter_case() {
        let backend = [
            ("Access-Control-Allow-Origin", "*"),
            ("ACCESS-CONTROL-MAX-AGE", "1"),
            ("x-access-control-a", "kept"),
            ("Vary", "Accept-Encoding"),
        ];
        assert_eq!(
            described(&one(), None, &backend),
            "x-access-control-a: kept\r\nvary: Accept-Encoding, Origin\r\n"
        );
    }

    #[test]
    fn credentials_are_permitted_to_permitted_origins_only() {
        let mut cors = one();
        cors.credentials = true;
        let told = |origin| described(&cors, Some(origin), &[]);
        let field = "access-control-allow-credentials: true\r\n";
        assert!(told("https://a.example").contains(field));
        assert!(!told("https://a.example.evil.org").contains(field));
    }

    #[test]
    fn a_preflight_is_an_options_request_with_an_origin_and_one_method() {
        let asked = |method, lines: &[(&str, &str)]| {
            asked_method(&RequestHead {
                method,
                version: http::Version::HTTP_11,
                headers: lines.iter().copied().collect(),
                names_hops: false,
                upgrade: None,
            })
        };
        let (origin, name) = (("Origin", "null"), "access-control-request-method");
        let put = asked(Method::OPTIONS, &[origin, (name, "PUT")]);
        assert_eq!(put, Some(Method::PUT));
        assert_eq!(asked(Method::GET, &[origin, (name, "PUT")]), None);
        assert_eq!(asked(Method::OPTIONS, &[(name, "PUT")]), None);
        assert_eq!(asked(Method::OPTIONS, &[origin]), None);
        assert_eq!(asked(Method::OPTIONS, &[origin, (name, "P T")]), None);
        let two = [origin, (name, "PUT"), (name, "GET")];
        assert_eq!(asked(Method::OPTIONS, &two), None);
    }
}
