//! Forward auth: a service says who the client is, and its refusals reach the
//! client.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::time::Instant;

use super::{
    echo,
    support::{
        End, Gate, TIMEOUT, Upstream,
        gateway::{Gateway, responding, upstream_table},
        ok,
    },
};

/// A gateway whose route `r` asks this service, with more keys of the section,
/// and answers with the fields that its service gets.
fn gateway(authority: &Upstream, keys: &str, route: &str) -> Gateway {
    Gateway::start(&format!(
        "[identities.sso.forward]\nurl = '{}/verify?app=1'\nid = 'header:x-auth-user'\n{keys}\n{}",
        authority.url(),
        responding("r", &format!("identify = ['sso']\n{route}"))
    ))
}

/// A service that knows the client with this cookie as `ann`.
fn authority() -> (Upstream, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let upstream = Upstream::answering(move |request| {
        count.fetch_add(1, Ordering::SeqCst);
        match request.get("cookie") {
            Some("s=1") => {
                "HTTP/1.1 200 OK\r\nX-Auth-User: ann\r\nX-Auth-Groups: a\r\nX-Auth-Groups: b\r\nContent-Length: 2\r\n\r\nok".to_owned()
            }
            Some("s=2") => {
                "HTTP/1.1 302 Found\r\nLocation: https://sso.example/login\r\nSet-Cookie: t=1\r\nContent-Length: 0\r\n\r\n".to_owned()
            }
            Some("s=3") => "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nnope".to_owned(),
            Some("s=4") => "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_owned(),
            _ => "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_owned(),
        }
    });
    (upstream, asked)
}

#[test]
fn a_response_of_success_identifies_and_its_fields_say_who() {
    let ((authority, _), service) = (authority(), echo());
    let gateway = Gateway::start(&format!(
        "[identities.sso.forward]\nurl = '{}/verify?app=1'\nid = 'header:x-auth-user'\nclaims = {{ groups = 'header:x-auth-groups' }}\n{}[[routes]]\nname = 'r'\nupstream = 'u'\nidentify = ['sso']\nrequest = {{ set_headers = {{ x-user = '{{identity}}', x-groups = '{{claim:groups}}' }} }}\n",
        authority.url(),
        upstream_table("u", &[&service], "")
    ));
    let got = gateway.ask(
        "POST",
        "/p?q=1",
        &["Cookie: s=1", "Content-Length: 0", "X-User: root"],
    );
    assert_eq!(got.status(), 200);
    let text = got.text();
    assert!(
        text.contains("x-user: ann\r\n") && text.contains("x-groups: a b\r\n"),
        "{text}"
    );
    assert!(!text.contains("root"));
    let asked = String::from_utf8(authority.received()[0].clone()).unwrap();
    let asked = asked.to_lowercase();
    assert!(
        asked.starts_with("get /verify?app=1 http/1.1\r\n"),
        "{asked}"
    );
    for line in [
        "cookie: s=1",
        "x-forwarded-method: post",
        "x-forwarded-uri: /p?q=1",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: a",
        "x-forwarded-proto: http",
        &format!("host: {}", authority.address()),
    ] {
        assert!(
            asked.contains(&format!("\r\n{line}\r\n")),
            "{line}\n{asked}"
        );
    }
    assert!(!asked.contains("x-user"));
    let line = gateway.access_line();
    assert_eq!(
        (&line["identity"], &line["status"]),
        (&"sso".into(), &200.into())
    );
}

