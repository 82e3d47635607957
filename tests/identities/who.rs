//! Each request gets an identity, and limits and routes follow it.

use super::{
    gateway, new_key, route_to,
    support::{TIMEOUT, Upstream, gateway::responding},
};

#[test]
fn the_first_identity_whose_credentials_are_there_decides() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("1.toml"), folder.path().join("2.toml"));
    let (first, second) = (new_key(&one, "a", &[]), new_key(&two, "b", &[]));
    let more = format!(
        "[identities.others]\napi_keys = {:?}\nfrom = 'header:x-other'\n{}",
        two.display(),
        responding("r", "identify = ['partners', 'others']")
    );
    let gateway = gateway(&one, "", &more);
    let ask = |lines: &[&str]| {
        let status = gateway.ask("GET", "/", lines).status();
        (status, gateway.access_line()["identity"].clone())
    };
    let (good, other) = (format!("X-Api-Key: {first}"), format!("X-Other: {second}"));
    assert_eq!(ask(&[&good]), (200, "partners".into()));
    assert_eq!(ask(&[&other]), (200, "others".into()));
    assert_eq!(ask(&[&other, &good]), (200, "partners".into()));
    // A refusal says whose credentials were wrong.
    let wrong = "X-Api-Key: wrong";
    assert_eq!(ask(&[&other, wrong]), (401, "partners".into()));
    assert_eq!(ask(&["X-Other: wrong"]), (401, "others".into()));
    assert_eq!(ask(&[]), (401, serde_json::Value::Null));
}

#[test]
fn two_credentials_that_differ_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let (a, b) = (new_key(&file, "a", &[]), new_key(&file, "b", &[]));
    let gateway = gateway(&file, "", &responding("r", "identify = ['partners']"));
    let (a, b) = (format!("X-Api-Key: {a}"), format!("X-Api-Key: {b}"));
    assert_eq!(gateway.ask("GET", "/", &[&a, &a]).status(), 200);
    assert_eq!(gateway.ask("GET", "/", &[&a, &b]).status(), 401);
}

#[test]
fn limits_count_by_identity_plan_and_claims() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let key = |name: &str, plan: &str, org: &str| {
        let claim = format!("org={org}");
        let key = new_key(&file, name, &["--plan", plan, "--claim", &claim]);
        format!("X-Api-Key: {key}")
    };
    let keys = [
        key("a", "gold", "x"),
        key("b", "gold", "y"),
        key("c", "tin", "x"),
    ];
    for (part, admitted) in [("identity", 3), ("plan", 2), ("claim:org", 2)] {
        let more = format!(
            "[limits.l]\nkey = '{part}'\nrate = '1/h'\n{}",
            responding("r", "identify = ['partners']\nlimits = ['l']")
        );
        let gateway = gateway(&file, "", &more);
        let statuses = || {
            keys.iter()
                .map(|key| gateway.ask("GET", "/", &[key]).status())
        };
        assert_eq!(
            statuses().filter(|status| *status == 200).count(),
            admitted,
            "{part}"
        );
        assert_eq!(
            statuses().filter(|status| *status == 429).count(),
            3,
            "{part}"
        );
    }
}

#[test]
fn ids_of_two_identities_never_share_a_bucket() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("1.toml"), folder.path().join("2.toml"));
    let (first, second) = (new_key(&one, "acme", &[]), new_key(&two, "acme", &[]));
    let more = format!(
        "[identities.others]\napi_keys = {:?}\nfrom = 'header:x-other'\n[limits.l]\nkey = 'identity'\nrate = '1/h'\n{}",
        two.display(),
        responding("r", "identify = ['partners', 'others']\nlimits = ['l']")
    );
    let gateway = gateway(&one, "", &more);
    assert_eq!(
        gateway
            .ask("GET", "/", &[&format!("X-Api-Key: {first}")])
            .status(),
        200
    );
    assert_eq!(
        gateway
            .ask("GET", "/", &[&format!("X-Other: {second}")])
            .status(),
        200
    );
    assert_eq!(
        gateway
            .ask("GET", "/", &[&format!("X-Other: {second}")])
            .status(),
        429
    );
}

#[test]
fn without_an_identity_a_part_is_missing_like_a_header() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let key = format!("X-Api-Key: {}", new_key(&file, "a", &[]));
    let more = format!(
        "[limits.l]\nkey = 'identity'\nrate = '2/h'\nmissing = {{ key = 'client-ip', rate = '1/h' }}\n{}",
        responding(
            "r",
            "identify = ['partners']\nanonymous = 'pass'\nlimits = ['l']"
        )
    );
    let gateway = gateway(&file, "", &more);
    let statuses = |lines: &[&str]| [(); 3].map(|()| gateway.ask("GET", "/", lines).status());
    assert_eq!(statuses(&[]), [200, 429, 429]);
    assert_eq!(statuses(&[&key]), [200, 200, 429]);
}

