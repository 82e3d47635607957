//! Servers that SRV records name.

use serde_json::Value;

use super::{
    ONCE,
    support::{Gateway, Upstream, dns::NameServer, gateway::Start, ok},
};

const NAME: &str = "_api._tcp.example.test.";

/// A gateway with the servers of these records.
fn gateway(names: &NameServer) -> Gateway {
    let servers = "servers = ['srv+http://_api._tcp.example.test']";
    let text = format!("[upstreams.app]\n{servers}\nbalance = 'round-robin'\n{ONCE}");
    Start::new(&text).name_server(names.address()).go()
}

/// The upstream in `/upstreams`.
fn upstream(gateway: &Gateway) -> Value {
    let text = gateway.call_admin("GET", "/upstreams", &[]).text();
    serde_json::from_str::<Value>(&text).unwrap()[0].take()
}

/// Waits until the upstream has so many servers.
fn await_servers(gateway: &Gateway, count: usize) -> Value {
    loop {
        let view = upstream(gateway);
        if view["servers"].as_array().unwrap().len() == count {
            return view;
        }
        std::thread::yield_now();
    }
}

fn answering(text: &'static str) -> (Upstream, u16) {
    let upstream = Upstream::answering(move |_| ok(text));
    let port = upstream.address().port();
    (upstream, port)
}

#[test]
fn servers_appear_and_disappear_as_records_say_and_stay_while_the_name_server_is_away() {
    let names = NameServer::start();
    let [(_a, a), (_b, b), (_c, c)] = ["a", "b", "c"].map(answering);
    names.set_address("one.test.", [127, 0, 0, 1]);
    names.set_services(NAME, &[(1, 1, a, "one.test."), (2, 1, c, "one.test.")]);
    let gateway = gateway(&names);
    let texts = |count| {
        (0..count)
            .map(|_| gateway.get("/").text())
            .collect::<Vec<_>>()
    };
    assert_eq!(texts(4), ["a"; 4], "from the first request on");
    let view = await_servers(&gateway, 2);
    let shown = |place: usize| {
        let server = &view["servers"][place];
        (server["url"].clone(), server["backup"].clone())
    };
    assert_eq!(
        shown(0),
        (format!("http://one.test:{a}").into(), false.into())
    );
    assert_eq!(
        shown(1),
        (format!("http://one.test:{c}").into(), true.into())
    );
    assert_eq!(view["srv"][0]["servers"], 2);
    let weighted = [
        (1, 2, a, "one.test."),
        (1, 1, b, "one.test."),
        (2, 1, c, "one.test."),
    ];
    names.set_services(NAME, &weighted);
    await_servers(&gateway, 3);
    let both = texts(30);
    let of_a = both.iter().filter(|text| *text == "a").count();
    assert!(of_a == 20 && !both.contains(&"c".to_owned()), "{both:?}");
    names.set_services(NAME, &[(1, 0, b, "one.test.")]);
    await_servers(&gateway, 1);
    assert_eq!(texts(4), ["b"; 4]);
    names.leave();
    gateway.logged("SRV records not found; trying again");
    assert!(upstream(&gateway)["srv"][0]["fault"].is_string());
    assert_eq!(texts(4), ["b"; 4]);
    gateway.reload_with(&format!(
        "{}\n",
        std::fs::read_to_string(gateway.file())
            .unwrap()
            .replace("round-robin", "least-requests")
    ));
    assert_eq!(texts(4), ["b"; 4], "a reload keeps what was found");
}

#[test]
fn a_service_that_is_said_not_to_be_available_has_no_servers() {
    let names = NameServer::start();
    names.set_services(NAME, &[(0, 0, 0, ".")]);
    let gateway = gateway(&names);
    assert_eq!(gateway.status("/"), 503);
    assert_eq!(gateway.line_of("/")["reason"], "no_healthy_server");
    assert_eq!(upstream(&gateway)["servers"], Value::Array(Vec::new()));
}

#[test]
fn a_server_that_stays_keeps_its_health_when_others_come() {
    let names = NameServer::start();
    let [(_a, a), (_b, b)] = ["a", "b"].map(answering);
    let closed = 9;
    names.set_address("one.test.", [127, 0, 0, 1]);
    names.set_services(NAME, &[(1, 1, a, "one.test."), (1, 1, closed, "one.test.")]);
    let gateway = gateway(&names);
    while await_servers(&gateway, 2)["servers"][0]["state"] != "ejected"
        && await_servers(&gateway, 2)["servers"][1]["state"] != "ejected"
    {
        gateway.status("/");
    }
    names.set_services(
        NAME,
        &[
            (1, 1, a, "one.test."),
            (1, 1, closed, "one.test."),
            (1, 1, b, "one.test."),
        ],
    );
    let view = await_servers(&gateway, 3);
    let servers = view["servers"].as_array().unwrap();
    let states: Vec<_> = servers
        .iter()
        .filter(|server| server["state"] == "ejected")
        .collect();
    assert_eq!(states.len(), 1);
    assert_eq!(states[0]["url"], format!("http://one.test:{closed}"));
}