#[test]
fn credentials_of_a_service_that_is_asked_are_removed_if_the_route_says_so() {
    for (from, left) in [("", ""), ("from = ['cookie:s']", "cookie: a=1\r\n")] {
        let (authority, service) = (
            Upstream::answering(|_| {
                "HTTP/1.1 200 OK\r\nX-Auth-User: ann\r\nContent-Length: 0\r\n\r\n".to_owned()
            }),
            echo(),
        );
        let gateway = Gateway::start(&format!(
            "[identities.sso]\n{from}\n[identities.sso.forward]\nurl = '{}'\nsend = ['cookie', 'x-proof', 'accept']\n{}[[routes]]\nname = 'r'\nupstream = 'u'\nidentify = ['sso']\ncredentials = 'remove'\n",
            authority.url(),
            upstream_table("u", &[&service], "")
        ));
        let lines = ["Cookie: a=1; s=2", "X-Proof: 3", "X_Proof: 3", "Accept: b"];
        let got = gateway.ask("GET", "/", &lines).text().to_lowercase();
        assert!(
            got.contains("accept: b\r\n") && !got.contains("s=2"),
            "{got}"
        );
        assert_eq!(got.contains("cookie"), !left.is_empty(), "{got}");
        assert!(got.contains(left), "{got}");
        assert_eq!(got.contains("proof"), !from.is_empty(), "{got}");
        let asked = String::from_utf8(authority.received()[0].clone()).unwrap();
        let asked = asked.to_lowercase();
        assert!(
            asked.contains("a=1; s=2") && asked.contains("x-proof: 3"),
            "{asked}"
        );
    }
}

#[test]
fn any_other_response_reaches_the_client_as_it_is() {
    let (authority, _) = authority();
    let gateway = gateway(&authority, "", "");
    let ask = |cookie: &str, reason: &str| {
        let refused = gateway.ask("GET", "/", &[cookie]);
        assert_eq!(gateway.access_line()["reason"], reason);
        refused
    };
    let login = ask("Cookie: s=2", "unauthenticated");
    assert_eq!(login.status(), 302);
    assert_eq!(login.get("location"), Some("https://sso.example/login"));
    assert_eq!(login.get("set-cookie"), Some("t=1"));
    let forbidden = ask("Cookie: s=3", "forbidden");
    assert_eq!((forbidden.status(), &*forbidden.text()), (403, "nope"));
    assert_eq!(forbidden.get("content-type"), Some("text/plain"));
    let unknown = ask("X-A: 1", "unauthenticated");
    assert_eq!(unknown.status(), 401);
    assert_eq!(unknown.get("www-authenticate"), Some("Basic realm=\"x\""));
    assert_eq!(ask("Cookie: s=4", "unauthenticated").status(), 500);
}

#[test]
fn a_client_is_remembered_by_its_credentials_for_as_long_as_the_file_says() {
    for (cache, questions) in [("", 3), ("cache = '1h'", 1)] {
        let (authority, asked) = authority();
        let gateway = gateway(&authority, cache, "");
        let mut client = gateway.connect();
        for _ in 0..3 {
            let request = "GET / HTTP/1.1\r\nHost: a\r\nCookie: s=1\r\n\r\n";
            assert_eq!(client.exchange(request).status(), 200);
        }
        assert_eq!(asked.load(Ordering::SeqCst), questions);
        for _ in 0..2 {
            assert_eq!(gateway.get("/").status(), 401);
        }
        assert_eq!(asked.load(Ordering::SeqCst), questions + 2);
    }
}

#[test]
fn a_service_that_cannot_be_asked_or_lies_is_503() {
    let gate = Gate::new();
    let held = gate.clone();
    let authority = Upstream::start(move |mut connection| {
        let Some(request) = connection.request() else {
            return;
        };
        match request.get("cookie").unwrap_or_default() {
            "hang" => held.pass(),
            "close" => {}
            "nonsense" => connection.send("SSH-2.0-x\r\n\r\n"),
            "nobody" => connection.send(ok("")),
            "lines" => {
                let lines = "x-a: 1\r\n".repeat(1000);
                connection.send(format!(
                    "HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n"
                ));
            }
            // Bodies of refusals without an end, and longer than is read.
            "endless" => {
                connection.send("HTTP/1.1 401 No\r\n\r\n");
                let piece = vec![b'x'; 65_536];
                while connection.try_send(&piece).is_ok() {}
            }
            _ => {
                connection.send("HTTP/1.1 401 No\r\nContent-Length: 1000000\r\n\r\n");
                let _ = connection.try_send(vec![b'x'; 1_000_000]);
            }
        }
    });
    let gateway = gateway(&authority, "timeout = '300ms'", "");
    for case in [
        "hang", "close", "nonsense", "nobody", "lines", "endless", "long",
    ] {
        let refused = gateway.ask("GET", "/", &[&format!("Cookie: {case}")]);
        assert_eq!(refused.status(), 503, "{case}");
        assert_eq!(refused.get("retry-after"), Some("1"), "{case}");
        assert_eq!(
            gateway.access_line()["reason"],
            "identity_unavailable",
            "{case}"
        );
    }
    gate.open();
}

