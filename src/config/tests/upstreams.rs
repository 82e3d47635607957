//! Mistakes about upstreams: their own, and those of routes that lead to them.

use super::{super::Code, config_with, only, places, read, warnings::warned};
use crate::policy::ServerAddress;

#[test]
fn mistakes_in_the_cap_of_an_upstream_are_reported_at_their_place() {
    let upstream = |keys: &str| {
        places(config_with(
            &format!("[upstreams.b]\nservers = [\"http://a\"]\n[upstreams.b.concurrency]\n{keys}"),
            "",
        ))
    };
    assert_eq!(upstream("queue = 3"), [(4, Code::MissingKey)]);
    assert_eq!(upstream("max = 0"), [(4, Code::BadValue)]);
    assert_eq!(upstream("max = 1\nfair_by = 7"), [(5, Code::WrongType)]);
    assert_eq!(
        upstream("max = 1\npriority = \"high\""),
        [(5, Code::UnknownKey)]
    );
}

#[test]
fn invalid_upstreams_are_refused() {
    let upstream = |keys: &str| {
        config_with(
            &format!("[upstreams.b]\nservers = [\"http://a\"]\n{keys}"),
            "",
        )
    };
    for (keys, line, code) in [
        ("balance = \"hash\"", 3, Code::MissingKey),
        ("hash_key = \"host\"", 3, Code::Conflict),
        ("hash_bound = \"125%\"", 3, Code::Conflict),
        (
            "balance = \"hash\"\nhash_key = \"host\"\nhash_bound = \"99%\"",
            5,
            Code::BadValue,
        ),
        ("balance = \"hash\"\nhash_key = \"user\"", 4, Code::BadValue),
        ("balance = \"hash\"\nhash_key = []", 4, Code::BadValue),
        ("balance = \"fastest\"", 3, Code::BadValue),
        ("slow_start = 10", 3, Code::WrongType),
        ("cool_down = \"yes\"", 3, Code::WrongType),
        ("cool_down = []", 3, Code::BadValue),
        ("cool_down = [\"503\", \"503\"]", 3, Code::Duplicate),
        ("cool_down = [\"often\"]", 3, Code::BadValue),
        ("ejection = { on = [] }", 3, Code::BadValue),
        ("ejection = { on = [\"6xx\"] }", 3, Code::BadValue),
        ("ejection = { on = [\"resets\"] }", 3, Code::BadValue),
        (
            "[upstreams.b.health_check]\ninterval = \"1s\"",
            3,
            Code::MissingKey,
        ),
        ("health_check = { path = \"healthz\" }", 3, Code::BadValue),
        ("health_check = { path = \"/a b\" }", 3, Code::BadValue),
        (
            "health_check = { path = \"/\", interval = \"0s\" }",
            3,
            Code::BadValue,
        ),
        (
            "health_check = { path = \"/\", healthy_after = 0 }",
            3,
            Code::BadValue,
        ),
        ("ejection = { consecutive_failures = 0 }", 3, Code::BadValue),
        ("ejection = { max_percent = 101 }", 3, Code::BadValue),
        (
            "ejection = { base = \"10s\", max = \"5s\" }",
            3,
            Code::Conflict,
        ),
    ] {
        assert_eq!(places(upstream(keys)), [(line, code)], "{keys}");
    }
}

#[test]
fn servers_of_which_none_would_get_requests_are_refused() {
    let servers = |list: &str| {
        read(&format!(
            "[upstreams.a]\nservers = [{list}]\n[[routes]]\nname = 'a'\nupstream = 'a'"
        ))
    };
    let conflict = [(2, Code::Conflict)];
    for list in [
        "{ url = 'http://a', weight = 0 }",
        "{ url = 'http://a', weight = 0 }, { url = 'http://b', weight = 0, backup = true }",
        "{ url = 'http://a', backup = true }",
        "{ url = 'http://a', backup = true }, { url = 'unix:/b', backup = true }",
    ] {
        assert_eq!(places(servers(list)), conflict, "{list}");
    }
    let twice = "'unix:/a', { url = 'unix:/a', backup = true }";
    assert_eq!(places(servers(twice)), [(2, Code::Duplicate)]);
    let drained = "{ url = 'http://a', weight = 0 }, { url = 'unix:/a', backup = true }";
    let config = servers(drained).unwrap();
    let [one, two] = config.upstreams[0].servers.as_slice() else {
        panic!("two servers")
    };
    assert_eq!((one.weight, one.tier), (0, 0));
    assert_eq!((two.weight, two.tier), (1, 1));
}

#[test]
fn a_header_that_names_one_client_excludes_a_protocol_that_clients_share() {
    let upstream = |keys: &str| {
        read(&format!(
            "[upstreams.a]\nservers = ['http://a']\n{keys}\n[[routes]]\nname = 'a'\nupstream = 'a'"
        ))
    };
    let sent = |keys| upstream(keys).unwrap().upstreams[0].proxy_protocol;
    assert!(sent("proxy_protocol = 'v2'") && !sent("proxy_protocol = 'off'") && !sent(""));
    for protocol in ["http2", "auto"] {
        let keys = format!("protocol = '{protocol}'\nproxy_protocol = 'v2'");
        assert_eq!(places(upstream(&keys)), [(4, Code::Conflict)]);
    }
    let keys = "proxy_protocol = 'v1'";
    assert_eq!(places(upstream(keys)), [(3, Code::BadValue)]);
}

