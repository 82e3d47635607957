//! Mistakes of people who know another gateway or another language: each is
//! reported once, with a correction.

use std::{fs, ops::Add};

use super::{
    super::{Diagnostics, Environment, load},
    APP, config_with, read,
};

/// Checks that the only mistake of a file contains this text, in its message or
/// help.
fn says(text: &str, expected: &str) {
    one_mistake(text, read(text).expect_err(text), expected);
}

/// Checks the only mistake of a route to the upstream `app` with these keys.
fn route(keys: &str, expected: &str) {
    one_mistake(keys, config_with("", keys).expect_err(keys), expected);
}

fn one_mistake(text: &str, mistakes: Diagnostics, expected: &str) {
    assert_eq!(mistakes.list.len(), 1, "{text}\n{mistakes}");
    let one = &mistakes.list[0];
    let said = format!(
        "{} | {}",
        one.message,
        one.help.as_deref().unwrap_or_default()
    );
    assert!(said.contains(expected), "{text}\n{said}");
}

const REST: &str = "[[routes]]\nname = \"a\"\nrespond = {}\n";

#[test]
fn slips_of_grammar_are_reported_with_a_correction() {
    for (line, expected) in [
        (
            "[[listeners]]\nbind = 0.0.0.0:8080",
            "write it in quotes: `bind = \"0.0.0.0:8080\"`",
        ),
        (
            "[log]\nlevel = info",
            "write it in quotes: `level = \"info\"`",
        ),
        (
            "[log]\nlevel = \u{201c}info\u{201d}",
            "U+201C is a typographic quote",
        ),
        (
            "[log]\nlevel = \u{2018}info\u{2019}",
            "U+2018 is a typographic quote",
        ),
        (
            "[[listeners]]\nbind = \"0.0.0.0:1\"\nhttp2 = yes",
            "write `true`",
        ),
        (
            "[[listeners]]\nbind = \"0.0.0.0:1\"\nhttp2 = False",
            "write `false`",
        ),
        (
            "[[listeners]]\nbind = \"0.0.0.0:1\"\nproxy_protocol = off",
            "`proxy_protocol = \"off\"`",
        ),
        ("[log]\nlevel = null", "leave `level` out"),
        ("[log]\nlevel =", "a value is missing"),
        ("[log]\nlevel: info", "write `level = ...`"),
        ("[log]\nlevel == \"info\"", "write `key = value`"),
        (
            "[log]\nl\u{435}vel = \"info\"",
            "U+0435, which looks like `e`",
        ),
        ("[log]\nlevel\u{a0}= \"info\"", "U+00A0, a no-break space"),
        ("// ours\n// and more\n[log]", "a comment begins with `#`"),
        (
            "[log]\nlevel = \"info\" // ours",
            "a comment begins with `#`",
        ),
        ("; ours\n[log]", "a comment begins with `#`"),
    ] {
        says(&format!("{line}\n{REST}"), expected);
    }
    route(
        "concurrency = { max = 10 queue = 5 }",
        "a comma is missing before `queue`",
    );
    route(
        "concurrency = { max = 10, queue = 5 queue_timeout = \"1s\" }",
        "a comma is missing before `queue_timeout`",
    );
}