#[test]
fn a_service_that_names_no_client_or_two_is_503() {
    let authority = Upstream::start(|mut connection| {
        while let Some(request) = connection.request() {
            let line = match request.get("cookie").unwrap_or_default() {
                "latin" => b"X-Auth-User: \xe4".to_vec(),
                "two" => b"X-Auth-User: alice\r\nX-Auth-User: root".to_vec(),
                "long" => format!("X-Auth-User: {}", "x".repeat(1025)).into_bytes(),
                "tab" => b"X-Auth-User: ro\tot".to_vec(),
                "blank" => "X-Auth-User: root\u{a0}".into(),
                "empty" => b"X-Auth-User: ".to_vec(),
                _ => "X-Auth-User:  \u{e4} b ".into(),
            };
            let end = b"\r\nContent-Length: 0\r\n\r\n";
            connection.send([b"HTTP/1.1 200 OK\r\n", &line[..], end].concat());
        }
    });
    let gateway = gateway(&authority, "", "");
    for case in ["latin", "two", "long", "tab", "blank", "empty"] {
        let refused = gateway.ask("GET", "/", &[&format!("Cookie: {case}")]);
        assert_eq!(refused.status(), 503, "{case}");
    }
    assert_eq!(gateway.ask("GET", "/", &["Cookie: s"]).status(), 200);
}

#[test]
fn the_log_says_once_why_a_service_identifies_nobody() {
    let gone = "http://127.0.0.1:1";
    let (nobody, silent) = (
        Upstream::answering(|_| ok("")),
        Upstream::start(|mut connection| while connection.request().is_some() {}),
    );
    for (url, cause) in [
        (gone.to_owned(), "connection refused"),
        (nobody.url(), "no field \"x-auth-usr\""),
        (silent.url(), "within 200ms"),
    ] {
        let gateway = Gateway::start(&format!(
            "[identities.sso.forward]\nurl = '{url}/verify'\nid = 'header:x-auth-usr'\ntimeout = '200ms'\n{}",
            responding("r", "identify = ['sso']")
        ));
        for _ in 0..3 {
            assert_eq!(gateway.ask("GET", "/", &["Cookie: s=1"]).status(), 503);
        }
        let line = gateway.logged("clients cannot be identified");
        assert!(line["message"].as_str().unwrap().contains(cause), "{line}");
        assert_eq!(
            (&line["identity"], &line["service"]),
            (&"sso".into(), &url.into())
        );
        let others = gateway.log_so_far();
        let others = others.iter().filter(|line| line.contains("identified"));
        assert_eq!(others.count(), 0);
    }
}

#[test]
fn questions_have_a_cap_and_end_with_the_client() {
    let (authority, asked, gate) = Upstream::held();
    let gateway = gateway(&authority, "timeout = '60s'\nmax_in_flight = 1", "");
    let first = gateway.sent("/", &["Cookie: s=1"]);
    asked.recv().unwrap();
    assert_eq!(gateway.ask("GET", "/", &["Cookie: s=1"]).status(), 503);
    assert_eq!(gateway.access_line()["reason"], "identity_unavailable");
    // The client's end closes the connection to the service, and frees the cap.
    drop(first);
    assert_eq!(gateway.access_line()["reason"], "client_gone");
    let end = Instant::now() + TIMEOUT;
    while gateway.metric(
        "tidegate_upstream_in_flight",
        &[("upstream", "identities.sso")],
    ) > 0.0
    {
        assert!(Instant::now() < end, "the question stays in flight");
    }
    let second = gateway.sent("/", &["Cookie: s=1"]);
    asked.recv().unwrap();
    // One for each question.
    gate.open();
    gate.open();
    drop(second);
}

#[test]
fn head_and_grpc_style_refusals_have_no_body() {
    let (authority, _) = authority();
    let gateway = gateway(&authority, "", "");
    let mut client = gateway.connect();
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\nCookie: s=3\r\nConnection: close\r\n\r\n");
    let refused = client.response_to_head();
    assert_eq!(
        (refused.status(), refused.get("content-length")),
        (403, Some("4"))
    );
    assert_eq!(client.ended(), End::Closed);
}
