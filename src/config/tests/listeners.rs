//! Promises about listeners: their names and addresses.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    thread,
};

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use super::{
    Code, config_with, only, parse, places, read,
    warnings::{fine, last_line, warned},
};

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
    for wrong in ["0", "65536", "\"443\"", "\"true\"", "\"https\"", "[443]"] {
        let listener = format!("[[listeners]]\nbind = \"0.0.0.0:80\"\nredirect_https = {wrong}");
        assert_eq!(places(config_with(&listener, ""))[0].0, 3, "{wrong}");
    }
    let quoted = config_with(&format!("{HTTP}redirect_https = \"443\""), "");
    let (_, message) = only(quoted);
    assert!(message.contains("without quotes: 443"), "{message}");
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
        ("bind = \"unix:/\"", "the path of the socket is missing"),
        ("bind = \"unix:/run/a b.sock\"", "has no blanks"),
        ("bind = \"unix:/my run/a.sock\"", "has no blanks"),
        (
            "bind = \"unix:/run/a.sock backlog=9\"",
            "write \"unix:/run/a.sock\"",
        ),
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

#[test]
fn two_names_of_one_socket_are_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().display();
    symlink(".", format!("{folder}/link")).unwrap();
    std::fs::create_dir(format!("{folder}/sub")).unwrap();
    for other in ["link/a.sock", "sub/../a.sock", "./a.sock", "/a.sock"] {
        let (code, message) = only(config_with(
            &format!(
                "[[listeners]]\nbind = \"unix:{folder}/a.sock\"\n[[listeners]]\nbind = \"unix:{folder}/{other}\""
            ),
            "",
        ));
        assert_eq!(code, Code::Duplicate, "{other}");
        let is_told = message.contains("two listeners bind") || message.contains("are one socket");
        assert!(is_told, "{message}");
    }
    let others = format!(
        "[[listeners]]\nbind = \"unix:{folder}/a.sock\"\n[[listeners]]\nbind = \"unix:{folder}/b.sock\""
    );
    assert!(config_with(&others, "").is_ok());
}

#[test]
fn an_ipv4_address_in_the_form_of_ipv6_is_refused_with_the_right_form() {
    for section in ["[[listeners]]", "[admin]"] {
        let (_, message) = only(config_with(
            &format!("{section}\nbind = \"[::ffff:127.0.0.1]:8080\""),
            "",
        ));
        assert!(message.contains("write \"127.0.0.1:8080\""), "{message}");
    }
}

const ROUTE: &str = "[[routes]]\nname = \"a\"\nrespond = {}\n";
const HTTP: &str = "[[listeners]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n";

#[test]
fn routes_that_no_listener_serves_are_reported() {
    let redirecting = format!("{HTTP}redirect_https = true\n");
    let (line, code, said) = warned(&format!("{redirecting}{ROUTE}"));
    assert_eq!((line, code), (4, Code::NeverMatches));
    assert!(said.contains("no request reaches a route"), "{said}");
    fine(&redirecting);
    fine(&format!(
        "{redirecting}[[listeners]]\nbind = \"0.0.0.0:81\"\n{ROUTE}"
    ));
}

#[test]
fn a_redirect_to_a_port_without_tls_is_reported() {
    let to = |port: &str, more: &str| {
        format!(
            "{ROUTE}[[listeners]]\nbind = \"0.0.0.0:81\"\n{more}{HTTP}redirect_https = {port}\n"
        )
    };
    last_line(&to("80", ""), Code::Misleading, "its own port 80");
    last_line(
        &to("81", ""),
        Code::Misleading,
        "a listener speaks plain HTTP",
    );
    fine(&to("8443", ""));
    // A balancer may end TLS in front of it.
    fine(&to("true", "[[listeners]]\nbind = \"0.0.0.0:443\"\n"));
}

#[test]
fn a_route_for_challenges_beside_a_listener_that_redirects_is_reported() {
    let both = format!(
        "[[listeners]]\nname = \"b\"\nbind = \"0.0.0.0:81\"\n{HTTP}redirect_https = true\n"
    );
    let route = |matches: &str| format!("{both}{ROUTE}match = {{ {matches} }}\n");
    for path in [
        "path_prefix = \"/.well-known/acme-challenge/\"",
        "path = \"/.well-known/acme-challenge/{token}\"",
    ] {
        let says = "no challenge comes by `web`";
        last_line(&route(path), Code::Misleading, says);
        fine(&route(&format!("{path}, listeners = [\"b\"]")));
        fine(&format!("{HTTP}{ROUTE}match = {{ {path} }}\n"));
    }
    fine(&route("path_prefix = \"/.well-known\""));
}

#[test]
fn a_socket_in_a_folder_that_is_not_there_is_reported() {
    let listener = |path: &str| format!("{ROUTE}[[listeners]]\nbind = \"unix:{path}\"\n");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().display();
    fine(&listener(&format!("{folder}/a.sock")));
    let says = "/none does not exist";
    last_line(
        &listener(&format!("{folder}/none/a.sock")),
        Code::Misleading,
        says,
    );
    fs::write(format!("{folder}/none"), "").unwrap();
    for path in ["none/a.sock", "none/none/a.sock"] {
        last_line(
            &listener(&format!("{folder}/{path}")),
            Code::Misleading,
            says,
        );
    }
    // systemd makes these when the service starts.
    fine(&listener("/run/that-is-not-there/a.sock"));
}

#[test]
fn a_socket_in_a_folder_that_this_user_may_not_look_at_is_not_reported() {
    let above = tempfile::tempdir().unwrap();
    let path = above.path().join("folder/a.sock");
    let text = format!("{ROUTE}[[listeners]]\nbind = \"unix:{}\"\n", path.display());
    fs::set_permissions(&above, Permissions::from_mode(0o000)).unwrap();
    let as_an_ordinary_user = move || {
        let empty = CapabilitySet::empty();
        let none = CapabilitySets {
            effective: empty,
            permitted: empty,
            inheritable: empty,
        };
        // Those of this thread alone.
        set_capabilities(None, none).unwrap();
        assert!(path.try_exists().is_err());
        fine(&text);
    };
    let outcome = thread::spawn(as_an_ordinary_user).join();
    fs::set_permissions(&above, Permissions::from_mode(0o700)).unwrap();
    outcome.unwrap();
}

#[test]
fn networks_that_are_written_as_one_address_are_reported() {
    for key in ["clients", "not_clients"] {
        let route = |network: &str| format!("{ROUTE}match = {{ {key} = [\"{network}\"] }}\n");
        let says = "write \"10.0.0.0/8\" for the network, or \"10.0.0.1\"";
        last_line(&route("10.0.0.1/8"), Code::Misleading, says);
        last_line(
            &route("fd00::1/8"),
            Code::Misleading,
            "\"fd00::1\" for the address",
        );
        for sound in ["10.0.0.0/8", "10.0.0.1", "10.0.0.1/32", "fd00::/8"] {
            fine(&route(sound));
        }
    }
    let trusted = format!("{ROUTE}[client_ip]\ntrusted_proxies = [\"10.0.0.1/24\"]\n");
    last_line(&trusted, Code::Misleading, "the whole network 10.0.0.0/24");
    let none =
        format!("{ROUTE}match = {{ not_clients = [\"0.0.0.0/1\", \"128.0.0.0/1\", \"::/0\"] }}\n");
    last_line(&none, Code::NeverMatches, "`not_clients` has every address");
}