#[test]
fn quotes_and_commas_are_reported_wherever_they_are_missing() {
    for (line, expected) in [
        (
            "[client_ip]\ntrusted_proxies = [10.0.0.0/8]",
            "`\"10.0.0.0/8\"`",
        ),
        (
            "[client_ip]\ntrusted_proxies = [\n  fd00::/8,\n]",
            "`\"fd00::/8\"`",
        ),
        ("[[listeners]]\nbind = [::]:8080", "`bind = \"[::]:8080\"`"),
        ("include = conf.d/*.toml", "`include = [\"conf.d/*.toml\"]`"),
        ("[log]\nlevel = \"info", "a quote is missing at the end"),
        ("[log]\nlevel = info\"", "a quote is missing before"),
        ("[log]\nlevel = `info`", "a backtick is no quote"),
        (
            "[log]\nlevel = \"info\",",
            "a comma stands behind the value",
        ),
        ("[log]\nlevel = \"info\";", "a line does not end with `;`"),
        (
            "[log]\nlevel = \"info\" access = true",
            "write `access = ...` on the next line",
        ),
        ("[log]\nlevel = (\"info\")", "round brackets"),
        ("[log]\nlevel \"info\"", "`=` is missing behind `level`"),
        ("[log]\n\"level\": \"info\"", "write `level = ...`"),
        (
            "[client_ip]\ntrusted_proxies = { \"10.0.0.1\" }",
            "write `[ ]` around a list",
        ),
        (
            "[client_ip]\ntrusted_proxies = [\"10.0.0.1\" \"10.0.0.2\"]",
            "a comma is missing",
        ),
        (
            "[client_ip]\ntrusted_proxies = [\n\"10.0.0.1\"\n\"10.0.0.2\"\n]",
            "a comma is missing",
        ),
        (
            "[client_ip]\ntrusted_proxies = [\"10.0.0.1\"",
            "write `]` behind its last value",
        ),
        ("[log\nlevel = \"info\"", "write `[log]`"),
        (
            "[[listeners]\nbind = \"0.0.0.0:1\"",
            "write `[[listeners]]`",
        ),
        (
            "[limits per-client]\nrate = \"1/s\"",
            "write `[limits.per-client]`",
        ),
        ("/* ours\nand more */\n[log]", "a comment begins with `#`"),
        ("[log]\nlevel = \"inf\\o\"", "a backslash between"),
        ("[log]\nlev\u{fc}l = \"info\"", "`\u{fc}` (U+00FC)"),
        (
            "[log]\nl\u{251}vel = \"info\"",
            "U+0251, which looks like `a`",
        ),
        (
            "[log]\nlevel\u{3000}= \"info\"",
            "U+3000, which looks like a space",
        ),
        (
            "\u{feff}\u{feff}[log]\nlevel = \"info\"",
            "U+FEFF, which nobody sees",
        ),
    ] {
        says(&format!("{line}\n{REST}"), expected);
    }
    route("timeouts = { total: \"10s\" }", "write `total = ...`");
    route(
        "timeouts = { total = \"10s\"",
        "write `}` behind its last value",
    );
    route(
        "timeouts = {\n total = \"10s\"\n idle = \"5s\"\n}",
        "a comma is missing",
    );
    let servers = |list: &str| format!("[upstreams.b]\nservers = {list}\n{REST}");
    says(
        &servers("[http://127.0.0.1:9000]"),
        "`\"http://127.0.0.1:9000\"`",
    );
    says(
        &servers("http://127.0.0.1:9000"),
        "`servers = [\"http://127.0.0.1:9000\"]`",
    );
    says(
        &servers("[{ url = \"http://a\" } { url = \"http://b\" }]"),
        "a comma is missing",
    );
    says(
        &servers("[\"http://a\"\n[log]\nlevel = \"info\""),
        "the list is not closed",
    );
}

