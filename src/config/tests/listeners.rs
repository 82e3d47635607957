//! Promises about listeners: their names and addresses.

use super::{Code, config_with, only, parse, places, read};

#[test]
fn a_listener_is_named_by_its_bind_unless_it_has_a_name() {
    let listeners = "[[listeners]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n[[listeners]]\nbind = \"[::0]:81\"\n[[listeners]]\nbind = \"0.0.0.0:0\"";
    let config = config_with(listeners, "").unwrap();
    let names: Vec<_> = config
        .listeners
        .iter()
        .map(|of| of.name.as_deref())
        .collect();
    assert_eq!(names, [Some("web"), Some("[::0]:81"), None]);
    let shown = &config.shown()["listeners"];
    assert_eq!(
        (&shown[0]["name"], &shown[1]["name"]),
        (&"web".into(), &"[::0]:81".into())
    );
}

#[test]
fn two_listeners_with_one_name_are_a_mistake() {
    let listeners = |one: &str, other: &str| {
        config_with(&format!("[[listeners]]\n{one}\n[[listeners]]\n{other}"), "")
    };
    let both = listeners(
        "name = \"a\"\nbind = \"0.0.0.0:1\"",
        "name = \"a\"\nbind = \"0.0.0.0:2\"",
    );
    assert_eq!(places(both), [(5, Code::Duplicate)]);
    let by_default = listeners(
        "bind = \"0.0.0.0:1\"",
        "name = \"0.0.0.0:1\"\nbind = \"0.0.0.0:2\"",
    );
    let (code, message) = only(by_default);
    assert_eq!(code, Code::Duplicate);
    assert!(message.contains("for its `bind`"), "{message}");
    let bad = listeners(
        "name = \"a\\\"b\"\nbind = \"0.0.0.0:1\"",
        "bind = \"0.0.0.0:2\"",
    );
    assert_eq!(places(bad), [(2, Code::BadValue)]);
}

#[test]
fn every_request_is_redirected_to_the_usual_port_or_to_another() {
    for (value, port) in [
        ("false", None),
        ("true", Some(443)),
        ("8443", Some(8443)),
        ("\"${HTTPS}\"", Some(443)),
    ] {
        let text = format!(
            "[[listeners]]\nbind = \"0.0.0.0:80\"\nredirect_https = {value}\n[[routes]]\nname = \"a\"\nrespond = {{}}"
        );
        let environment = [("HTTPS".to_owned(), "true".to_owned())].into();
        let config = parse("test.toml", &text, &environment).unwrap();
        let found = config.listeners[0].redirect_https;
        assert_eq!(found.map(std::num::NonZeroU16::get), port, "{value}");
    }
    for wrong in ["0", "65536", "\"443\"", "\"https\"", "[443]"] {
        let listener = format!("[[listeners]]\nbind = \"0.0.0.0:80\"\nredirect_https = {wrong}");
        assert_eq!(places(config_with(&listener, ""))[0].0, 3, "{wrong}");
    }
}

#[test]
fn a_redirect_needs_no_routes_and_excludes_tls() {
    let redirects = "[[listeners]]\nbind = \"0.0.0.0:80\"\nredirect_https = true\n";
    assert!(read(redirects).is_ok());
    let both = format!("{redirects}[[listeners]]\nbind = \"0.0.0.0:81\"\n");
    assert_eq!(only(read(&both)).0, Code::NothingToServe);
    let tls = format!("{redirects}tls = {{ certificates = [{{ cert = \"a\", key = \"b\" }}] }}\n");
    let mistakes = config_with(&tls, "").expect_err("mistakes").to_string();
    assert!(
        mistakes.contains("`tls` and `redirect_https` exclude each other"),
        "{mistakes}"
    );
}

#[test]
fn a_route_names_listeners_that_exist() {
    let listeners = "[[listeners]]\nname = \"internal\"\nbind = \"0.0.0.0:1\"\n[[listeners]]\nbind = \"0.0.0.0:2\"\n[[listeners]]\nbind = \"0.0.0.0:3\"\nredirect_https = true\n";
    let matching = |value: &str| config_with(listeners, &format!("match = {{ {value} }}"));
    let config =
        matching("listeners = [\"internal\", \"0.0.0.0:2\"], clients = [\"10.1.0.0/8\"]").unwrap();
    assert_eq!(
        config.routes[0].matches.listeners,
        ["internal", "0.0.0.0:2"].map(std::sync::Arc::<str>::from)
    );
    assert_eq!(
        config.routes[0].matches.clients[0].to_string(),
        "10.0.0.0/8"
    );
    let (code, message) = only(matching("listeners = [\"intrenal\"]"));
    assert_eq!(code, Code::UnknownName);
    assert!(message.contains("did you mean `internal`?"), "{message}");
    let (_, message) = only(matching("listeners = [\"web\"]"));
    assert!(message.contains("`name = \"web\"`"), "{message}");
    let warned = |value: &str| {
        let warnings = &matching(value).unwrap().warnings;
        warnings.list.iter().map(|one| one.code).collect::<Vec<_>>()
    };
    assert_eq!(warned("listeners = [\"0.0.0.0:3\"]"), [Code::NeverMatches]);
    assert_eq!(
        warned("clients = [\"10.9.0.0/16\"], not_clients = [\"10.0.0.0/8\"]"),
        [Code::NeverMatches]
    );
    assert_eq!(
        warned("clients = [\"10.0.0.0/8\"], not_clients = [\"10.9.0.0/16\"]"),
        []
    );
}

