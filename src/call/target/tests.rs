//! Tests of targets and hosts: their normal forms, and what is refused.

use super::*;

fn target(text: &str) -> Result<Target, Error> {
    Target::parse(Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn every_spelling_of_a_path_has_one_normal_form() {
    for (received, normal) in [
        ("/a/b", "/a/b"),
        ("/a/./b", "/a/b"),
        ("/a/x/../b", "/a/b"),
        ("/a/%2e%2E/b", "/b"),
        ("//a///b", "/a/b"),
        ("/%61/b", "/a/b"),
        ("/a%2fb", "/a%2Fb"),
        ("/../../a", "/a"),
        ("/a/..", "/"),
        ("/a/b/.", "/a/b/"),
        ("/a/", "/a/"),
        ("/", "/"),
        ("/a%zz", "/a%25zz"),
        ("/a%", "/a%25"),
        ("/caf\u{e9}", "/caf%C3%A9"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/a\"b", "/a%22b"),
        ("/.hidden", "/.hidden"),
        ("/a/...", "/a/..."),
        ("/a//../b", "/b"),
        ("/%252e%252e/b", "/%252e%252e/b"),
        ("/a/b?//./%7e", "/a/b"),
        ("/a//b?x", "/a/b"),
    ] {
        assert_eq!(
            target(received).unwrap().normal_path(),
            normal.as_bytes(),
            "{received}"
        );
    }
}

#[test]
fn what_is_forwarded_is_what_was_received() {
    for text in ["/a/%2e%2e//b?x=/../&y", "/?", "/a?b?c", "/ü"] {
        let target = target(text).unwrap();
        let (path, query) = target.to_forward();
        assert_eq!([path, query].concat(), text.as_bytes());
    }
}

#[test]
fn an_absolute_form_is_forwarded_in_origin_form_and_names_its_host() {
    let target = target("http://Example.com:80?x").unwrap();
    assert_eq!(target.authority(), Some(&b"Example.com:80"[..]));
    assert_eq!(target.to_forward(), (&b"/"[..], &b"?x"[..]));
}

#[test]
fn a_url_without_a_path_is_about_the_server_in_options_alone() {
    for (text, path) in [
        ("http://a", "*"),
        ("http://a:80", "*"),
        ("http://a/", "/"),
        ("http://a?x", "/"),
        ("*", "*"),
    ] {
        assert_eq!(
            target(text).unwrap().of_options().path(),
            path.as_bytes(),
            "{text}"
        );
    }
    assert_eq!(target("http://a").unwrap().path(), b"/");
}

#[test]
fn a_path_with_a_semicolon_or_in_another_spelling_may_be_disguised() {
    for (text, may_be) in [
        ("/a/b?c;d", false),
        ("http://a;b/", false),
        ("*", false),
        ("/a;b", true),
        ("/a;b?c", true),
        ("http://a/b;c", true),
        ("/a/../b", true),
        ("/%61", true),
    ] {
        assert_eq!(
            target(text).is_ok_and(|target| target.may_be_disguised()),
            may_be,
            "{text}"
        );
    }
}

#[test]
fn what_is_no_target_is_refused() {
    for text in [
        "a",
        "",
        "example.com:443",
        "https://a/",
        "/a#b",
        "/a\u{7f}",
        "/a?b#c",
        "/a?b c",
        "http:///a",
    ] {
        assert!(target(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_host_loses_its_port_its_case_and_its_trailing_dot() {
    for (given, host) in [
        ("Example.COM:8080", "example.com"),
        ("a.", "a"),
        ("[::1]:80", "[::1]"),
        ("a:", "a"),
        ("A.b.:1", "a.b"),
    ] {
        assert_eq!(&*host_name(given.as_bytes()).unwrap(), host);
    }
}

#[test]
fn an_ipv6_address_is_one_host_however_it_is_spelled() {
    for given in [
        "[::1]",
        "[0:0::1]:80",
        "[0000:0:0:0:0:0:0:0001]",
        "[::0.0.0.1]:",
        "[0::1]",
    ] {
        assert_eq!(&*host_name(given.as_bytes()).unwrap(), "[::1]", "{given}");
    }
    assert_eq!(
        &*host_name(b"[2001:DB8:0:0:0:0:0:A]").unwrap(),
        "[2001:db8::a]"
    );
}

#[test]
fn what_is_no_host_is_refused() {
    for given in [
        "a b", "a/b", "user@a", "a,b", "a:80:90", "a:x", "[::1", "[x]", "a\u{e9}", "", ":80", ".",
        "..", ".:80", "a..", "a..b", ".a", "A..", "[::1].",
    ] {
        assert!(host_name(given.as_bytes()).is_err(), "{given}");
    }
}

#[test]
fn a_connection_keeps_its_first_host_and_takes_no_other_one_for_it() {
    let first = OnceLock::new();
    let too_long = format!("{}a", "a.".repeat(LONGEST_KEPT));
    for (given, host) in [
        (&*too_long, Ok(&*too_long)),
        ("a b", Err(NO_HOST)),
        ("Shop.Example:80", Ok("shop.example")),
        ("Shop.Example:80", Ok("shop.example")),
        ("shop.example", Ok("shop.example")),
        ("shop.example:8", Ok("shop.example")),
        ("shop", Ok("shop")),
        ("shop:x", Err(NO_HOST)),
        ("", Err(NO_HOST)),
    ] {
        let name = name_by(given.as_bytes(), &first);
        assert_eq!(name.as_deref(), host.as_ref().copied(), "{given}");
    }
    assert_eq!(*first.get().unwrap().field, *b"Shop.Example:80");
}
