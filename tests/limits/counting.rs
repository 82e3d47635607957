//! Limits that count answers.

use super::{
    TRUST, decisions,
    support::{
        Gate, Upstream,
        policies::{Closed, Running, request, upstream_table},
    },
};

/// Says 401 to whoever knocks at `/wrong`, 500 at `/broken`, and 200 to all others.
fn door() -> Upstream {
    Upstream::answering(|request| {
        let status = match request.target() {
            "/wrong" => "401 Unauthorized",
            "/broken" => "500 Oops",
            _ => "200 OK",
        };
        format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")
    })
}

fn text(upstream: &Upstream, limit: &str) -> String {
    let upstream = upstream_table("u", &[upstream], "");
    format!("{TRUST}\n[limits.l]\n{limit}\n{upstream}[[routes]]\nname = 'r'\nupstream = 'u'\nlimits = ['l']\n")
}

const FIVE: &str = "key = 'client-ip'\nrate = '5/h'\ncount = ['401']";

#[test]
fn wrong_answers_are_counted_and_right_ones_never() {
    let door = door();
    let gateway = Running::start(&text(&door, FIVE));
    let ask = |path: &str| gateway.status(path);
    assert!((0..20).all(|_| ask("/right") == 200));
    assert!((0..3).all(|_| ask("/wrong") == 401 && ask("/broken") == 500));
    assert_eq!([ask("/wrong"), ask("/right"), ask("/wrong")], [401, 200, 401]);
    assert_eq!([ask("/wrong"), ask("/right")], [429, 429], "five were wrong: nothing is let through any more");
    assert_eq!(gateway.ask("GET", "/wrong", &["X-Forwarded-For: 192.0.2.1"]).status(), 401, "somebody else");
}

#[test]
fn a_class_of_statuses_is_counted() {
    let door = door();
    let gateway = Running::start(&text(&door, "rate = '3/h'\ncount = ['401', '5xx']"));
    let statuses = ["/broken", "/wrong", "/right", "/broken", "/right"].map(|path| gateway.status(path));
    assert_eq!(statuses, [500, 401, 200, 500, 429]);
}

#[test]
fn thirty_guesses_at_once_are_all_charged_and_the_key_waits() {
    let (entered, leave) = (Gate::new(), Gate::new());
    let (entering, leaving) = (entered.clone(), leave.clone());
    let door = Upstream::answering(move |_| {
        entering.open();
        leaving.pass();
        "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n".to_owned()
    });
    let gateway = Running::start(&text(&door, FIVE));
    let mut clients: Vec<_> = (0..30).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.send(request("GET", "/", &[]));
        entered.pass();
    }
    (0..30).for_each(|_| leave.open());
    assert!(clients.iter_mut().all(|client| client.response().status() == 401), "all were let through, none known yet");
    let refused = gateway.get("/");
    let wait: u64 = refused.get("retry-after").unwrap().parse().unwrap();
    // 25 are owed and one is needed, at 720 s each, less what has passed since.
    assert_eq!(refused.status(), 429);
    assert!((26 * 720 - 60..=26 * 720).contains(&wait), "{wait}");
    assert_eq!(decisions(&gateway, "l", "allowed"), 30.0);
}

#[test]
fn what_the_gateway_says_itself_is_not_counted() {
    let nobody = Closed::new();
    let text = format!(
        "[limits.l]\nrate = '2/h'\ncount = ['5xx']\n[upstreams.u]\nservers = ['{}']\n\
         [[routes]]\nname = 'r'\nupstream = 'u'\nlimits = ['l']\n",
        nobody.url()
    );
    let gateway = Running::start(&text);
    assert!((0..10).all(|_| gateway.status("/") == 502));
    assert_eq!(gateway.metric("tidegate_limit_keys", &[("limit", "l")]), 0.0);
}

#[test]
fn what_a_route_answers_by_itself_is_counted() {
    let text = "[limits.l]\nrate = '2/h'\ncount = ['403']\n[[routes]]\nname = 'r'\nrespond = { status = 403 }\nlimits = ['l']\n";
    let gateway = Running::start(text);
    assert_eq!([(); 3].map(|()| gateway.status("/")), [403, 403, 429]);
}

#[test]
fn an_access_line_tells_what_is_left_after_the_answer_was_counted() {
    let door = door();
    let gateway = Running::start(&text(&door, FIVE));
    for (path, remaining) in [("/right", 5), ("/wrong", 4), ("/right", 4)] {
        gateway.get(path);
        let line = gateway.access_line();
        assert_eq!((&line["limit"], &line["remaining"]), (&"l".into(), &remaining.into()), "{line}");
    }
}

#[test]
fn a_limit_that_counts_refuses_together_with_those_that_take() {
    let door = door();
    let limits = "key = 'client-ip'\nrate = '2/h'\ncount = ['401']\n[limits.all]\nrate = '4/h'";
    let text = text(&door, limits).replace("limits = ['l']", "limits = ['all', 'l']");
    let gateway = Running::start(&text);
    assert_eq!(["/wrong", "/wrong"].map(|path| gateway.status(path)), [401, 401]);
    for _ in 0..5 {
        let refused = gateway.get("/right").problem();
        assert_eq!(refused["violated-policies"], serde_json::json!(["l"]), "and takes nothing from the other");
    }
    let ask = || gateway.ask("GET", "/right", &["X-Forwarded-For: 192.0.2.1"]).status();
    assert_eq!([ask(), ask(), ask()], [200, 200, 429]);
    let both = gateway.get("/right").problem();
    assert_eq!(both["violated-policies"], serde_json::json!(["all", "l"]));
}

#[test]
fn tiers_count_the_same_answers() {
    let door = door();
    let limit = "key = 'client-ip'\nrate = '3/h'\ncount = ['401']\ntiers = [{ prefix = 56, rate = '5/h' }]";
    let gateway = Running::start(&text(&door, limit));
    let guess =
        |network: u8| gateway.ask("GET", "/wrong", &[&format!("X-Forwarded-For: 2001:db8:0:{network:x}::1")]).status();
    assert_eq!((0..8).filter(|network| guess(*network) == 401).count(), 5);
}