#[test]
fn a_name_of_srv_records_has_neither_port_nor_weight() {
    let servers = |server: &str| {
        read(&format!(
            "[upstreams.a]\nservers = [{server}]\n[[routes]]\nname = 'a'\nupstream = 'a'"
        ))
    };
    for (server, code) in [
        ("'srv+http://_a._tcp.b:80'", Code::BadValue),
        ("'srv+http://10.0.0.1'", Code::BadValue),
        ("'srv+http://_a._tcp.b/c'", Code::BadValue),
        ("'srv+unix:/a'", Code::BadValue),
        (
            "{ url = 'srv+http://_a._tcp.b', weight = 2 }",
            Code::Conflict,
        ),
        (
            "'srv+http://_a._tcp.b', 'srv+http://_a._tcp.b'",
            Code::Duplicate,
        ),
    ] {
        assert_eq!(places(servers(server)), [(2, code)], "{server}");
    }
    for (foreign, right) in [
        ("srv://_api._tcp.x", "srv+http://_api._tcp.x"),
        ("dns+srv://_api._tcp.x", "srv+http://_api._tcp.x"),
        ("_api._tcp.x", "srv+http://_api._tcp.x"),
    ] {
        let (_, said) = only(servers(&format!("'{foreign}'")));
        assert!(said.contains(right), "{said}");
    }
    let config = servers("{ url = 'SRV+HTTPS://_A._tcp.b.', backup = true }, 'http://a'").unwrap();
    let server = &config.upstreams[0].servers[0];
    assert_eq!(
        (&*server.url, server.tier, server.secure_as.is_some()),
        ("srv+https://_A._tcp.b", 1, true)
    );
    let right = ServerAddress::Srv {
        name: "_a._tcp.b.".into(),
        by_target: true,
    };
    assert_eq!(server.address, right);
}

#[test]
fn only_statuses_of_failures_count_against_a_server_and_each_once() {
    let upstream = |keys: &str| format!("[upstreams.b]\nservers = ['http://b']\n{keys}\n");
    for keys in [
        "ejection.on = ['200']",
        "ejection.on = ['3xx']",
        "cool_down = ['2xx']",
        "cool_down = ['503', '304']",
    ] {
        let (code, said) = only(config_with(&upstream(keys), ""));
        assert_eq!(code, Code::BadValue, "{said}");
        assert!(said.contains("has not failed"), "{said}");
    }
    let (code, _) = only(config_with("", "retry.on = ['200']"));
    assert_eq!(code, Code::BadValue);
    for keys in [
        "ejection.on = ['5xx', '503', 'reset']",
        "cool_down = ['503', '5xx']",
        "health_check = { path = '/', statuses = ['2xx', '204'] }",
    ] {
        let route = "[[routes]]\nname = 'b'\nupstream = 'b'\n";
        let (line, code, said) = warned(&format!("{}{route}", upstream(keys)));
        assert_eq!((line, code), (3, Code::NoEffect), "{said}");
        assert!(said.contains("which stands there, too"), "{said}");
    }
}

#[test]
fn invalid_splits_and_mirrors_are_refused() {
    let route = |keys: &str| read(&format!("{}[[routes]]\nname = \"a\"\n{keys}", super::APP));
    for (keys, code) in [
        ("upstream = []", Code::BadValue),
        ("upstream = [\"app\"]", Code::WrongType),
        ("upstream = [{ weight = 1 }]", Code::MissingKey),
        ("upstream = [{ name = \"ap\" }]", Code::UnknownName),
        (
            "upstream = [{ name = \"app\" }, { name = \"app\" }]",
            Code::Duplicate,
        ),
        (
            "upstream = [{ name = \"app\", weight = 0 }]",
            Code::Conflict,
        ),
        (
            "upstream = [{ name = \"app\", weight = -1 }]",
            Code::BadValue,
        ),
        ("upstream = { name = \"app\" }", Code::WrongType),
        ("upstream = \"app\"\nmirror = {}", Code::MissingKey),
        (
            "upstream = \"app\"\nmirror = { upstream = \"ap\" }",
            Code::UnknownName,
        ),
        (
            "upstream = \"app\"\nmirror = { upstream = \"app\", percent = 101 }",
            Code::BadValue,
        ),
        (
            "respond = {}\nmirror = { upstream = \"app\" }",
            Code::Conflict,
        ),
    ] {
        let codes: Vec<_> = places(route(keys))
            .into_iter()
            .map(|(_, code)| code)
            .collect();
        assert_eq!(codes, [code], "{keys}");
    }
}

#[test]
fn an_upstream_that_is_hashed_by_a_parameter_needs_routes_that_have_it() {
    let keyed =
        "[upstreams.b]\nservers = ['http://b']\nbalance = 'hash'\nhash_key = ['param:id', 'host']";
    let route = |way: &str, path: &str| {
        let route = format!("[[routes]]\nname = 'r'\nmatch = {{ {path} }}\n{way}\n");
        read(&format!("{}{keyed}\n{route}", super::APP))
    };
    let split = "upstream = [{ name = 'app', weight = 1 }, { name = 'b', weight = 1 }]";
    for way in [
        "upstream = 'b'",
        split,
        "upstream = 'app'\nmirror = { upstream = 'b' }",
    ] {
        assert!(route(way, "path = '/o/{id}'").is_ok(), "{way}");
        for path in ["", "path = '/o/{other}'", "path_prefix = '/o'"] {
            let (code, text) = only(route(way, path));
            assert_eq!(code, Code::UnknownName, "{way} {path}");
            assert!(
                text.contains("the `hash_key` of upstream `b` has `param:id`"),
                "{text}"
            );
        }
    }
}
