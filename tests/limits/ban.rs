//! Bans: a key that is refused often is refused for a while, without a
//! decision.

use std::{io::Read as _, net::TcpStream};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    TIMEOUT, TRUST, decisions, one_limit, one_limit_text, status_for,
    support::{
        Client, Gate, Message, Upstream,
        gateway::{Gateway, responding, upstream_table},
        http2::Http2,
        ok,
    },
};

/// Three requests pass, the next two are refused and bring the ban.
const BAN: &str =
    "key = 'header:x-user'\nrate = '3/h'\nban = { refusals = 2, within = '1m', for = '10m' }";

/// The second request is refused, and brings the ban of the address.
const AT_CONNECTION: &str = "key = 'client-ip'\nrate = '1/h'\nban = { refusals = 1, within = '1m', for = '10m', at = 'connection' }";

fn ask(gateway: &Gateway, user: &str) -> Message {
    gateway.ask("GET", "/", &[&format!("X-User: {user}")])
}

/// Statuses of so many requests of this user.
#[track_caller]
fn statuses<const N: usize>(gateway: &Gateway, user: &str) -> [u16; N] {
    [(); N].map(|()| ask(gateway, user).status())
}

/// Sends the requests that bring a ban of this user.
#[track_caller]
fn ban(gateway: &Gateway, user: &str) {
    assert_eq!(statuses(gateway, user), [200, 200, 200, 429, 429]);
}

/// The response of the admin listener to a call under `/limits/l`.
#[track_caller]
fn admin(gateway: &Gateway, method: &str, path: &str) -> Value {
    let response = gateway.call_admin(method, &format!("/limits/l/{path}"), &[]);
    assert_eq!(response.status(), 200, "{}", response.text());
    serde_json::from_slice(&response.body).unwrap()
}

fn bans(gateway: &Gateway, event: &str) -> f64 {
    let labels = [("limit", "l"), ("event", event)];
    gateway.metric("tidegate_limit_bans_total", &labels)
}

fn banned_keys(gateway: &Gateway) -> f64 {
    gateway.metric("tidegate_limit_banned_keys", &[("limit", "l")])
}