#[test]
fn a_key_in_the_wrong_table_is_reported_where_it_belongs() {
    route(
        "[routes.match]\npath = \"/a\"\nlimits = [\"l\"]",
        "is a key of `[[routes]]`: move it above `[routes.match]`",
    );
    route("total = \"1s\"", "write `timeouts = { total = ... }`");
    route(
        "path_prefix = \"/a\"",
        "write `match = { path_prefix = ... }`",
    );
    route(
        "rate = \"1/s\"",
        "`[limits.NAME]`, and write `limits = [\"NAME\"]` here",
    );
    route(
        "servers = [\"http://a\"]",
        "`[upstreams.NAME]`, and write `upstream = \"NAME\"` here",
    );
    route(
        "limits = { rate = \"1/s\" }",
        "`[limits.NAME]`, and write `limits = [\"NAME\"]` here",
    );
    route(
        "[routes.limits]\nrate = \"1/s\"",
        "`[limits.NAME]`, and write `limits = [\"NAME\"]` here",
    );
    route(
        "[[routes.limits]]\nrate = \"1/s\"",
        "`[limits.NAME]`, and write `limits = [\"NAME\"]` here",
    );
    says(
        &format!("[log]\ninclude = [\"a.toml\"]\n{REST}"),
        "move it to the top, above all tables",
    );
    says(
        &format!("[[limits]]\nname = \"per-client\"\nrate = \"1/s\"\n{REST}"),
        "write `[limits.per-client]`",
    );
    says(
        &format!("[limits]\nkey = \"client-ip\"\nrate = \"1/s\"\n{REST}"),
        "write `[limits.NAME]` above it",
    );
    let upstream =
        |keys: &str| format!("{APP}{keys}\n[[routes]]\nname = \"a\"\nupstream = \"app\"");
    says(
        &upstream("connect_timeout = \"1s\""),
        "write `pool = { connect_timeout = ... }`",
    );
    says(
        &upstream("limits = [\"l\"]"),
        "`limits` is a key of `[defaults]` and of `[[routes]]`",
    );
    says(
        &upstream("[upstreams.app.pool]\nmax_idle = 1\nbalance = \"hash\""),
        "move it above `[upstreams.NAME.pool]`",
    );
    route(
        "buffer = \"1MiB\"",
        "a key of `retry` and of `request` and of `response`",
    );
    route(
        "match = { path = \"/a\" }\nhosts = [\"a.example\"]",
        "move it into `match`",
    );
    route(
        "[routes.response]\nworkers = 4",
        "`workers` is a key of `[server]`",
    );
    says(
        &format!("bind = \"0.0.0.0:80\"\n{REST}"),
        "`[[listeners]]` or `[admin]`",
    );
    says(
        &format!("[timeouts]\ntotal = \"1s\"\n{REST}"),
        "`[routes.timeouts]`",
    );
    says(
        &format!("[server]\ntrusted_proxies = [\"10.0.0.1\"]\n{REST}"),
        "`trusted_proxies` is a key of `[client_ip]`",
    );
    says(
        &format!("[[listeners]]\nbind = \"0.0.0.0:1\"\ncert = \"a\"\n{REST}"),
        "`tls = { certificates = [{ cert = ..., key = ... }] }`",
    );
    says(
        &format!("[http.routers.a]\nrule = \"x\"\n{REST}"),
        "a table of Traefik",
    );
    says(
        &format!("[[upstreams.a.servers]]\nurl = \"http://a\"\nhealth_check = \"/\"\n{REST}"),
        "`health_check` is a key of `[upstreams.NAME]`",
    );
}

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
        "such as `set_headers = { NAME = \"value\" }`",
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
        "`tiers = [{ prefix = 1, rate = \"100/s\" }]`",
    );
    says(
        &limit("tiers = [56]"),
        "`tiers = [{ prefix = 1, rate = \"100/s\" }]`",
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

#[test]
fn a_file_in_another_language_is_one_mistake() {
    for (text, expected) in [
        (
            "routes:\n  - name: app\n    upstream: app\nlimits:\n  a:\n    rate: 1/s\n",
            "this is YAML, not TOML",
        ),
        (
            "server {\n  listen 80;\n  location / {\n    proxy_pass http://app;\n  }\n}\n",
            "this is the language of NGINX",
        ),
        (
            "{\n  \"routes\": [\n    { \"name\": \"a\" }\n  ]\n}\n",
            "this is JSON, not TOML",
        ),
        (
            "example.com {\n  reverse_proxy localhost:9000\n}\n",
            "this is a Caddyfile",
        ),
    ] {
        says(text, expected);
    }
    says(
        "-----BEGIN CERTIFICATE-----\nMIIB==\n-----END CERTIFICATE-----\n",
        "this is PEM",
    );
    says(
        "[server]\nworkers=4\n[log]\nlevel=info\nformat=text\n",
        "stands in quotes, as in INI",
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidegate.toml");
    for (bytes, expected) in [
        (
            REST.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            "is UTF-16 and has to be UTF-8",
        ),
        (
            REST.chars()
                .flat_map(|c| u32::from(c).to_le_bytes())
                .collect(),
            "is UTF-32 and has to be UTF-8",
        ),
        (b"# caf\xe9\n".to_vec(), "`\u{e9}` in line 1 is of Latin-1"),
        (b"a\0b".to_vec(), "is not text"),
    ] {
        fs::write(&file, bytes).unwrap();
        one_mistake(
            expected,
            load(&file, &Environment::new()).unwrap_err(),
            expected,
        );
    }
    let utf16: Vec<u8> = [0xff, 0xfe]
        .into_iter()
        .chain(REST.encode_utf16().flat_map(u16::to_le_bytes))
        .collect();
    fs::write(&file, utf16).unwrap();
    one_mistake(
        "UTF-16",
        load(&file, &Environment::new()).unwrap_err(),
        "is UTF-16 and has to be UTF-8",
    );
}
