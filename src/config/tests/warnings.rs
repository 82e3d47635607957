//! Settings that are allowed but probably a mistake cause a warning, at their
//! place and with a correction, and load.

use super::{
    super::{Code, Severity},
    APP, config_with, read,
};

/// The only warning of a file: line, code, and message with help.
pub(super) fn warned(text: &str) -> (usize, Code, String) {
    let config = read(text).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes}"));
    let list = &config.warnings.list;
    assert_eq!(list.len(), 1, "{text}\n{}", config.warnings);
    assert_eq!(list[0].severity, Severity::Warning);
    let line = list[0].place.as_ref().expect("a place").line;
    (
        line,
        list[0].code,
        format!(
            "{} | {}",
            list[0].message,
            list[0].help.as_deref().expect("help")
        ),
    )
}

/// Checks that the only warning is at the last line.
pub(super) fn last_line(text: &str, code: Code, says: &str) {
    let (line, found, said) = warned(text);
    assert_eq!(
        (line, found),
        (text.trim_end().lines().count(), code),
        "{text}\n{said}"
    );
    assert!(said.contains(says), "{text}\n{said}");
}

pub(super) fn route(keys: &str, code: Code, says: &str) {
    last_line(
        &format!("{APP}[[routes]]\nname = \"app\"\nupstream = \"app\"\n{keys}"),
        code,
        says,
    );
}

pub(super) fn fine(text: &str) {
    let config = read(text).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes}"));
    assert_eq!(config.warnings.list.len(), 0, "{text}\n{}", config.warnings);
}

pub(super) fn fine_route(keys: &str) {
    fine(&format!(
        "{APP}[[routes]]\nname = \"app\"\nupstream = \"app\"\n{keys}"
    ));
}

#[test]
fn a_limit_that_no_route_names_is_reported_with_where_to_name_it() {
    let limit = "[limits.per-client]\nkey = \"client-ip\"\nrate = \"1/s\"\n";
    let (line, code, said) = warned(&format!(
        "{limit}{APP}[[routes]]\nname = \"app\"\nupstream = \"app\""
    ));
    assert_eq!((line, code), (1, Code::Unused));
    assert!(
        said.contains("limits = [\"per-client\"]` to a route or to `[defaults]"),
        "{said}"
    );
    let used = |place: &str| fine(&format!("{limit}{APP}{place}"));
    used("[[routes]]\nname = \"app\"\nupstream = \"app\"\nlimits = [\"per-client\"]");
    used("[defaults]\nlimits = [\"per-client\"]\n[[routes]]\nname = \"app\"\nupstream = \"app\"");
    let overruled = "[defaults]\nlimits = [\"per-client\"]\n[[routes]]\nname = \"app\"\nupstream = \"app\"\nlimits = []";
    assert_eq!(warned(&format!("{limit}{APP}{overruled}")).1, Code::Unused);
}

#[test]
fn an_upstream_that_no_route_leads_to_is_reported() {
    let other = "[upstreams.b]\nservers = [\"http://127.0.0.1:9002\"]\n";
    let (line, code, said) = warned(&format!(
        "{other}{APP}[[routes]]\nname = \"app\"\nupstream = \"app\""
    ));
    assert_eq!((line, code), (1, Code::Unused));
    assert!(said.contains("`b`"), "{said}");
    for way in [
        "upstream = [{ name = 'app' }, { name = 'b', weight = 0 }]",
        "upstream = 'app'\nmirror = { upstream = 'b' }",
    ] {
        fine(&format!("{other}{APP}[[routes]]\nname = \"app\"\n{way}"));
    }
}

#[test]
fn a_limit_for_each_of_something_without_a_key_is_reported() {
    let limit = |name: &str, keys: &str| {
        format!(
            "{APP}[[routes]]\nname = \"app\"\nupstream = \"app\"\nlimits = [\"{name}\"]\n[limits.{name}]\nrate = \"1/s\"\n{keys}"
        )
    };
    let (line, code, said) = warned(&limit("per-client", ""));
    assert_eq!((line, code), (7, Code::Misleading));
    assert!(
        said.contains("one bucket for everyone") && said.contains("key = \"client-ip\""),
        "{said}"
    );
    last_line(
        &limit("all", "missing = \"refuse\""),
        Code::NoEffect,
        "add `key`",
    );
    fine(&limit("per-client", "key = \"client-ip\""));
    fine(&limit("overall", ""));
}

#[test]
fn a_store_in_which_nothing_is_counted_is_reported() {
    let text = format!(
        "{APP}[[routes]]\nname = \"app\"\nupstream = \"app\"\n[store]\nurl = \"redis://127.0.0.1\""
    );
    let (line, code, said) = warned(&text);
    assert_eq!((line, code), (6, Code::Unused));
    assert!(said.contains("scope = \"shared\""), "{said}");
}