/// Whether a new connection is closed before its request is answered.
#[track_caller]
fn is_closed(gateway: &Gateway) -> bool {
    let mut client = TcpStream::connect(gateway.address()).unwrap();
    client.set_read_timeout(Some(TIMEOUT)).unwrap();
    let _ = std::io::Write::write_all(
        &mut client,
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    let mut response = Vec::new();
    let _ = client.read_to_end(&mut response);
    response.is_empty()
}

#[test]
fn a_key_that_is_refused_often_is_banned_alone_and_told_for_how_long() {
    let gateway = one_limit(BAN, "");
    ban(&gateway, "bad");
    let banned = ask(&gateway, "bad");
    assert_eq!(banned.status(), 429);
    let rest: u64 = banned.get("retry-after").unwrap().parse().unwrap();
    assert!((590..=600).contains(&rest), "{rest}");
    assert_eq!(banned.problem()["violated-policies"], json!(["l"]));
    assert_eq!(
        (banned.get("ratelimit-policy"), banned.get("ratelimit")),
        (
            Some("\"l\";q=3;w=3600"),
            Some(&*format!("\"l\";r=0;t={rest}"))
        )
    );
    assert_eq!(ask(&gateway, "good").status(), 200);
    assert_eq!(decisions(&gateway, "l", "refused"), 3.0);
    let event = |event| bans(&gateway, event);
    assert_eq!(
        (event("begun"), event("refused"), event("untracked")),
        (1.0, 1.0, 0.0)
    );
    assert_eq!(banned_keys(&gateway), 1.0);
}

#[test]
fn the_line_of_a_banned_request_has_the_reason_the_limit_and_the_same_key_as_before() {
    let gateway = one_limit(BAN, "");
    ban(&gateway, "bad");
    ask(&gateway, "bad");
    let lines = [(); 6].map(|()| gateway.line_of("/"));
    let with = |reason| lines.iter().find(|line| line["reason"] == reason).unwrap();
    let (refused, banned) = (with("rate_limited"), with("banned"));
    assert_eq!(
        (&banned["limit"], &banned["remaining"]),
        (&json!("l"), &json!(0))
    );
    assert!(banned["key"].is_string() && banned["key"] == refused["key"]);
    let labels = [("route", "r"), ("reason", "banned")];
    assert_eq!(gateway.metric("tidegate_refusals_total", &labels), 1.0);
}

#[test]
fn a_ban_is_logged_with_the_limit_and_how_many_keys_it_concerns() {
    let gateway = one_limit(BAN, "");
    ban(&gateway, "bad");
    ban(&gateway, "worse");
    let mut begun = 0;
    while begun < 2 {
        let line = gateway.logged("keys are banned");
        assert_eq!(line["limit"], "l");
        begun += line["begun"].as_u64().unwrap();
    }
    assert_eq!(begun, 2);
}

#[test]
fn a_ban_is_shown_and_lifted_and_outlives_a_reload_with_other_numbers() {
    let gateway = Gateway::start(&one_limit_text(BAN, ""));
    ban(&gateway, "bad");
    let until = |view: &Value| view["banned_until"].as_str().map(str::to_owned);
    let before = until(&admin(&gateway, "GET", "keys?key=bad"));
    assert!(before.is_some());
    let other = BAN.replace("3/h", "4/h").replace("= 2", "= 9");
    gateway.reload_with(&one_limit_text(&other, ""));
    let after = until(&admin(&gateway, "GET", "keys?key=bad"));
    assert!(after.is_some());
    assert_eq!(ask(&gateway, "bad").status(), 429);
    let lifted = admin(&gateway, "DELETE", "keys?key=bad");
    assert!(lifted.get("banned_until").is_none(), "{lifted}");
    assert_eq!(ask(&gateway, "bad").status(), 200);
    assert_eq!(banned_keys(&gateway), 0.0);
}

#[test]
fn all_that_are_banned_are_listed_and_found_by_their_hash() {
    let gateway = one_limit(BAN, "");
    for user in ["bad", "worse"] {
        ban(&gateway, user);
    }
    ask(&gateway, "good");
    let listed = admin(&gateway, "GET", "top?banned=true");
    let keys: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["key"])
        .collect();
    assert_eq!(keys, [&json!(["worse"]), &json!(["bad"])]);
    assert!(listed[0]["banned_until"].is_string());
    assert_eq!(
        admin(&gateway, "GET", "top?banned=true&n=1")
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let heaviest = admin(&gateway, "GET", "top");
    assert_eq!(heaviest.as_array().unwrap().len(), 3);
    let hash = listed[0]["hash"].as_str().unwrap();
    let lifted = admin(&gateway, "DELETE", &format!("keys?hash={hash}"));
    assert_eq!(lifted["key"], json!(["worse"]));
    assert_eq!(ask(&gateway, "worse").status(), 200);
    assert_eq!(ask(&gateway, "bad").status(), 429);
}

#[test]
fn a_limit_that_loses_its_ban_bans_nobody() {
    let gateway = Gateway::start(&one_limit_text(BAN, ""));
    ban(&gateway, "bad");
    let without = "key = 'header:x-user'\nrate = '1000000/s'";
    gateway.reload_with(&one_limit_text(without, ""));
    let end = Instant::now() + TIMEOUT;
    while ask(&gateway, "bad").status() != 200 {
        assert!(Instant::now() < end, "the key is still banned");
    }
}

#[test]
fn a_limit_in_shadow_mode_counts_bans_and_bans_nobody() {
    let shadow = format!("{BAN}\nmode = 'shadow'");
    let gateway = Gateway::start(&one_limit_text(&shadow, ""));
    assert_eq!(statuses(&gateway, "bad"), [200; 9]);
    assert_eq!((bans(&gateway, "begun"), banned_keys(&gateway)), (3.0, 0.0));
    // Its counts have refused nobody.
    gateway.reload_with(&one_limit_text(&BAN.replace("= 2", "= 1"), ""));
    assert_eq!(statuses(&gateway, "bad"), [429, 429]);
    gateway.reload_with(&one_limit_text(&shadow, ""));
    assert_eq!(statuses(&gateway, "bad"), [200, 200]);
}

#[test]
fn a_candidate_bans_nobody() {
    let limit = "key = 'header:x-user'\nrate = '100/h'\ncandidate = { rate = '1/h' }\nban = { refusals = 1, within = '1m', for = '10m' }";
    let gateway = one_limit(limit, "");
    assert_eq!(statuses(&gateway, "a"), [200; 5]);
    assert_eq!(decisions(&gateway, "l", "candidate_refused"), 4.0);
    assert_eq!(bans(&gateway, "begun"), 0.0);
}

#[test]
fn a_tier_that_refuses_bans_no_single_client() {
    let limit = "key = 'client-ip'\nrate = '100/h'\ntiers = [{ prefix4 = 24, rate = '2/h' }]\nban = { refusals = 1, within = '1m', for = '10m' }";
    let gateway = one_limit(limit, TRUST);
    let ask = |client| status_for(&gateway, client);
    assert_eq!(
        ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(ask),
        [200, 200, 429]
    );
    assert_eq!(bans(&gateway, "begun"), 0.0);
}

#[test]
fn a_banned_request_takes_nothing_from_the_other_limits_of_its_route() {
    let limits = format!(
        "[limits.all]\nrate = '100/h'\n[limits.l]\n{BAN}\n{}",
        responding("r", "limits = ['all', 'l']")
    );
    let gateway = Gateway::start(&limits);
    ban(&gateway, "bad");
    assert_eq!(statuses(&gateway, "bad"), [429; 4]);
    let told = ask(&gateway, "good");
    assert_eq!(
        (told.status(), decisions(&gateway, "all", "allowed")),
        (200, 4.0)
    );
    assert_eq!(decisions(&gateway, "all", "refused"), 0.0);
}

#[test]
fn of_several_limits_the_first_that_lacks_its_key_or_bans_it_says_why() {
    let text = |names: &str| {
        format!(
            "[limits.needs]\nkey = 'header:x-key'\nrate = '100/h'\nmissing = 'refuse'\nstatus = 403\n[limits.l]\n{BAN}\n{}",
            responding("r", &format!("limits = {names}"))
        )
    };
    let gateway = Gateway::start(&text("['needs', 'l']"));
    let with_key = || {
        let lines = ["X-User: bad", "X-Key: k"];
        gateway.ask("GET", "/", &lines).status()
    };
    assert_eq!([(); 5].map(|()| with_key()), [200, 200, 200, 429, 429]);
    assert_eq!(ask(&gateway, "bad").status(), 403);
    gateway.reload_with(&text("['l', 'needs']"));
    assert_eq!(ask(&gateway, "bad").status(), 429);
    // Requests without the key are refused, and nobody is banned for them.
    assert_eq!([(); 3].map(|()| ask(&gateway, "good").status()), [403; 3]);
    assert_eq!(bans(&gateway, "begun"), 1.0);
}

#[test]
fn keys_with_numbers_of_their_own_are_banned_by_these_and_unlimited_ones_never() {
    let overrides = |bad: &str| format!("{BAN}\noverrides = [{{ match = 'bad', rate = '{bad}' }}]");
    let gateway = Gateway::start(&one_limit_text(&overrides("1/h"), ""));
    assert_eq!(statuses(&gateway, "bad"), [200, 429, 429]);
    assert_eq!(
        (bans(&gateway, "begun"), ask(&gateway, "bad").status()),
        (1.0, 429)
    );
    // A ban from before does not hold for a key without a bound.
    gateway.reload_with(&one_limit_text(&overrides("unlimited"), ""));
    assert_eq!(statuses(&gateway, "bad"), [200; 5]);
    gateway.reload_with(&one_limit_text(&overrides("9/h"), ""));
    assert_eq!(ask(&gateway, "bad").status(), 429, "its time is not over");
}

#[test]
fn a_ban_holds_while_an_operator_gives_the_key_other_numbers() {
    let gateway = one_limit(BAN, "");
    ban(&gateway, "bad");
    let put = Client::connect(gateway.admin()).exchange(
        "PUT /limits/l/keys?key=bad HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30\r\n\r\n{\"rate\": \"50/s\", \"ttl\": \"10m\"}",
    );
    assert_eq!(put.status(), 200, "{}", put.text());
    assert_eq!(ask(&gateway, "bad").status(), 429);
    admin(&gateway, "DELETE", "keys?key=bad");
    assert_eq!(ask(&gateway, "bad").status(), 200);
}

#[test]
fn requests_without_the_key_are_banned_by_the_address_that_stands_in_for_it() {
    let limit = format!("{BAN}\nmissing = {{ key = 'client-ip', rate = '1/h' }}");
    let gateway = one_limit(&limit, "");
    assert_eq!([(); 4].map(|()| gateway.status("/")), [200, 429, 429, 429]);
    assert_eq!(banned_keys(&gateway), 1.0);
    assert_eq!(ask(&gateway, "good").status(), 200);
    let listed = admin(&gateway, "GET", "top?banned=true");
    assert_eq!(
        (&listed[0]["key"], &listed[0]["missing"]),
        (&json!(["127.0.0.1"]), &json!([0]))
    );
}

#[test]
fn a_cap_for_each_key_bans_and_a_permit_that_comes_back_does_not_end_it() {
    let rest = Gate::new();
    let gate = rest.clone();
    let upstream = Upstream::answering(move |request| {
        if request.target() == "/slow" {
            gate.pass();
        }
        ok("")
    });
    let cap = BAN.replace("rate = '3/h'", "in_flight = 1");
    let gateway = Gateway::start(&format!(
        "[limits.l]\n{cap}\n{}[[routes]]\nname = 'r'\nupstream = 'u'\nlimits = ['l']\n",
        upstream_table("u", &[&upstream], "")
    ));
    let mut slow = gateway.sent("/slow", &["X-User: bad"]);
    gateway.await_metric("tidegate_limit_in_flight", &[("limit", "l")], 1.0);
    assert_eq!(statuses(&gateway, "bad"), [429, 429]);
    rest.open();
    assert_eq!(slow.response().status(), 200);
    let banned = ask(&gateway, "bad");
    assert_eq!(
        (banned.status(), banned.get("ratelimit")),
        (429, Some("\"l\";r=0"))
    );
    let rest: u64 = banned.get("retry-after").unwrap().parse().unwrap();
    assert!(rest > 500, "{rest}");
    assert_eq!(ask(&gateway, "good").status(), 200);
    admin(&gateway, "DELETE", "keys?key=bad");
    assert_eq!(ask(&gateway, "bad").status(), 200);
}

#[test]
fn a_debt_leads_to_a_ban_and_does_not_grow_during_it() {
    let upstream = Upstream::answering(|_| {
        "HTTP/1.1 200 OK\r\nx-cost: 50\r\ncontent-length: 0\r\n\r\n".to_owned()
    });
    let costs = format!(
        "{BAN}\nburst = 10\ncost = {{ from = 'response-header:x-cost', reserve = 1, max = 100 }}"
    );
    let gateway = Gateway::start(&format!(
        "[limits.l]\n{costs}\n{}[[routes]]\nname = 'r'\nupstream = 'u'\nlimits = ['l']\n",
        upstream_table("u", &[&upstream], "")
    ));
    assert_eq!(statuses(&gateway, "bad"), [200, 429, 429]);
    let owed = || admin(&gateway, "GET", "keys?key=bad")["owed"].clone();
    let before = owed();
    assert_eq!(statuses(&gateway, "bad"), [429; 5]);
    assert_eq!((owed(), bans(&gateway, "refused")), (before, 5.0));
}

#[test]
fn a_route_that_tells_of_limits_tells_of_the_ban() {
    let quota =
        "[[routes]]\nname = 'quota'\nmatch = { path = '/quota' }\nquota = true\nlimits = ['l']\n";
    let gateway = Gateway::start(&format!("{}{quota}", one_limit_text(BAN, "")));
    ban(&gateway, "bad");
    let told = gateway.ask("GET", "/quota", &["X-User: bad"]);
    let body: Value = serde_json::from_slice(&told.body).unwrap();
    let row = &body["limits"][0];
    assert_eq!(
        (&row["reason"], &row["limit"], &row["remaining"]),
        (&json!("banned"), &json!(3), &json!(0))
    );
    assert!(
        (590..=600).contains(&row["reset"].as_u64().unwrap()),
        "{row}"
    );
    let good = gateway.ask("GET", "/quota", &["X-User: good"]);
    assert!(!good.text().contains("banned"));
}

#[test]
fn a_call_of_a_banned_key_is_told_that_its_resources_are_exhausted() {
    let none = BAN.replace("3/h", "0/s");
    let gateway = Gateway::start(&format!(
        "[limits.l]\n{none}\n[upstreams.u]\nservers = ['http://127.0.0.1:1']\nprotocol = 'http2'\n\
         [[routes]]\nname = 'r'\nupstream = 'u'\nlimits = ['l']\n"
    ));
    assert_eq!(statuses(&gateway, "bad"), [429, 429]);
    let fields = [("x-user", "bad"), ("content-type", "application/grpc")];
    let response = Http2::connect(gateway.address()).post("/a.B/C", &fields, b"");
    assert_eq!(
        (response.status.as_u16(), response.get("grpc-status")),
        (200, "8")
    );
}

#[test]
fn connections_of_a_banned_address_are_closed_and_open_ones_end_with_a_refusal() {
    let gateway = one_limit(AT_CONNECTION, "");
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut open = gateway.connect();
    let mut other = gateway.connect();
    gateway.await_metric("tidegate_connections", &[], 2.0);
    let statuses = [(); 2].map(|()| open.exchange(request).status());
    assert_eq!(statuses, [200, 429]);
    assert!(is_closed(&gateway) && is_closed(&gateway));
    for client in [&mut open, &mut other] {
        let banned = client.exchange(request);
        assert_eq!(
            (banned.status(), banned.get("connection")),
            (429, Some("close"))
        );
        assert!(client.head().is_err(), "it is over");
    }
    let closed = [("reason", "banned")];
    let closed = gateway.metric("tidegate_connections_closed_total", &closed);
    assert_eq!(closed, 2.0);
    let listed = admin(&gateway, "GET", "top?banned=true");
    assert_eq!(listed[0]["key"], json!(["127.0.0.1"]));
    admin(&gateway, "DELETE", "keys?key=127.0.0.1");
    assert_eq!(gateway.status("/"), 200);
}

#[test]
fn a_banned_client_of_http2_gets_its_responses_and_the_end_of_its_connection() {
    let gateway = one_limit(AT_CONNECTION, "");
    let mut client = Http2::connect(gateway.address());
    let statuses = [(); 3].map(|()| client.get("/").status.as_u16());
    assert_eq!(statuses, [200, 429, 429]);
    assert_eq!(gateway.line_of("/")["status"], 200);
    client.closed().unwrap();
}

#[test]
fn a_reload_decides_whether_connections_of_banned_addresses_are_closed() {
    let gateway = Gateway::start(&one_limit_text(AT_CONNECTION, ""));
    assert_eq!([gateway.status("/"), gateway.status("/")], [200, 429]);
    assert!(is_closed(&gateway));
    let at_request = AT_CONNECTION.replace("'connection'", "'request'");
    gateway.reload_with(&one_limit_text(&at_request, ""));
    assert_eq!(gateway.status("/"), 429);
    let free = "\noverrides = [{ match = '127.0.0.0/8', rate = 'unlimited' }]";
    gateway.reload_with(&one_limit_text(&format!("{AT_CONNECTION}{free}"), ""));
    assert_eq!(gateway.status("/"), 200);
    gateway.reload_with(&one_limit_text(AT_CONNECTION, ""));
    assert!(is_closed(&gateway));
}

#[test]
fn a_trusted_proxy_is_never_closed_for_its_clients() {
    let gateway = one_limit(AT_CONNECTION, TRUST);
    let mut open = gateway.connect();
    let mut ask = |client: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\n\r\n");
        open.exchange(request).status()
    };
    for expected in [200, 429, 429, 429] {
        assert_eq!(ask("192.0.2.1"), expected);
    }
    assert_eq!(ask("192.0.2.2"), 200);
    assert_eq!(status_for(&gateway, "192.0.2.3"), 200);
}

#[test]
fn behind_the_proxy_protocol_the_address_that_it_names_is_banned() {
    let listener = "[[listeners]]\nbind = '127.0.0.1:0'\nproxy_protocol = 'required'\n";
    let gateway = Gateway::start(&format!("{listener}{}", one_limit_text(AT_CONNECTION, "")));
    let ask = |client: &str| {
        let mut connection = gateway.connect();
        connection.send(format!(
            "PROXY TCP4 {client} 127.0.0.1 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"
        ));
        connection.head().ok().map(|head| head.status())
    };
    assert_eq!([ask("192.0.2.1"), ask("192.0.2.1")], [Some(200), Some(429)]);
    assert_eq!([ask("192.0.2.1"), ask("192.0.2.2")], [None, Some(200)]);
}
