//! Names, words and values of other gateways and shapes that do not fit a key:
//! each is reported once, with the form of this language.

use std::ops::Add;

use super::{
    APP,
    advice::{REST, route, says},
};

#[test]
fn a_key_under_another_name_is_reported_once() {
    let name = "[[routes]]\nname = \"a\"\n";
    for key in [
        "backend = \"app\"",
        "service = \"app\"",
        "upstreams = \"app\"",
        "[routes.match]\nupstream = \"app\"",
    ] {
        says(&format!("{APP}{name}{key}"), "`upstream`");
    }
    for key in [
        "listen = \"0.0.0.0:1\"",
        "port = 80",
        "address = \"0.0.0.0:1\"",
    ] {
        says(
            &format!("[[listeners]]\n{key}\n{REST}"),
            "did you mean `bind`?",
        );
    }
    says(
        "[[route]]\nname = \"a\"\nrespond = {}",
        "did you mean `routes`?",
    );
    let app = "[[routes]]\nname = \"a\"\nupstream = \"app\"";
    for (table, key) in [
        ("upstream", "servers"),
        ("backends", "servers"),
        ("upstreams", "server"),
        ("upstreams", "url"),
    ] {
        says(
            &format!("[{table}.app]\n{key} = [\"http://a\"]\n{app}"),
            "did you mean `",
        );
    }
    route("limit = [\"l\"]", "did you mean `limits`?");
    route(
        "rate_limit = \"1/s\"",
        "`[limits.NAME]`, and write `limits = [\"NAME\"]` here",
    );
    route(
        "timeout = \"30s\"",
        "did you mean `timeouts`? Then write `timeouts = { total = \"30s\" }`",
    );
    route("match = { prefix = \"/a\" }", "did you mean `path_prefix`?");
}

#[test]
fn a_word_of_another_gateway_is_reported_with_the_word_of_this_one() {
    let upstream =
        |keys: &str| format!("{APP}{keys}\n[[routes]]\nname = \"a\"\nupstream = \"app\"");
    for (keys, expected) in [
        ("balance = \"least_conn\"", "did you mean `least-requests`?"),
        ("balance = \"ip_hash\"", "did you mean `hash`?"),
        ("protocol = \"h2c\"", "did you mean `http2`?"),
        ("ejection = false", "write `ejection = { max_percent = 0 }`"),
        ("health_check = false", "leave `health_check` out"),
        (
            "health_check = true",
            "write `health_check = { path = \"/healthz\" }`",
        ),
        ("hash_bound = false", "write `hash_bound = \"off\"`"),
        ("cool_down = \"no\"", "write `cool_down = false`"),
        ("cool_down = 1", "write `cool_down = true`"),
        ("cool_down = 503", "`cool_down = [\"503\"]`"),
        ("cool_down = \"429\"", "`cool_down = [\"429\"]`"),
    ] {
        says(&upstream(keys), expected);
    }
    let listener = |keys: &str| format!("[[listeners]]\nbind = \"0.0.0.0:1\"\n{keys}\n{REST}");
    says(
        &listener("underscores = true"),
        "write `underscores = \"keep\"`",
    );
    says(
        &listener("underscores = 1"),
        "write one of \"drop\", \"keep\"",
    );
    says(
        &listener("tls = { cert = \"a\" }"),
        "write `certificates = [{ cert = ..., key = ... }]`",
    );
    says(&listener("listen = 1"), "did you mean `bind`?");
    says(
        &format!("[server]\nlisten = \"0.0.0.0:1\"\n{REST}"),
        "`bind` of `[[listeners]]` or of `[admin]` may be meant",
    );
    says(
        "[upstreams]\nservers = [\"http://a\"]\n[[routes]]\nname = \"a\"\nupstream = \"a\"",
        "`[upstreams.NAME]` above it",
    );
    route(
        "timeouts = { total = \"1s\"; idle = \"1s\" }",
        "write `,` between them",
    );
    says(
        &format!("{APP}health_check = off\n{REST}"),
        "leave `health_check` out",
    );
    says(
        &listener("proxy_protocol = \"v2\""),
        "did you mean `required`?",
    );
    says(&listener("max_header_bytes = 8192"), "\"8KiB\"");
    says(
        &format!("[log]\nlevel = \"warning\"\n{REST}"),
        "did you mean `warn`?",
    );
    says(
        &format!("admin = \"off\"\n{REST}"),
        "write `admin = { bind = \"off\" }`",
    );
    route(
        "retry = { attempts = \"3\" }",
        "write the number without quotes: `attempts = 3`",
    );
    route(
        "retry = { budget = \"$BUDGET\" }",
        "an environment variable is written `${NAME}`",
    );
    route("retry = false", "write `retry = { attempts = 1 }`");
    route("request = { max_body = -1 }", "write `max_body = \"off\"`");
    route("timeouts = { total = -1 }", "such as `\"10s\"`");
    route("timeouts = { total = \"0\" }", "longer than nothing");
}