#[test]
fn a_misspelt_name_is_an_error_and_not_also_an_unused_name() {
    let mistakes = config_with(
        "[limits.per-client]\nrate = \"1/s\"",
        "limits = [\"per-cleint\"]",
    )
    .unwrap_err();
    assert_eq!(mistakes.list.len(), 1, "{mistakes}");
}

#[test]
fn an_ipv6_prefix_that_is_meant_for_ipv4_is_reported() {
    for part in [
        "key = \"client-ip/24\"",
        "key = [\"route\", \"client-ip/16\"]",
        "key = \"header:x-user\"\nmissing = \"client-ip/8\"",
    ] {
        let (_, code, said) = warned(&format!(
            "{APP}[[routes]]\nname = \"app\"\nupstream = \"app\"\nlimits = [\"l\"]\n[limits.l]\nrate = \"1/s\"\n{part}"
        ));
        assert_eq!(code, Code::Misleading, "{part}");
        assert!(
            said.contains("IPv6 bits") && said.contains("\"client-ip/24/56\""),
            "{said}"
        );
    }
    route(
        "concurrency = { max = 1, queue = 1, fair_by = \"client-ip/24\" }",
        Code::Misleading,
        "IPv6 bits",
    );
    route(
        "concurrency = { max = 1, queue = 1, fair_by = \"header:x-forwarded-for\" }",
        Code::Exposed,
        "trusted_proxies",
    );
    fine_route("concurrency = { max = 1, queue = 1, fair_by = \"client-ip/32\" }");
    fine_route("concurrency = { max = 1, queue = 1, fair_by = \"client-ip/16/32\" }");
    route(
        "concurrency = { max = 1, queue = 1, fair_by = \"client-ip/8/56\" }",
        Code::Misleading,
        "an IPv4 /8 holds the clients of whole providers",
    );
}

#[test]
fn a_limit_that_refuses_everything_is_reported() {
    let limit = |keys: &str| {
        format!(
            "{APP}[[routes]]\nname = \"app\"\nupstream = \"app\"\nlimits = [\"l\"]\n[limits.l]\nrate = \"0/s\"\n{keys}"
        )
    };
    let (_, code, said) = warned(&limit(""));
    assert_eq!(code, Code::Misleading);
    assert!(
        said.contains("refuses every request of its routes"),
        "{said}"
    );
    fine(&limit("mode = \"shadow\""));
    fine(&limit(
        "key = \"host\"\noverrides = [{ match = \"a\", rate = \"1/s\" }]",
    ));
    fine(&limit(
        "key = \"header:x\"\nmissing = { key = \"client-ip\", rate = \"1/s\" }",
    ));
}

#[test]
fn a_client_header_that_is_always_dropped_is_reported() {
    let (_, code, said) = warned(&format!(
        "{APP}[[routes]]\nname = \"app\"\nupstream = \"app\"\n[client_ip]\nheader = \"client_address\""
    ));
    assert_eq!(code, Code::NeverMatches);
    assert!(said.contains("sent as `client-address`"), "{said}");
}

#[test]
fn a_key_by_a_header_that_is_always_dropped_is_reported() {
    let keys = "concurrency = { max = 1, queue = 1, fair_by = \"header:api_key\" }";
    route(keys, Code::NeverMatches, "sent as `api-key`");
    let keeping = "[[listeners]]\nbind = \"0.0.0.0:80\"\nunderscores = \"keep\"\n";
    fine(&format!(
        "{keeping}{APP}[[routes]]\nname = \"app\"\nupstream = \"app\"\n{keys}"
    ));
    fine_route("concurrency = { max = 1, queue = 1, fair_by = \"header:x-api-key\" }");
}

#[test]
fn an_override_after_one_for_all_is_reported() {
    let limit = |overrides: &str| {
        format!(
            "{APP}[[routes]]\nname = \"app\"\nupstream = \"app\"\nlimits = [\"l\"]\n[limits.l]\nkey = \"client-ip\"\nrate = \"1/s\"\n{overrides}"
        )
    };
    let (all, one) = (
        "[[limits.l.overrides]]\nmatch = \"*\"\nrate = \"2/s\"\n",
        "[[limits.l.overrides]]\nmatch = \"10.0.0.1\"\nrate = \"3/s\"\n",
    );
    let (line, code, _) = warned(&limit(&format!("{all}{one}")));
    assert_eq!((line, code), (13, Code::NeverMatches));
    fine(&limit(&format!("{one}{all}")));
}

#[test]
fn overrides_that_no_key_matches_are_reported() {
    let limit = |key: &str, overrides: &str| {
        format!(
            "{APP}[[routes]]\nname = \"app\"\nupstream = \"app\"\nlimits = [\"l\"]\n[limits.l]\nrate = \"1/s\"\nkey = \"{key}\"\noverrides = [{overrides}]"
        )
    };
    let rate = ", rate = \"9/s\" }";
    for (key, first, second) in [
        ("client-ip", "\"10.0.0.0/8\"", "\"10.1.0.0/16\""),
        ("client-ip", "\"10.0.0.1\"", "\"10.0.0.1\""),
        ("header:x-user", "[\"a\", \"b\"]", "\"b\""),
    ] {
        let both = |one, other| {
            limit(
                key,
                &format!("{{ match = {one}{rate}, {{ match = {other}{rate}"),
            )
        };
        last_line(&both(first, second), Code::NeverMatches, "never looked at");
        if first != second {
            fine(&both(second, first));
        }
    }
    last_line(
        &limit("header:x-user", &format!("{{ match = \"acme-*\"{rate}")),
        Code::NeverMatches,
        "no pattern",
    );
    fine(&limit(
        "header:x-user",
        &format!("{{ match = \"a*b\"{rate}, {{ match = \"*\"{rate}"),
    ));
}

