//! Health checks of upstreams.

use http::StatusCode;

use super::{super::Code, config_with, only};
use crate::policy::*;

#[test]
fn a_health_check_needs_a_path_and_has_defaults_for_the_rest() {
    let keys = "[upstreams.b]\nservers = [\"http://a\"]\nhealth_check = { path = \"/up?q=1\" }";
    let config = config_with(keys, "").unwrap();
    let check = config.upstreams[1].health_check.as_ref().unwrap();
    let CheckKind::Http(http) = &check.kind else {
        panic!("a request")
    };
    assert_eq!(
        (http.path.as_str(), http.method.as_str()),
        ("/up?q=1", "GET")
    );
    let healthy = [200, 299, 300, 399].map(|code| StatusCode::from_u16(code).unwrap());
    assert!(
        healthy
            .into_iter()
            .all(|status| http.statuses.contains(status))
    );
    assert!(!http.statuses.contains(StatusCode::BAD_REQUEST));
    assert_eq!(
        (&http.fields.host, http.fields.headers.len(), check.port),
        (&None, 0, None)
    );
    assert_eq!((check.interval.as_secs(), check.timeout.as_secs()), (5, 1));
    assert_eq!(
        (check.healthy_after.get(), check.unhealthy_after.get()),
        (2, 3)
    );
}

#[test]
fn a_health_check_of_another_kind_shows_only_its_own_keys() {
    for kind in ["tcp", "grpc"] {
        let keys = format!(
            "[upstreams.b]\nservers = [\"http://a\"]\nhealth_check = {{ kind = \"{kind}\", port = 81 }}"
        );
        let config = config_with(&keys, "").unwrap();
        let shown = &config.shown()["upstreams"]["b"]["health_check"];
        assert_eq!((&shown["kind"], &shown["port"]), (&kind.into(), &81.into()));
        assert!(
            shown.get("method").is_none() && shown.get("statuses").is_none(),
            "{shown}"
        );
    }
}

#[test]
fn secrets_in_the_fields_of_a_health_check_are_not_shown() {
    let keys = "[upstreams.b]\nservers = [\"http://a\"]\nhealth_check = { path = \"/\", headers = { authorization = \"hunter2\", x-check = \"yes\" } }";
    let config = config_with(keys, "").unwrap();
    let shown = &config.shown()["upstreams"]["b"]["health_check"];
    assert_eq!(shown["headers"]["authorization"], "[redacted]");
    assert_eq!(shown["headers"]["x-check"], "yes");
    assert_eq!(shown["statuses"][0], "2xx");
}

#[test]
fn a_health_check_has_the_keys_of_its_kind() {
    let check = |keys: &str| {
        let keys = format!("[upstreams.b]\nservers = [\"http://a\"]\nhealth_check = {{ {keys} }}");
        config_with(&keys, "")
    };
    for sound in [
        "path = \"/\", host = \"b:1\", headers = { x = \"1\" }, method = \"POST\", statuses = [\"204\"], port = 1",
        "kind = \"http\", path = \"/\"",
        "kind = \"grpc\"",
        "kind = \"grpc\", service = \"a.B\", host = \"b\", headers = { x = \"1\" }, port = 65535",
        "kind = \"tcp\", port = 81",
    ] {
        assert!(check(sound).is_ok(), "{sound}");
    }
    for (keys, code, text) in [
        (
            "kind = \"http\"",
            Code::MissingKey,
            "add `path = \"/healthz\"`",
        ),
        ("kind = \"udp\"", Code::BadValue, "`grpc`"),
        (
            "kind = \"tcp\", path = \"/\"",
            Code::Conflict,
            "`path` has no effect with `kind = \"tcp\"` | leave `path` out, or choose another kind: this one only connects",
        ),
        (
            "kind = \"tcp\", host = \"b\"",
            Code::Conflict,
            "`host` has no effect",
        ),
        (
            "kind = \"tcp\", headers = { x = \"1\" }",
            Code::Conflict,
            "`headers` has no effect",
        ),
        (
            "kind = \"grpc\", method = \"GET\"",
            Code::Conflict,
            "`method` has no effect",
        ),
        (
            "kind = \"grpc\", statuses = [\"2xx\"]",
            Code::Conflict,
            "`statuses` has no effect",
        ),
        (
            "path = \"/\", service = \"a.B\"",
            Code::Conflict,
            "`service` has no effect",
        ),
        (
            "kind = \"grpc\", service = \"\"",
            Code::BadValue,
            "leave it out",
        ),
        (
            "path = \"/\", method = \"CONNECT\"",
            Code::BadValue,
            "it asks for a tunnel",
        ),
        (
            "path = \"/\", method = \"get\"",
            Code::BadValue,
            "write \"GET\"",
        ),
        (
            "path = \"/\", statuses = []",
            Code::BadValue,
            "`statuses` is an empty list",
        ),
        ("path = \"/\", port = 0", Code::BadValue, "the least is 1"),
        (
            "path = \"/\", port = 65536",
            Code::BadValue,
            "the most is 65535",
        ),
        (
            "path = \"/\", host = \"http://b/\"",
            Code::BadValue,
            "such as \"orders.internal\"",
        ),
        (
            "path = \"/\", headers = { Host = \"b\" }",
            Code::BadValue,
            "write it as `host`",
        ),
        (
            "path = \"/\", headers = { te = \"b\" }",
            Code::BadValue,
            "leave it out",
        ),
    ] {
        let (found, said) = only(check(keys));
        assert_eq!(found, code, "{keys}");
        assert!(said.contains(text), "{keys}: {said}");
    }
}

#[test]
fn a_socket_has_no_other_port_to_be_checked() {
    let keys = "[upstreams.b]\nservers = [\"unix:/run/b.sock\"]\nhealth_check = { path = \"/\", port = 81 }";
    let (code, said) = only(config_with(keys, ""));
    assert_eq!(code, Code::Conflict);
    assert!(
        said.contains("unix:/run/b.sock has no other port"),
        "{said}"
    );
    assert!(config_with(&keys.replace(", port = 81", ""), "").is_ok());
}

#[test]
fn a_grpc_check_inside_of_tls_needs_http2() {
    let upstream = |protocol: &str| {
        let keys = format!(
            "[upstreams.b]\nservers = [\"https://a\"]\nprotocol = \"{protocol}\"\nhealth_check = {{ kind = \"grpc\" }}"
        );
        config_with(&keys, "")
    };
    assert!(upstream("http2").is_ok() && upstream("auto").is_ok());
    let (code, said) = only(upstream("http1"));
    assert_eq!(code, Code::Conflict);
    assert!(said.contains("add `protocol = \"http2\"`"), "{said}");
}
