//! Fields in which a proxy describes the request that it received: client,
//! host, path, protocol, method and certificate.
//!
//! Services believe them, and neither browsers nor API clients send them by
//! themselves, so they are accepted from trusted proxies only. Fields with
//! identities (`X-User` and the like) are not among them: each service has
//! names of its own, and a route removes or sets them.
//!
//! The list consists of RFC 7239 (`Forwarded`), RFC 9440 (`Client-Cert`), and
//! the fields that proxies, content delivery networks and clouds document. A
//! name that is missing here reaches the service as the client sent it; one
//! that is too many costs a client a field that no service reads. So names are
//! rather added than left out.
//!
//! Names are compared as a service with CGI or WSGI sees them, in any letter
//! case and with `_` for `-`.
//!
//! # Callers
//!
//! The parser of heads notes whether a request has any such field
//! (`Headers`). Only then does the gateway search for them, and it removes
//! those of clients that are not trusted. The layer that forwards a request
//! asks for each name in `Trailer`, so that no claim passes as a trailer.
//!
//! # Cost
//!
//! The check runs for each field of each request. Two letters are compared
//! first, which rules out nearly every other name. A name that passes is
//! compared with at most 31 others.
//!
//! # Changes
//!
//! A name in lower case with hyphens is added to the list that its beginning
//! belongs to. [`is_claim`] looks at `OTHERS` only for certain first letters: a
//! name with new ones needs an arm there, which a test demands.

/// The beginnings of many such names: `X-Forwarded-For`, `-Proto`, `-Host`,
/// `-Port`, `-Prefix`, `-Server`, `-Ssl`, `-Scheme`, `-User`, `-Client-Cert`
/// and others; `X-Original-URL`, `-URI`, `-Host`, `-Method`; `X-HTTP-Method`
/// and `X-HTTP-Method-Override`; `X-SSL-Client-Cert`, `-Verify`, `-S-DN` and
/// others.
///
/// In lower case. Each is a claim by itself, too.
const PREFIXES: [&[u8]; 4] = [
    b"x-forwarded",
    b"x-original-",
    b"x-http-method",
    b"x-ssl-client",
];

/// The other names that begin with `x-`.
///
/// In lower case, with the full name: longer names that begin like one of these
/// are no claims.
const WITH_X: [&[u8]; 27] = [
    // The client.
    b"x-real-ip",
    b"x-real-port",
    b"x-client-ip",
    b"x-cluster-client-ip",
    b"x-originating-ip",
    b"x-true-client-ip",
    b"x-remote-ip",
    b"x-remote-addr",
    b"x-proxyuser-ip",
    b"x-appengine-user-ip",
    b"x-azure-clientip",
    b"x-azure-socketip",
    b"x-envoy-external-address",
    b"x-envoy-internal",
    b"x-nf-client-connection-ip",
    b"x-sucuri-clientip",
    b"x-vercel-forwarded-for",
    b"x-arr-clientcert",
    b"x-client-cert",
    // The target and the protocol.
    b"x-host",
    b"x-http-host-override",
    b"x-rewrite-url",
    b"x-envoy-original-path",
    b"x-method-override",
    b"x-url-scheme",
    b"x-scheme",
    b"x-arr-ssl",
];

/// The names that do not begin with `x-`, in lower case and in full.
///
/// `Proxy` describes no client. It is listed for the harm that it does to
/// programs that run under CGI.
const OTHERS: [&[u8]; 22] = [
    // The client.
    b"true-client-ip",
    b"client-ip",
    b"cf-connecting-ip",
    b"cf-connecting-ipv6",
    b"cf-pseudo-ipv4",
    b"cloudfront-viewer-address",
    b"do-connecting-ip",
    b"fastly-client-ip",
    b"fly-client-ip",
    b"incap-client-ip",
    b"forwarded",
    b"forwarded-for",
    b"proxy-client-ip",
    b"wl-proxy-client-ip",
    // RFC 9440, 4: a proxy that terminates TLS removes them from the requests
    // of clients.
    b"client-cert",
    b"client-cert-chain",
    b"ssl-client-cert",
    // The protocol.
    b"front-end-https",
    b"cf-visitor",
    b"cloudfront-forwarded-proto",
    b"fastly-ssl",
    // CGI turns it into HTTP_PROXY, by which programs choose their own proxy
    // (CVE-2016-5385).
    b"proxy",
];

