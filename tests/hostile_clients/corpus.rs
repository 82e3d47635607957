//! A corpus of known attacks on HTTP/1. Each has one expected outcome at both
//! ends: the client's response, and the requests that arrive upstream. Variants
//! are in `heads` and `bodies`.

use std::sync::{Arc, Mutex};

use crate::support::{Gateway, Upstream, ok, one_route};

/// Sent behind each attack. An attack that swallows this request or splits
/// another one from it is noticed.
const LAST: &str = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// The expected outcome of an attack.
enum Outcome {
    /// The client gets 400 and the end of the connection; nothing arrives
    /// upstream.
    Refused,
    /// These requests arrive upstream, each as "METHOD target host body",
    /// followed by [`LAST`].
    Passes(&'static [&'static str]),
    /// The body turns out to be malformed: the client gets 400 and the end of
    /// the connection, and at most an incomplete request arrives upstream.
    BreaksOff,
}
use Outcome::{BreaksOff, Passes, Refused};

const CORPUS: &[(&str, &str, Outcome)] = &[
    // Two lengths (RFC 9112, 6.3; "HTTP Desync Attacks", Kettle 2019).
    (
        "CL.TE",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
        Refused,
    ),
    (
        "TE.CL",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n8\r\nSMUGGLED\r\n0\r\n\r\n",
        Refused,
    ),
    (
        "CL.CL",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        Refused,
    ),
    (
        "CL.CL, the same",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        Refused,
    ),
    (
        "CL in a list",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello",
        Refused,
    ),
    (
        "CL with a sign",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
        Refused,
    ),
    (
        "CL below nothing",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        Refused,
    ),
    (
        "CL beyond 2^64",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551621\r\n\r\nhello",
        Refused,
    ),
    (
        "CL with spaces around it",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:  \t5 \r\n\r\nhello",
        Passes(&["POST / a hello"]),
    ),
    (
        "CL.0",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 28\r\n\r\nGET /x HTTP/1.1\r\nHost: b\r\n\r\n",
        Passes(&["GET / a GET /x HTTP/1.1\r\nHost: b\r\n\r\n"]),
    ),
    (
        "a body without a length",
        "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
        Passes(&["POST / a "]),
    ),
    // Disguised transfer codings.
    (
        "TE.TE",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        Refused,
    ),
    (
        "TE with a letter before it",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        Refused,
    ),
    (
        "TE twice",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        Refused,
    ),
    (
        "TE with a vertical tab",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n",
        Refused,
    ),
    (
        "TE with a space before its colon",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        Refused,
    ),
    (
        "TE on a folded line",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        Refused,
    ),
    (
        "TE behind a bare CR",
        "POST / HTTP/1.1\r\nHost: a\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused,
    ),
    (
        "TE in HTTP/1.0",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused,
    ),
    (
        "TE with an underscore is another field",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n",
        Passes(&["GET / a "]),
    ),
    (
        "TE in capitals",
        "POST / HTTP/1.1\r\nHost: a\r\nTRANSFER-ENCODING: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        Passes(&["POST / a hello"]),
    ),
    (
        "TE that Connection names",
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        Passes(&["POST / a hello"]),
    ),
    (
        "CL that Connection names",
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\nContent-Length: 5\r\n\r\nhello",
        Passes(&["POST / a hello"]),
    ),
    // Chunks.
    (
        "a chunk extension",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0\r\n\r\n",
        Passes(&["POST / a hello"]),
    ),
    (
        "a chunk extension with a bare LF",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a\nhello\r\n0\r\n\r\n",
        BreaksOff,
    ),
    (
        "a chunk size beyond 2^64",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n",
        BreaksOff,
    ),
    (
        "a chunk size below nothing",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        BreaksOff,
    ),
    (
        "a chunk size with 0x",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        BreaksOff,
    ),
    (
        "a chunk size with a space",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
        BreaksOff,
    ),
    (
        "a chunk longer than its size",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n",
        BreaksOff,
    ),
    (
        "a chunk that ends in two other characters",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
        BreaksOff,
    ),
    (
        "a length among the trailers",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n",
        Passes(&["POST / a hello"]),
    ),
    // Lines and fields.
    (
        "a folded line",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
        Refused,
    ),
    (
        "a field before the first name",
        "GET / HTTP/1.1\r\n Host: b\r\nHost: a\r\n\r\n",
        Refused,
    ),
    // RFC 9112, 2.2 allows a recipient to accept a bare LF as a line end: one
    // parser then sees a field that another one does not.
    (
        "lines that end in a bare LF",
        "GET / HTTP/1.1\nHost: a\nX: y\n\n",
        Refused,
    ),
    (
        "one line that ends in a bare LF",
        "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
        Refused,
    ),
    (
        "a request line that ends in a bare LF",
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        Refused,
    ),
    (
        "an empty line that ends in a bare LF",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        Refused,
    ),
    (
        "a bare LF before a request",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        Refused,
    ),
    (
        "TE behind a bare LF",
        "POST / HTTP/1.1\r\nHost: a\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused,
    ),
    (
        "trailers that end in a bare LF",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y\n\r\n\r\n",
        BreaksOff,
    ),
    (
        "NUL in a value",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n\r\n",
        Refused,
    ),
    (
        "NUL in a name",
        "GET / HTTP/1.1\r\nHost: a\r\nX\0: y\r\n\r\n",
        Refused,
    ),
    (
        "a name that is empty",
        "GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n",
        Refused,
    ),
    (
        "a line without a colon",
        "GET / HTTP/1.1\r\nHost: a\r\nGET /x HTTP/1.1\r\n\r\n",
        Refused,
    ),
    ("CR CR LF", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", Refused),
    // The authority: which host is meant.
    (
        "two hosts",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        Refused,
    ),
    ("no host", "GET / HTTP/1.1\r\n\r\n", Refused),
    (
        "two hosts in one",
        "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
        Refused,
    ),
    (
        "a port without a host",
        "GET / HTTP/1.1\r\nHost: :80\r\n\r\n",
        Refused,
    ),
    (
        "a dot for a host",
        "GET / HTTP/1.1\r\nHost: .\r\n\r\n",
        Refused,
    ),
    (
        "an empty label",
        "GET / HTTP/1.1\r\nHost: a..b\r\n\r\n",
        Refused,
    ),
    ("an empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", Refused),
    (
        "an empty host in HTTP/1.0",
        "GET / HTTP/1.0\r\nHost: \r\n\r\n",
        Refused,
    ),
    (
        "a port without a host in the target",
        "GET http://:80/ HTTP/1.1\r\nHost: a\r\n\r\n",
        Refused,
    ),
    (
        "a dot for a host in the target",
        "GET http://./ HTTP/1.1\r\nHost: a\r\n\r\n",
        Refused,
    ),
    (
        "a host with a user",
        "GET / HTTP/1.1\r\nHost: b@a\r\n\r\n",
        Refused,
    ),
    (
        "another host in the target wins",
        "GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n",
        Passes(&["GET /x b "]),
    ),
    (
        "a target whose host has a user",
        "GET http://b@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        Refused,
    ),
    // Request lines.
    ("two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    (
        "a space in the target",
        "GET /x y HTTP/1.1\r\nHost: a\r\n\r\n",
        Refused,
    ),
    (
        "a tab for a space",
        "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
        Refused,
    ),
    (
        "a space at the end",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        Refused,
    ),
    ("no version", "GET /\r\nHost: a\r\n\r\n", Refused),
    ("HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", Refused),
    (
        "nearly HTTP/2 in clear",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\t",
        Refused,
    ),
    ("a fragment", "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    (
        "a target that begins with @",
        "GET @b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        Refused,
    ),
    (
        "a control character in the target",
        "GET /\u{1} HTTP/1.1\r\nHost: a\r\n\r\n",
        Refused,
    ),
    (
        "CONNECT",
        "CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n",
        Refused,
    ),
    (
        "an empty line first",
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        Passes(&["GET / a "]),
    ),
    // Bytes behind a request, and other protocols.
    (
        "a request behind a request",
        "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
        Passes(&["GET /1 a ", "GET /2 a "]),
    ),
    (
        "a request behind a body",
        "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
        Passes(&["POST /1 a hello", "GET /2 a "]),
    ),
    (
        "a request behind an upgrade that is not wanted",
        "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
        Passes(&["GET /1 a ", "GET /2 a "]),
    ),
    (
        "HTTP/2 by an upgrade",
        "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
        Passes(&["GET /1 a "]),
    ),
];

#[test]
fn every_attack_of_the_corpus_has_its_expected_outcome_at_both_ends() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&seen);
    let upstream = Upstream::start(move |mut connection| {
        while let Ok(head) = connection.head() {
            let message = connection.message(head, false, false);
            if !message.is_whole {
                return;
            }
            let (method, host) = (
                message.head.line.split(' ').next().unwrap(),
                message.get("host").unwrap(),
            );
            record.lock().unwrap().push(format!(
                "{method} {} {host} {}",
                message.target(),
                message.text()
            ));
            connection.send(ok("fine"));
        }
    });
    let gateway = Gateway::start(&one_route(&upstream, ""));
    for (name, attack, outcome) in CORPUS {
        let mut client = gateway.connect();
        client.send(format!("{attack}{LAST}"));
        let expected: Vec<_> = match outcome {
            Passes(requests) => requests.iter().copied().chain(["GET /last a "]).collect(),
            Refused | BreaksOff => Vec::new(),
        };
        for request in &expected {
            assert_eq!(client.response().status(), 200, "{name}: {request}");
        }
        if expected.is_empty() {
            let response = client.response();
            assert_eq!(
                (response.status(), response.get("connection")),
                (400, Some("close")),
                "{name}"
            );
            response.problem();
        }
        let mut rest = Vec::new();
        client.rest(&mut rest);
        assert!(
            rest.is_empty(),
            "{name} is followed by {:?}",
            String::from_utf8_lossy(&rest)
        );
        assert_eq!(
            std::mem::take(&mut *seen.lock().unwrap()),
            expected,
            "{name}"
        );
    }
}
