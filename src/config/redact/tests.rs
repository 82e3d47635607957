//! Tests of what diagnostics hide.

use super::{logins, named, queries, store_url};

#[test]
fn of_a_store_only_what_is_plainly_an_address_is_shown() {
    for (text, shown) in [
        ("redis://store:6379", "redis://store:6379"),
        ("rediss://10.0.0.1/2", "rediss://10.0.0.1/2"),
        ("redis://[::1]", "redis://[::1]"),
        ("redis://gate:pet@store", "redis://********@store"),
        ("redis://:p@t@store:1/2", "redis://****@store:1/2"),
        ("redis://pet", "redis://***"),
        ("redis://gate:pet", "redis://********"),
        ("redis://a:1/pet", "redis://*******"),
        ("pet", "***"),
        ("", ""),
    ] {
        assert_eq!(store_url(text), shown);
    }
}

#[test]
fn behind_the_name_of_a_secret_a_line_that_cannot_be_read_is_covered() {
    for (line, shown) in [
        (
            "set_headers = { x-vault-token = \"hunter2\", x = 1 }",
            "set_headers = { x-vault-token = \"*******\", x = 1 }",
        ),
        ("\"X-API-Key\"='hunter2' x", "\"X-API-Key\"='*******' x"),
        ("api_key = hunter2", "api_key = *******"),
        (
            "authorization = Bearer hunter2\"",
            "authorization = **************\"",
        ),
        ("x-token == \"hunter2\"", "x-token == \"*******\""),
        ("my.password = \"hunter2", "my.password = \"*******"),
        ("secrets = [\"a\", \"b\"]", "secrets = *\"*\"**\"*\"]"),
        (
            "to = \"/x?token=hunter2&y=1\"",
            "to = \"/x?token=*******&y=1\"",
        ),
        (
            "- \"Authorization: Bearer x\"",
            "- \"Authorization: ********\"",
        ),
        ("x-token = \"${TOKEN}\"", "x-token = \"${TOKEN}\""),
        ("key = \"header:x-api-key\"", "key = \"header:x-api-key\""),
        (
            "key = [\"cookie:session\", \"client-ip\"]",
            "key = [\"cookie:session\", \"client-ip\"]",
        ),
        (
            "cert = \"a.pem\", key = \"a.key\"",
            "cert = \"a.pem\", key = \"a.key\"",
        ),
        ("query = { key = \"AIza\" }", "query = { key = \"****\" }"),
        ("max_keys = 100", "max_keys = 100"),
        ("\u{201c}x-token = hunter2", "\u{201c}x-token = *******"),
        ("x\u{e9}-token=\u{e9}", "x\u{e9}-token=**"),
    ] {
        assert_eq!(named(line), shown);
    }
}

#[test]
fn in_a_query_the_value_of_a_secret_is_covered_and_nothing_moves() {
    for (text, shown) in [
        (
            "to = \"https://a/?token=hunter2&y=1\"",
            "to = \"https://a/?token=*******&y=1\"",
        ),
        (
            "`path` cannot be `/h?x=1&api_key=p\u{e9}t#z`",
            "`path` cannot be `/h?x=1&api_key=****#z`",
        ),
        ("/x?token=&token&y=1", "/x?token=&token&y=1"),
        ("what is token=1?", "what is token=1?"),
    ] {
        assert_eq!(queries(text), shown);
        assert_eq!(queries(text).len(), text.len());
    }
}

#[test]
fn a_login_is_covered_and_nothing_moves() {
    for (text, shown) in [
        (
            "url = \"redis://gate:p\u{e9}t@store\"",
            "url = \"redis://*********@store\"",
        ),
        (
            "url = \"redis://gate:p@ss@store:1\" # ours",
            "url = \"redis://******@**@store:1\" # ours",
        ),
        (
            "url = \"redis:gate:pet@store\"",
            "url = \"**************@store\"",
        ),
        (
            "url = 'redis://a:\"b\"@store'\nmail = \"a@b\"",
            "url = 'redis://*****@store'\nmail = \"a@b\"",
        ),
        (
            "`url` cannot be `:pet@store`",
            "`url` cannot be `****@store`",
        ),
        ("url = \"redis://store\"", "url = \"redis://store\""),
    ] {
        assert_eq!(logins(text), shown);
        assert_eq!(logins(text).len(), text.len());
    }
}