#[test]
fn a_client_without_a_required_claim_is_403() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let scoped = |name: &str, scope: &str| {
        let key = new_key(&file, name, &["--claim", &format!("scope={scope}")]);
        format!("X-Api-Key: {key}")
    };
    let (writer, reader) = (
        scoped("w", "orders:read orders:write"),
        scoped("r", "orders:read"),
    );
    let nobody = format!("X-Api-Key: {}", new_key(&file, "n", &[]));
    let require = "identify = ['partners']\nrequire = { scope = ['orders:write', 'admin'] }";
    let gateway = gateway(&file, "", &responding("r", require));
    assert_eq!(gateway.ask("GET", "/", &[&writer]).status(), 200);
    assert_eq!(gateway.access_line()["status"], 200);
    for line in [&reader, &nobody] {
        let refused = gateway.ask("GET", "/", &[line]);
        assert_eq!(refused.status(), 403);
        assert_eq!(
            refused.get("www-authenticate"),
            Some("Bearer error=\"insufficient_scope\"")
        );
        let line = gateway.access_line();
        assert_eq!(
            (&line["reason"], &line["identity"]),
            (&"forbidden".into(), &"partners".into())
        );
    }
    assert_eq!(gateway.status("/"), 401);
}

#[test]
fn a_plan_has_numbers_of_its_own_and_an_override_comes_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let key = |name: &str, plan: &[&str]| format!("X-Api-Key: {}", new_key(&file, name, plan));
    let clients = [
        (key("a", &[]), 1),
        (key("b", &["--plan", "tin"]), 1),
        (key("c", &["--plan", "gold"]), 3),
        (key("d", &["--plan", "gold"]), 2),
        (key("e", &["--plan", "staff"]), 6),
    ];
    let more = format!(
        "[limits.l]\nkey = 'identity'\nrate = '1/h'\noverrides = [{{ match = 'partners:d', rate = '2/h' }}]\n[limits.l.plans]\ngold = {{ rate = '3/h' }}\nstaff = {{ rate = 'unlimited' }}\n{}",
        responding("r", "identify = ['partners']\nlimits = ['l']")
    );
    let gateway = gateway(&file, "", &more);
    for (key, admitted) in &clients {
        let statuses = (0..6).map(|_| gateway.ask("GET", "/", &[key]).status());
        assert_eq!(
            statuses.filter(|status| *status == 200).count(),
            *admitted,
            "{key}"
        );
    }
    let refused = gateway.ask("GET", "/", &[&clients[2].0]);
    assert_eq!(refused.get("ratelimit-policy"), Some("\"l\";q=3;w=3600"));
}

#[test]
fn a_plan_has_a_cap_of_its_own_on_requests_in_flight() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let key = |name: &str, plan: &[&str]| format!("X-Api-Key: {}", new_key(&file, name, plan));
    let clients = [
        (key("a", &[]), 1),
        (key("b", &["--plan", "gold"]), 3),
        (key("c", &["--plan", "staff"]), 5),
    ];
    let (service, arrived, leave) = Upstream::held();
    let more = format!(
        "[limits.l]\nkey = 'identity'\nin_flight = 1\n[limits.l.plans]\ngold = {{ in_flight = 3 }}\nstaff = {{ in_flight = 'unlimited' }}\n{}",
        route_to(&service, "limits = ['l']", "")
    );
    let gateway = gateway(&file, "", &more);
    let mut held = Vec::new();
    for (key, most) in &clients {
        for _ in 0..*most {
            held.push(gateway.sent("/", &[key]));
            arrived.recv_timeout(TIMEOUT).unwrap();
        }
    }
    for (key, most) in &clients[..2] {
        let refused = gateway.ask("GET", "/", &[key]);
        assert_eq!(refused.status(), 429);
        let policy = format!("\"l\";q={most};qu=\"concurrent-requests\"");
        assert_eq!(refused.get("ratelimit-policy"), Some(&*policy));
    }
    held.iter().for_each(|_| leave.open());
    for client in &mut held {
        assert_eq!(client.response().status(), 200);
    }
}

#[test]
fn a_client_without_the_key_of_a_limit_has_the_numbers_of_its_plan() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let key = format!("X-Api-Key: {}", new_key(&file, "a", &["--plan", "gold"]));
    let more = format!(
        "[limits.l]\nkey = 'header:x-tenant'\nrate = '1/h'\n[limits.l.plans]\ngold = {{ rate = '2/h' }}\n{}",
        responding("r", "identify = ['partners']\nlimits = ['l']")
    );
    let gateway = gateway(&file, "", &more);
    let statuses = [(); 3].map(|()| gateway.ask("GET", "/", &[&key]).status());
    assert_eq!(statuses, [200, 200, 429]);
}

#[test]
fn grpc_calls_end_with_statuses_of_grpc() {
    // 16: UNAUTHENTICATED, 7: PERMISSION_DENIED. The statuses of HTTP are mapped
    // by one function, whose table is tested beside it.
    assert_eq!(
        [401, 403, 503].map(|status| tidegate::call::grpc::code_of(
            http::StatusCode::from_u16(status).unwrap()
        )),
        [16, 7, 14]
    );
}
