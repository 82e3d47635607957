//! Any text is read or refused, and any source that is read becomes a file that
//! `check` accepts.

use proptest::prelude::*;

use super::imported;
use crate::config::{Code, Environment, parse};

/// The file, which has no mistakes but files that are not there.
fn sound(text: &str) -> String {
    let made = imported(text.as_bytes()).unwrap();
    if let Err(mistakes) = parse("tidegate.toml", &made, &Environment::new()) {
        for mistake in &mistakes.list {
            assert_eq!(
                mistake.code,
                Code::Unreadable,
                "{}\n{text}\n{made}",
                mistakes.render(false)
            );
        }
    }
    made
}

#[test]
fn a_source_without_anything_becomes_a_file_that_serves_nothing() {
    for text in [
        "",
        "events {}",
        "http {}",
        "stream { server { listen 1; } }",
    ] {
        assert!(sound(text).contains("nothing in the source leads anywhere"));
    }
}

#[test]
fn a_text_of_the_source_does_not_end_its_comment() {
    let text = "http { server { location / { proxy_pass http://a; strange \"x\n[admin]\nbind = 'off'\"; } } }";
    let made = sound(text);
    assert!(
        made.contains("strange \"x\\n[admin]\\nbind = 'off'\";"),
        "{made}"
    );
    assert!(!made.contains("\n[admin]"), "{made}");
}

#[test]
fn a_variable_of_the_environment_stays_a_text() {
    let text = "http { server { location / { return 200 '\\${HOME} {x}'; } location /a { proxy_pass http://a; proxy_set_header X-A 'a {b}'; } } }";
    let made = sound(text);
    assert!(made.contains("{{b}}"), "{made}");
}

#[test]
fn one_that_cannot_be_checked_keeps_its_requests_from_other_routes() {
    let text = "http { server { location / { proxy_pass http://a; } location /b { proxy_pass http://b_é; } } }";
    let made = sound(text);
    assert!(
        made.contains("name = \"default/b\"\nmatch")
            || made.contains("respond = { status = 501 }\nname = \"default/b\""),
        "{made}"
    );
}

#[test]
fn a_large_source_is_translated() {
    let servers: String = (0..500)
        .map(|at| format!("server {{ listen {}; server_name a{at}.example b{at}.example; limit_req zone=z burst={at}; location /{at} {{ proxy_pass http://10.0.0.1:{at}; }} }}\n", 8000 + at % 10))
        .collect();
    let locations: String = (0..500)
        .map(|at| format!("location /x{at}/ {{ proxy_pass http://u; }}\n"))
        .collect();
    let text = format!(
        "http {{ limit_req_zone $uri zone=z:1m rate=1r/s;\nupstream u {{ server 10.0.0.2; }}\n{servers}server {{ {locations} }} }}"
    );
    let made = sound(&text);
    assert_eq!(made.matches("upstream = \"u\"").count(), 500);
}

/// Directives and arguments that mean something.
fn words() -> impl Strategy<Value = String> {
    let names = "server location upstream http events map geo if limit_except listen server_name return rewrite proxy_pass grpc_pass \
        try_files limit_req_zone limit_req limit_conn_zone limit_conn limit_req_status limit_req_dry_run proxy_set_header add_header \
        proxy_hide_header client_max_body_size proxy_read_timeout proxy_connect_timeout proxy_next_upstream proxy_next_upstream_tries \
        set_real_ip_from real_ip_header ssl_certificate ssl_certificate_key ssl_protocols ssl_verify_client allow deny auth_basic set \
        internal keepalive keepalive_timeout least_conn ip_hash hash root include strange";
    let arguments = "/ /a /a/ = ~ ~* ^~ @a ^/a$ \\.(b|c)$ http://u http://u/ http://u/b/ https://u http://unix:/s:/b $a u 80 443 ssl default_server \
        [::]:80 127.0.0.1:1 unix:/s a.example *.example .example _ ~x 200 301 444 999 https://$host$request_uri text zone=z:1m zone=z rate=1r/s \
        rate=9r/m burst=5 nodelay delay=2 z 5 on off 10m 0 1k 60s 5ms x error timeout http_503 non_idempotent all 10.0.0.0/8 ::/0 X-A Host \
        $remote_addr $binary_remote_addr $server_name $http_x $uri {x} \"\" 'a b' weight=2 weight=0 down backup max_fails=0 fail_timeout=1s \
        max_conns=3 always permanent é";
    let word =
        |text: &'static str| prop::sample::select(text.split_whitespace().collect::<Vec<_>>());
    let head = (word(names), prop::collection::vec(word(arguments), 0..4));
    let head = head.prop_map(|(name, arguments)| format!("{name} {}", arguments.join(" ")));
    let leaf = head.clone().prop_map(|head| format!("{head};"));
    leaf.prop_recursive(3, 40, 8, move |inner| {
        (head.clone(), prop::collection::vec(inner, 0..8))
            .prop_map(|(head, inner)| format!("{head} {{ {} }}", inner.join("\n")))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn any_source_becomes_a_file_that_check_accepts(
        parts in prop::collection::vec(words(), 0..12),
        is_whole: bool,
    ) {
        let text = parts.join("\n");
        let text = match is_whole {
            true => format!("http {{ {text} }}"),
            false => text,
        };
        // An include of a file that is not there is a mistake.
        if imported(text.as_bytes()).is_ok() {
            let made = sound(&text);
            prop_assert_eq!(&made, &sound(&text));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[a{};\"' $#\\\\\n]{0,200}") {
        let _ = imported(text.as_bytes());
    }
}