#[test]
fn each_shape_is_reported_with_the_shape_of_the_key() {
    route("concurrency = \"10\"", "write `concurrency = { max = 10 }`");
    route(
        "mirror = [\"app\"]",
        "write `mirror = { upstream = \"app\" }`",
    );
    route("timeouts = 30", "such as `timeouts = { total = \"30s\" }`");
    route(
        "request = { set_headers = \"x: y\" }",
        "such as `set_headers = { x-from = \"{client_ip}\" }`",
    );
    route(
        "request = { set_headers = { x = true } }",
        "write it in quotes: `\"true\"`",
    );
    route(
        "priority = [\"high\"]",
        "without brackets: `priority = \"high\"`",
    );
    let limit =
        |keys: &str| format!("[limits.l]\nrate = \"9/s\"\nkey = \"client-ip\"\n{keys}\n{REST}");
    says(&limit("count = 401"), "`count = [\"401\"]`");
    says(&limit("cost = \"x-cost\""), "`cost = { header = ");
    says(
        &limit("tiers = 56"),
        "`tiers = [{ prefix = 56, rate = \"100/s\" }]`",
    );
    says(
        &limit("tiers = [56]"),
        "`tiers = [{ prefix = 56, rate = \"100/s\" }]`",
    );
    says(
        &limit("missing = [\"skip\"]"),
        "without brackets: `missing = \"skip\"`",
    );
    says(
        &format!("[upstreams.b]\nservers = {{ url = \"http://a\" }}\n{REST}"),
        "`servers = [{ ... }]`",
    );
    says(
        &format!("[upstreams.b]\nservers = [9000]\n{REST}"),
        "such as `\"http://10.0.0.1:9001\"`",
    );
    says(
        &format!("listeners = 8080\n{REST}"),
        "`listeners = [{ bind = \"0.0.0.0:8080\" }]`",
    );
    says(
        &format!("upstreams = \"http://a\"\n{REST}"),
        "write `[upstreams.NAME]`",
    );
}

