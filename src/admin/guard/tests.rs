//! Which calls of the admin listener are allowed, and why others are refused.

use super::*;

const LOCAL: &str = "10.1.2.3:9901";

fn settings(hosts: &[&str], token: Option<&str>) -> policy::Admin {
    policy::Admin {
        bind: LOCAL.parse().unwrap(),
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        token: token.map(|token| policy::Secret(token.to_owned())),
    }
}

fn checked(
    hosts: &[&str],
    token: Option<&str>,
    method: &str,
    headers: &[(&str, &str)],
    any: bool,
) -> Result<(), Denial> {
    let settings = settings(hosts, token);
    let rules = Rules {
        local: LOCAL.parse().unwrap(),
        settings: &settings,
    };
    let request = Request::builder().method(method).uri("/config");
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    rules.check(&request.body(()).unwrap(), any)
}

fn called(host: &str) -> Result<(), Denial> {
    checked(
        &["tidegate.internal:9000", "Gate.example"],
        None,
        "GET",
        &[("host", host)],
        false,
    )
}

#[test]
fn it_answers_to_its_addresses_to_loopback_and_to_the_names_given() {
    for host in [
        "10.1.2.3:9901",
        "10.1.2.3",
        "127.0.0.1:9901",
        "127.9.9.9",
        "[::1]:9901",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost:9901",
        "LocalHost",
        "tidegate.internal:9000",
        "TIDEGATE.internal:9000",
        "gate.example",
        "gate.example:1234",
    ] {
        assert_eq!(called(host), Ok(()), "{host}");
    }
}

#[test]
fn it_answers_to_no_other_name() {
    for host in [
        "evil.example",
        "evil.example:9901",
        "127.0.0.1:80",
        "localhost:8080",
        "10.1.2.4:9901",
        "localhost.evil.example",
        "127.0.0.1.evil.example:9901",
        "tidegate.internal",
        "tidegate.internal:9901",
        "xgate.example",
        "0.0.0.0:9901",
    ] {
        assert_eq!(
            called(host),
            Err(Denial::ForeignHost(host.into())),
            "{host}"
        );
    }
}

#[test]
fn a_host_that_is_missing_doubled_or_unreadable_is_malformed() {
    for hosts in [
        &[][..],
        &["localhost", "localhost"],
        &["localhost:"],
        &["a:b"],
        &["[::1"],
        &[""],
        &[":9901"],
    ] {
        let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
        let is_bad = checked(&[], None, "GET", &headers, true);
        assert_eq!(is_bad, Err(Denial::BadHost), "{hosts:?}");
    }
}

#[test]
fn probes_may_call_by_any_name_but_not_from_a_page() {
    assert_eq!(
        checked(&[], None, "GET", &[("host", "pod-7.example")], true),
        Ok(())
    );
    let rebound = [
        ("host", "evil.example:9901"),
        ("origin", "http://evil.example:9901"),
    ];
    assert_eq!(
        checked(&[], None, "GET", &rebound, true),
        Err(Denial::ForeignOrigin)
    );
}

/// HAProxy's `option httpchk GET /readyz` was refused.
#[test]
fn a_probe_of_old_may_name_no_host() {
    let settings = settings(&[], None);
    let rules = Rules {
        local: LOCAL.parse().unwrap(),
        settings: &settings,
    };
    let checked = |version, any_host| {
        rules.check(
            &Request::builder()
                .version(version)
                .uri("/readyz")
                .body(())
                .unwrap(),
            any_host,
        )
    };
    assert_eq!(checked(Version::HTTP_10, true), Ok(()));
    assert_eq!(checked(Version::HTTP_10, false), Err(Denial::BadHost));
    assert_eq!(checked(Version::HTTP_11, true), Err(Denial::BadHost));
}

#[test]
fn only_its_own_pages_may_call() {
    let from = |origin| {
        let headers = [("host", "localhost:9901"), ("origin", origin)];
        checked(&["gate.example:443"], None, "POST", &headers, false)
    };
    for origin in [
        "http://localhost:9901",
        "http://127.0.0.1:9901",
        "http://[::1]:9901",
        "https://gate.example",
    ] {
        assert_eq!(from(origin), Ok(()), "{origin}");
    }
    for origin in [
        "http://evil.example",
        "null",
        "",
        "http://localhost",
        "http://localhost:8080",
        "https://localhost",
        "file://localhost:9901",
        "http://gate.example",
        "http://localhost:9901.evil.example",
        "http://localhost:9901@evil.example",
    ] {
        assert_eq!(from(origin), Err(Denial::ForeignOrigin), "{origin}");
    }
}

#[test]
fn changing_calls_need_the_token_and_looking_does_not() {
    let with = |method, authorization: Option<&str>| {
        let authorization = authorization.map(|value| ("authorization", value));
        let headers: Vec<_> = [("host", "localhost")]
            .into_iter()
            .chain(authorization)
            .collect();
        checked(&[], Some("s3cret"), method, &headers, false)
    };
    for (method, authorization, expected) in [
        ("GET", None, Ok(())),
        ("HEAD", None, Ok(())),
        ("POST", None, Err(Denial::NoToken)),
        ("PUT", Some("Basic s3cret"), Err(Denial::NoToken)),
        ("DELETE", Some("Bearer"), Err(Denial::NoToken)),
        ("POST", Some("Bearer "), Err(Denial::WrongToken)),
        ("POST", Some("Bearer s3cre"), Err(Denial::WrongToken)),
        ("POST", Some("Bearer s3crets3cret"), Err(Denial::WrongToken)),
        ("POST", Some("Bearer s3creT"), Err(Denial::WrongToken)),
        ("POST", Some("Bearer s3cret"), Ok(())),
        ("DELETE", Some("bearer  s3cret"), Ok(())),
        ("PATCH", None, Err(Denial::NoToken)),
    ] {
        assert_eq!(
            with(method, authorization),
            expected,
            "{method} {authorization:?}"
        );
    }
}

#[test]
fn without_a_token_file_changing_calls_need_none() {
    assert_eq!(
        checked(&[], None, "POST", &[("host", "localhost")], false),
        Ok(())
    );
}
