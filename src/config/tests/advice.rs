//! Mistakes of people who know another gateway or another language: each is
//! reported once, with a correction.

use std::fs;

use super::{
    super::{Diagnostics, Environment, load},
    APP, config_with, read,
};

/// Checks that the only mistake of a file contains this text, in its message or
/// help.
pub(super) fn says(text: &str, expected: &str) {
    one_mistake(text, read(text).expect_err(text), expected);
}

/// Checks the only mistake of a route to the upstream `app` with these keys.
pub(super) fn route(keys: &str, expected: &str) {
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

pub(super) const REST: &str = "[[routes]]\nname = \"a\"\nrespond = {}\n";

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
        ("[log]\naccess = true,", "a comma stands behind the value"),
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
