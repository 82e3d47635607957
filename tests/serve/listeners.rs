//! Listeners: their names.

use crate::support::{
    Client, Gateway,
    gateway::{request, responding},
    redis::free_port,
};

/// Two listeners on ports of the system's choice.
fn two(first: &str, second: &str) -> String {
    let listener = |keys| format!("[[listeners]]\nbind = '127.0.0.1:0'\n{keys}\n");
    listener(first) + &listener(second) + &responding("r", "")
}

#[test]
fn access_lines_and_metrics_name_the_listener() {
    let gateway = Gateway::start(&two("name = 'web'", "name = 'other'"));
    let [web, other] = gateway.addresses() else {
        panic!("two listeners")
    };
    for (at, name) in [(web, "web"), (other, "other")] {
        let mut client = Client::connect(*at);
        assert_eq!(client.exchange(request("GET", "/", &[])).status(), 200);
        assert_eq!(gateway.access_line()["listener"], name);
        assert_eq!(
            gateway.metric("tidegate_connections", &[("listener", name)]),
            1.0
        );
    }
}

#[test]
fn a_listener_that_a_reload_renames_stays_open() {
    let port = free_port();
    let named = |name: &str| {
        let listener = format!("[[listeners]]\nname = '{name}'\nbind = '127.0.0.1:{port}'\n");
        listener + &responding("r", "")
    };
    let gateway = Gateway::start(&named("web"));
    let mut open = gateway.connect();
    assert_eq!(open.exchange(request("GET", "/", &[])).status(), 200);
    assert_eq!(gateway.access_line()["listener"], "web");
    gateway.reload_with(&named("renamed"));
    let mut new = gateway.connect();
    for (client, name) in [(&mut open, "web"), (&mut new, "renamed")] {
        assert_eq!(client.exchange(request("GET", "/", &[])).status(), 200);
        assert_eq!(gateway.access_line()["listener"], name);
    }
    assert_eq!(
        gateway.metric("tidegate_connections", &[("listener", "renamed")]),
        2.0
    );
    assert_eq!(
        gateway.metric("tidegate_connections", &[("listener", "web")]),
        0.0
    );
}