#[test]
fn routes_of_other_listeners_or_clients_do_not_hide_each_other() {
    let listeners = "[[listeners]]\nname = \"a\"\nbind = \"0.0.0.0:1\"\n[[listeners]]\nname = \"b\"\nbind = \"0.0.0.0:2\"\n";
    let routes = |matches: &[&str]| {
        let mut text = listeners.to_owned();
        for (at, matches) in matches.iter().enumerate() {
            text +=
                &format!("[[routes]]\nname = \"r{at}\"\nrespond = {{}}\nmatch = {{ {matches} }}\n");
        }
        read(&text)
    };
    let (a, b) = ("listeners = [\"a\"]", "listeners = [\"b\"]");
    assert!(routes(&["", a, b]).is_ok());
    assert!(
        routes(&[
            "",
            "clients = [\"10.0.0.0/8\"]",
            "not_clients = [\"10.0.0.0/8\"]"
        ])
        .is_ok()
    );
    assert_eq!(
        only(routes(&[a, b, "listeners = [\"a\", \"b\"]"])).0,
        Code::HiddenRoute
    );
    let (one, same) = (
        "clients = [\"10.0.0.0/8\", \"11.0.0.0/8\"]",
        "clients = [\"11.0.0.0/8\", \"10.0.0.0/8\"]",
    );
    assert_eq!(only(routes(&[one, same])).0, Code::HiddenRoute);
}

#[test]
fn a_listener_may_be_a_socket_in_the_file_system() {
    let listener = |keys: &str| config_with(&format!("[[listeners]]\n{keys}"), "");
    let config = listener("bind = \"unix:/run/a.sock\"").unwrap();
    let of = &config.listeners[0];
    assert_eq!(
        (of.mode, of.name.as_deref()),
        (0o660, Some("unix:/run/a.sock"))
    );
    assert_eq!(config.shown()["listeners"][0]["mode"], "0660");
    assert_eq!(
        listener("bind = \"unix:/run/a.sock\"\nmode = \"0600\"")
            .unwrap()
            .listeners[0]
            .mode,
        0o600
    );
    let both = "bind = \"unix:/run/a.sock\"\n[[listeners]]\nbind = \"unix:/run/a.sock\"";
    assert_eq!(places(listener(both)), [(4, Code::Duplicate)]);
    let on_a_port = listener("bind = \"0.0.0.0:1\"\nmode = \"0600\"");
    assert_eq!(places(on_a_port), [(3, Code::Conflict)]);
    for (wrong, right) in [
        ("bind = \"/run/a.sock\"", "\"unix:/run/a.sock\""),
        ("bind = \"unix:run/a.sock\"", "begins with /"),
        ("bind = \"unix:/run/ä.sock\"", "printable ASCII"),
        ("bind = \"unix:/run/a.sock\"\nmode = 660", "`\"0660\"`"),
        (
            "bind = \"unix:/run/a.sock\"\nmode = \"0888\"",
            "three octal digits",
        ),
        (
            "bind = \"unix:/run/a.sock\"\nmode = \"rw-rw----\"",
            "three octal digits",
        ),
        (
            "bind = \"unix:/run/a.sock\"\nmode = \"4755\"",
            "three octal digits",
        ),
    ] {
        let (_, message) = only(listener(wrong));
        assert!(message.contains(right), "{wrong}: {message}");
    }
    let long = format!("bind = \"unix:/{}\"", "a".repeat(107));
    assert!(only(listener(&long)).1.contains("107 bytes"));
}

#[test]
fn a_server_that_is_a_socket_of_the_gateway_itself_is_reported() {
    let text = "[[listeners]]\nbind = \"unix:/run/a.sock\"\n[upstreams.a]\nservers = [\"unix:/run/a.sock\"]\n[[routes]]\nname = \"a\"\nupstream = \"a\"";
    let warnings = &read(text).unwrap().warnings;
    assert_eq!(warnings.list[0].code, Code::Misleading);
}