/// Whether a request's field, its name in any case, is a claim that only a
/// trusted proxy may make.
///
/// Names of fewer than two bytes are never claims. Bytes that no name may hold
/// are compared like any other, without harm.
pub fn is_claim(name: &[u8]) -> bool {
    let [first, second, ..] = name else {
        return false;
    };
    // Two letters distinguish most fields of most requests from these. The bit
    // turns letters into lower case, and `_` into a byte that no name contains.
    match &[first | 0x20, second | 0x20] {
        b"x-" | b"x\x7f" => {
            let begins = |prefix: &&[u8]| {
                name.get(..prefix.len())
                    .is_some_and(|start| is_same(start, prefix))
            };
            PREFIXES.iter().any(begins) || WITH_X.iter().any(|claim| is_same(name, claim))
        }
        b"cf" | b"cl" | b"do" | b"fa" | b"fl" | b"fo" | b"fr" | b"in" | b"pr" | b"ss" | b"tr"
        | b"wl" => OTHERS.iter().any(|claim| is_same(name, claim)),
        _ => false,
    }
}

/// Whether two field names are the same to a service: in any letter case and,
/// as with CGI and WSGI, with `_` for `-`.
///
/// Both are compared byte by byte, after their lengths. Neither has to be in
/// lower case. Bytes beyond ASCII are the same only if they are equal.
pub fn is_same(name: &[u8], other: &[u8]) -> bool {
    let fold = |byte: &u8| {
        if *byte == b'_' {
            b'-'
        } else {
            byte.to_ascii_lowercase()
        }
    };
    name.len() == other.len() && name.iter().map(fold).eq(other.iter().map(fold))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_claim_of_the_lists_is_found() {
        for claim in PREFIXES.iter().chain(&WITH_X).chain(&OTHERS) {
            assert!(
                is_claim(claim) && is_claim(&claim.to_ascii_uppercase()),
                "{}",
                String::from_utf8_lossy(claim)
            );
            let folded: Vec<u8> = claim
                .iter()
                .map(|byte| if *byte == b'-' { b'_' } else { *byte })
                .collect();
            assert!(is_claim(&folded), "{}", String::from_utf8_lossy(&folded));
        }
    }

    #[test]
    fn what_a_proxy_claims_is_told_from_what_clients_say() {
        for name in [
            "x-real-ip",
            "X-Real-IP",
            "X_Real_IP",
            "True-Client-Ip",
            "cf-connecting-ip",
            "x-forwarded-for",
            "x-forwarded-port",
            "X-Forwarded-Prefix",
            "x_forwarded_server",
            "x-forwarded-ssl",
            "forwarded",
            "x-original-url",
            "x-rewrite-url",
            "x-http-method-override",
            "x-method-override",
            "x-http-method",
            "X-SSL-Client-Verify",
            "x_ssl_client_cert",
            "WL-Proxy-Client-IP",
            "X-Originating-IP",
            "front-end-https",
            "client-cert",
            "proxy",
        ] {
            assert!(is_claim(name.as_bytes()), "{name}");
        }
        for name in [
            "",
            "x",
            "x-request-id",
            "x-api-key",
            "x-forward",
            "x-requested-with",
            "accept",
            "cookie",
            "content-type",
            "traceparent",
            "from",
            "proxy-authorization",
            "priority",
            "forwarded-forx",
        ] {
            assert!(!is_claim(name.as_bytes()), "{name}");
        }
    }
}