#[test]
fn a_value_in_the_wrong_shape_is_reported_with_the_right_one() {
    route("concurrency = 10", "write `concurrency = { max = 10 }`");
    route("retry = 3", "write `retry = { attempts = 3 }`");
    route(
        "match = \"/api\"",
        "write `match = { path_prefix = \"/api\" }`",
    );
    route(
        "mirror = \"app\"",
        "write `mirror = { upstream = \"app\" }`",
    );
    route("timeouts = \"1s\"", "write `timeouts = { total = \"1s\" }`");
    says(
        "[[routes]]\nname = \"a\"\nrespond = \"ok\"",
        "write `respond = { body = \"ok\" }`",
    );
    says(
        &format!("log = \"debug\"\n{REST}"),
        "write `log = { level = \"debug\" }`",
    );
    let upstream =
        |keys: &str| format!("{APP}{keys}\n{REST}upstream = \"app\"").replace("respond = {}\n", "");
    says(
        &upstream("health_check = \"/healthz\""),
        "write `health_check = { path = \"/healthz\" }`",
    );
    let split = |way: &str| {
        format!(
            "{APP}[upstreams.b]\nservers = [\"http://b\"]\n[[routes]]\nname = \"a\"\nupstream = {way}"
        )
    };
    says(
        &split("[\"app\", \"b\"]"),
        "`upstream = [{ name = \"app\", weight = 1 }, { name = \"b\", weight = 1 }]`",
    );
    says(
        &split("\"http://127.0.0.1:9001\""),
        "`[upstreams.app]` with `servers = [\"http://127.0.0.1:9001\"]`",
    );
    says(
        &split("\"127.0.0.1:9001\""),
        "`servers = [\"http://127.0.0.1:9001\"]`",
    );
    says(&split("\"some app\""), "`[upstreams.\"some app\"]`");
    let tls = "[[listeners]]\nbind = \"0.0.0.0:1\"\n[listeners.tls]\ncertificates = { cert = \"a\", key = \"b\" }\n";
    says(&format!("{tls}{REST}"), "`certificates = [{ ... }]`");
    says(
        &format!("[[listeners]]\nbind = 8080\n{REST}"),
        "`\"0.0.0.0:8080\"`",
    );
    says(
        "[routes]\nname = \"a\"\nrespond = {}",
        "each begins with `[[routes]]`",
    );
    says(
        "[routes.a]\nrespond = {}",
        "write `[[routes]]`, and below it `name = \"a\"`",
    );
    says(
        &format!("[[log]]\nlevel = \"info\"\n{REST}"),
        "one pair of brackets, `[log]`",
    );
    says(
        &format!("[[limits.l]]\nrate = \"1/s\"\n{REST}"),
        "one pair of brackets, `[limits.l]`",
    );
    says(
        &format!("[limits]\nl = \"1/s\"\n{REST}"),
        "write `l = { rate = \"1/s\" }`",
    );
    says(
        &format!("[upstreams]\nb = \"http://b\"\n{REST}"),
        "write `b = { servers = [\"http://b\"] }`",
    );
    says(
        &tls.replace("{ cert = \"a\", key = \"b\" }", "\"a.pem\"")
            .add(REST),
        "`certificates = [{ cert = ",
    );
}

#[test]
fn values_of_another_gateway_are_reported_with_the_right_form() {
    route(
        "match = { path_prefix = \"^/api/.*\" }",
        "write \"/api\", or `path_regex`",
    );
    route("request = { max_body = \"unlimited\" }", "write \"off\"");
    route("request = { max_body = \"10 megs\" }", "or \"off\"");
    let limit = |keys: &str| {
        format!(
            "{APP}[[routes]]\nname = \"app\"\nupstream = \"app\"\nlimits = [\"l\"]\n[limits.l]\n{keys}"
        )
    };
    for (keys, expected) in [
        ("rate = \"0.5/s\"", "did you mean \"30/m\"?"),
        ("rate = \"100r/s\"", "did you mean \"100/s\"?"),
        ("rate = \"100 per minute\"", "did you mean \"100/m\"?"),
        (
            "rate = \"1/s\"\nkey = \"X-API-Key\"",
            "write \"header:x-api-key\"",
        ),
        ("rate = \"1/s\"\nkey = \"header: x\"", "write \"header:x\""),
        (
            "rate = \"1/s\"\nkey = \"header:a, client-ip\"",
            "[\"header:a\", \"client-ip\"]",
        ),
        (
            "rate = \"1/s\"\nkey = \"client-\u{456}p\"",
            "U+0456, which looks like `i`",
        ),
    ] {
        says(&limit(keys), expected);
    }
    says(
        &format!("{APP}[[routes]]\nname = \"\u{430}pp\"\nupstream = \"app\""),
        "U+0430, which looks like `a`",
    );
    says(
        &format!("{APP}[[routes]]\nname = \"app\"\nupstream = \"\u{430}pp\""),
        "U+0430, which looks like `a`",
    );
}