#[test]
fn a_key_by_a_certificate_that_no_listener_requests_is_reported() {
    route(
        "concurrency = { max = 1, queue = 1, fair_by = \"tls:subject\" }",
        Code::NeverMatches,
        "client_ca",
    );
}

#[test]
fn trusted_proxies_that_include_every_address_are_reported() {
    let trusted = |networks: &str| {
        format!(
            "{APP}[[routes]]\nname = \"app\"\nupstream = \"app\"\n[client_ip]\ntrusted_proxies = {networks}"
        )
    };
    for networks in [
        "[\"0.0.0.0/0\"]",
        "[\"10.0.0.1\", \"::/0\"]",
        "[\"0.0.0.0/1\", \"128.0.0.0/1\"]",
    ] {
        last_line(&trusted(networks), Code::Exposed, "name the proxies");
    }
    for networks in ["[\"0.0.0.0/1\"]", "[\"2000::/3\"]", "[\"64.0.0.0/2\"]"] {
        last_line(
            &trusted(networks),
            Code::Exposed,
            "a good part of the internet",
        );
    }
    last_line(
        &trusted("[\"0.0.0.0\"]"),
        Code::NeverMatches,
        "no peer's address",
    );
    fine(&trusted("[\"10.0.0.0/8\", \"fd00::/8\", \"fc00::/7\"]"));
}

#[test]
fn a_mirror_to_the_same_upstream_is_reported() {
    route(
        "mirror = { upstream = \"app\" }",
        Code::Misleading,
        "gets each request twice",
    );
    fine_route("mirror = { upstream = \"app\", percent = 0 }");
}

#[test]
fn an_admin_listener_on_a_public_address_is_reported() {
    let admin = |bind: &str| {
        format!("{APP}[[routes]]\nname = \"app\"\nupstream = \"app\"\n[admin]\nbind = \"{bind}\"")
    };
    for bind in ["0.0.0.0:9901", "[::]:9901", "192.0.2.1:9901"] {
        last_line(&admin(bind), Code::Exposed, "token_file");
    }
    for bind in ["127.0.0.1:9901", "[::1]:9901", "off"] {
        fine(&admin(bind));
    }
}

#[test]
fn a_server_that_is_the_gateway_itself_is_reported() {
    let server = |server: &str| {
        format!(
            "[[routes]]\nname = \"app\"\nupstream = \"app\"\n[upstreams.app]\nservers = [\"{server}\"]"
        )
    };
    for url in [
        "http://127.0.0.1:8080",
        "http://localhost:8080",
        "http://0.0.0.0:8080",
        "http://127.0.0.1:9901",
    ] {
        last_line(&server(url), Code::Misleading, "this gateway itself");
    }
    for url in [
        "http://127.0.0.1:8081",
        "http://10.0.0.1:8080",
        "http://[::1]:8080",
        "http://app:8080",
    ] {
        fine(&server(url));
    }
}

#[test]
fn warnings_are_rendered_as_such_and_counted() {
    let config = read(&format!(
        "{APP}[limits.a]\nrate = \"1/s\"\n[[routes]]\nname = \"app\"\nupstream = \"app\""
    ))
    .unwrap();
    insta::assert_snapshot!(config.warnings.render(false), @r#"
    warning[unused]: no route names the limit `a`: it limits nobody
     --> test.toml:3:1
      |
    3 | [limits.a]
      | ^^^^^^^^^^
      |
      = help: add `limits = ["a"]` to a route or to `[defaults]`

    1 warning in the configuration
    "#);
    let json = config.warnings.to_json();
    assert_eq!(
        (&json[0]["severity"], &json[0]["code"]),
        (&"warning".into(), &"unused".into())
    );
    assert_eq!(
        (&json[0]["line"], &json[0]["help"]),
        (
            &3.into(),
            &"add `limits = [\"a\"]` to a route or to `[defaults]`".into()
        )
    );
    assert_eq!(
        config.warnings.lines().collect::<Vec<_>>(),
        [
            "test.toml:3:1: no route names the limit `a`: it limits nobody; add `limits = [\"a\"]` to a route or to `[defaults]`"
        ]
    );
    let strict = (*config.warnings).clone().strict();
    assert!(
        strict.render(false).starts_with("error[unused]")
            && strict
                .render(false)
                .ends_with("1 error in the configuration\n")
    );
}
