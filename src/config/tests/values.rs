//! Omitted keys have their defaults, and given values arrive.

use crate::policy::*;
use http::HeaderValue;
use std::time::Duration;

use http::StatusCode;

use super::{config_with, read};

#[test]
fn the_smallest_useful_file_is_one_upstream_and_one_route() {
    let config = config_with("", "").unwrap();
    assert_eq!(config.listeners[0].bind.to_string(), "0.0.0.0:8080");
    assert_eq!(config.admin.unwrap().bind.to_string(), "127.0.0.1:9901");
    let route = &config.routes[0];
    assert_eq!(route.action, Action::Forward("app".into()));
    assert_eq!(route.timeouts.total, Duration::from_secs(30));
    assert_eq!(route.timeouts.attempt, route.timeouts.total);
    assert_eq!(route.request.max_body, Some(10 << 20));
    assert_eq!(config.upstreams[0].pool.max_connections.get(), 512);
    assert!(route.retry.on.connect && route.retry.on.reset && !route.retry.on.timeout);
}

#[test]
fn a_limit_has_the_burst_of_its_rate_and_one_bucket_by_default() {
    let config = config_with(
        "[limits.a]\nrate = \"30/m\"\n[limits.b]\nkey = \"host\"\nrate = \"1/s\"\nburst = 9",
        "",
    )
    .unwrap();
    assert_eq!(config.limits[0].allowance.rate().unwrap().burst(), 30);
    assert!(config.limits[0].key.is_empty());
    assert_eq!(config.limits[1].key, [KeyPart::Host]);
    assert_eq!(
        config.limits[1].missing,
        Missing::Use(KeyPart::ClientIp(Prefixes { v4: 32, v6: 64 }))
    );
    assert_eq!(config.shown()["limits"]["a"]["burst"], 30);
}

#[test]
fn off_disables() {
    let config = config_with(
        "admin = { bind = \"off\" }",
        "timeouts = { body = \"off\" }\nrequest = { max_body = \"off\" }",
    )
    .unwrap();
    assert!(config.admin.is_none());
    assert_eq!(
        (
            config.routes[0].timeouts.body,
            config.routes[0].request.max_body
        ),
        (None, None)
    );
}

#[test]
fn a_route_keeps_its_own_keys_over_the_defaults_one_by_one() {
    let defaults = "[defaults]\nlimits = [\"a\"]\n[limits.a]\nrate = \"1/s\"
        [defaults.timeouts]\ntotal = \"5s\"\nidle = \"7s\"
        [defaults.response.set_headers]\nx-a = \"1\"\nx-b = \"1\"";
    let config = config_with(
        defaults,
        "timeouts = { total = \"9s\" }\nresponse = { set_headers = { x-b = \"2\" } }",
    )
    .unwrap();
    let route = &config.routes[0];
    assert_eq!(
        (route.timeouts.total, route.timeouts.idle),
        (Duration::from_secs(9), Duration::from_secs(7))
    );
    let headers: Vec<_> = route
        .response
        .headers
        .set()
        .iter()
        .map(|(name, text)| (name.as_str(), text.clone()))
        .collect();
    let text = |text| HeaderText::Fixed(HeaderValue::from_static(text));
    assert_eq!(headers, [("x-a", text("1")), ("x-b", text("2"))]);
    assert_eq!(&*route.limits[0], "a");
    assert!(config.shown().get("defaults").is_none());
}

#[test]
fn a_route_inherits_nothing_that_its_own_keys_exclude() {
    let defaults =
        "[defaults.match]\npath_prefix = \"/a\"\n[defaults.request]\nstrip_prefix = \"/a\"";
    let config = config_with(
        defaults,
        "match = { path = \"/b/{id}\" }\nrequest = { rewrite = \"/c/{id}\" }",
    )
    .unwrap();
    assert_eq!(
        config.routes[0].matches.path,
        PathPattern::Parameters("/b/{id}".into())
    );
    let Rewrite::Template(template) = &config.routes[0].request.rewrite else {
        panic!("it has no template");
    };
    assert_eq!(template.to_string(), "/c/{id}");
}

#[test]
fn an_inherited_attempt_is_cut_to_a_shorter_total() {
    let config = config_with(
        "[defaults.timeouts]\nattempt = \"10s\"",
        "timeouts = { total = \"2s\" }",
    )
    .unwrap();
    assert_eq!(config.routes[0].timeouts.attempt, Duration::from_secs(2));
}

#[test]
fn queue_timeout_can_be_a_default_without_a_cap() {
    let defaults = "[defaults.concurrency]\nqueue_timeout = \"2s\"";
    assert_eq!(
        config_with(defaults, "").unwrap().routes[0].concurrency,
        None
    );
    let capped = config_with(defaults, "concurrency = { max = 3 }").unwrap();
    let expected = Concurrency {
        bound: Bound::Fixed(3.try_into().unwrap()),
        queue: 0,
        queue_timeout: Duration::from_secs(2),
        fair_by: Vec::new(),
    };
    assert_eq!(capped.routes[0].concurrency, Some(expected));
}

#[test]
fn an_upstream_has_a_cap_as_a_route_has_one_and_none_by_default() {
    let top = "[upstreams.b]\nservers = [\"http://a\"]\nconcurrency = { max = 3, queue = 5, fair_by = [\"header:x-tenant\", \"host\"] }";
    let config = config_with(top, "priority = \"high\"").unwrap();
    let fair_by = vec![
        KeyPart::Header(http::HeaderName::from_static("x-tenant")),
        KeyPart::Host,
    ];
    let expected = Concurrency {
        bound: Bound::Fixed(3.try_into().unwrap()),
        queue: 5,
        queue_timeout: Duration::from_secs(1),
        fair_by,
    };
    assert_eq!(
        (
            &config.upstreams[0].concurrency,
            &config.upstreams[1].concurrency
        ),
        (&None, &Some(expected))
    );
    assert_eq!(config.routes[0].priority, Priority::High);
    assert_eq!(
        config_with("[defaults]\npriority = \"low\"", "")
            .unwrap()
            .routes[0]
            .priority,
        Priority::Low
    );
    assert_eq!(
        config_with("", "").unwrap().routes[0].priority,
        Priority::Normal
    );
}

#[test]
fn an_adaptive_cap_replaces_an_inherited_fixed_one() {
    let adaptive = "concurrency = { adaptive = { min = 4, max = 512 } }";
    let config = config_with("[defaults.concurrency]\nmax = 9\nqueue = 7", adaptive).unwrap();
    let concurrency = config.routes[0].concurrency.as_ref().unwrap();
    let (min, max) = (4.try_into().unwrap(), 512.try_into().unwrap());
    assert_eq!(
        (concurrency.bound, concurrency.queue),
        (Bound::Adaptive(AdaptiveBounds { min, max }), 7)
    );
    assert_eq!(
        config.shown()["routes"][0]["concurrency"]["adaptive"]["min"],
        4
    );
    let fixed = config_with(
        &format!("[defaults]\n{adaptive}"),
        "concurrency = { max = 3 }",
    )
    .unwrap();
    assert_eq!(
        fixed.routes[0].concurrency.as_ref().unwrap().bound,
        Bound::Fixed(3.try_into().unwrap())
    );
    assert!(
        fixed.shown()["routes"][0]["concurrency"]
            .get("adaptive")
            .is_none()
    );
}

#[test]
fn servers_are_urls_or_tables() {
    let config = read("[upstreams.a]\nservers = [\"http://A:1\", { url = \"http://[::1]\", weight = 3 }]\n[[routes]]\nname = \"a\"\nupstream = \"a\"").unwrap();
    let [one, two] = config.upstreams[0].servers.as_slice() else {
        panic!("two servers")
    };
    let at = |host: &str, port| ServerAddress::Tcp {
        host: host.into(),
        port,
    };
    assert_eq!((&one.address, one.weight), (&at("a", 1), 1));
    assert_eq!((&two.address, two.weight), (&at("::1", 80), 3));
}

fn statuses(codes: &[u16]) -> StatusSet {
    let one = |code: &u16| Statuses {
        first: *code,
        last: *code,
    };
    codes.iter().map(one).collect()
}

#[test]
fn a_cool_down_is_a_list_of_statuses_or_a_switch() {
    let cool_down = |value: &str| {
        let keys = format!("[upstreams.b]\nservers = [\"http://a\"]\ncool_down = {value}");
        config_with(&keys, "").unwrap().upstreams[1].cool_down
    };
    assert_eq!(cool_down("true"), statuses(&[503]));
    assert!(cool_down("false").is_empty());
    assert_eq!(cool_down("[\"429\"]"), statuses(&[429]));
    assert!(cool_down("[\"5xx\"]").contains(StatusCode::BAD_GATEWAY));
}

#[test]
fn an_ejection_counts_the_failures_that_it_lists() {
    let keys = "[upstreams.b]\nservers = [\"http://a\"]\nejection = { on = [\"5xx\", \"429\", \"reset\"] }";
    let on = &config_with(keys, "").unwrap().upstreams[1].ejection.on;
    assert!(on.reset && !on.connect && !on.timeout);
    for (status, counts) in [
        (500, true),
        (501, true),
        (599, true),
        (429, true),
        (404, false),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(on.statuses.contains(status), counts, "{status}");
    }
}

#[test]
fn by_default_an_upstream_has_ejection_and_no_checks() {
    let upstream = &config_with("", "").unwrap().upstreams[0];
    assert_eq!(
        (
            upstream.slow_start,
            upstream.cool_down,
            &upstream.health_check
        ),
        (Duration::ZERO, statuses(&[503, 429]), &None)
    );
    let Ejection {
        ref on,
        consecutive_failures,
        base,
        max,
        max_percent,
    } = upstream.ejection;
    assert_eq!((consecutive_failures.get(), max_percent), (5, 50));
    assert!(on.connect && on.reset && on.timeout);
    assert_eq!(on.statuses, statuses(&[500, 502, 503, 504]));
    assert_eq!(
        (base, max),
        (Duration::from_secs(10), Duration::from_secs(300))
    );
}

#[test]
fn a_long_base_alone_lengthens_the_longest_ejection() {
    let keys = "[upstreams.b]\nservers = [\"http://a\"]\nejection = { base = \"10m\" }";
    let ejection = &config_with(keys, "").unwrap().upstreams[1].ejection;
    assert_eq!(ejection.max, Duration::from_secs(600));
}

#[test]
fn a_hash_key_has_one_part_or_several() {
    let of = |key: &str| {
        let keys = format!(
            "[upstreams.b]\nservers = [\"http://a\"]\nbalance = \"hash\"\nhash_key = {key}"
        );
        config_with(&keys, "").unwrap().upstreams[1].balance.clone()
    };
    assert_eq!(of("\"host\""), Balance::Hash(vec![KeyPart::Host]));
    assert_eq!(
        of("[\"host\", \"path\"]"),
        Balance::Hash(vec![KeyPart::Host, KeyPart::Path])
    );
    let parts = vec![
        KeyPart::Cookie("sid".into()),
        KeyPart::Query("user".into()),
        KeyPart::Param("id".into()),
    ];
    assert_eq!(
        of("[\"cookie:sid\", \"query:user\", \"param:id\"]"),
        Balance::Hash(parts)
    );
}

#[test]
fn a_split_ignores_upstreams_without_weight() {
    let of = |split: &str| {
        let route = format!(
            "[upstreams.b]\nservers = [\"http://b\"]\n[upstreams.a]\nservers = [\"http://a\"]\n[[routes]]\nname = \"r\"\nupstream = {split}"
        );
        read(&route).unwrap().routes[0].action.clone()
    };
    let share = |name: &str, weight: u32| Share {
        name: name.into(),
        weight: weight.try_into().unwrap(),
    };
    assert_eq!(
        of("[{ name = \"a\", weight = 9 }, { name = \"b\" }]"),
        Action::Split(vec![share("a", 9), share("b", 1)])
    );
    assert_eq!(
        of("[{ name = \"a\" }, { name = \"b\", weight = 0 }]"),
        Action::Forward("a".into())
    );
}

#[test]
fn a_mirror_can_be_a_default_for_routes_with_an_upstream() {
    let defaults = "[defaults.mirror]\nupstream = \"app\"\n[[routes]]\nname = \"own\"\nrespond = {}\nmatch = { path = \"/own\" }";
    let config = config_with(defaults, "mirror = { percent = 5 }").unwrap();
    assert_eq!(config.routes[0].mirror, None);
    assert_eq!(
        config.routes[1].mirror,
        Some(Mirror {
            upstream: "app".into(),
            percent: 5
        })
    );
}

#[test]
fn a_route_can_respond_or_redirect_by_itself() {
    let config = read("[[routes]]\nname = \"a\"\nrespond = {}\n[[routes]]\nname = \"b\"\nmatch = { path = \"/x/{id}\" }\nredirect = { to = \"https://{host}/y/{id}\" }").unwrap();
    assert_eq!(
        config.routes[0].action,
        Action::Respond {
            status: http::StatusCode::OK,
            body: bytes::Bytes::new(),
            headers: Vec::new()
        }
    );
    let Action::Redirect { status, .. } = &config.routes[1].action else {
        panic!("a redirect")
    };
    assert_eq!(status.as_u16(), 308);
}

#[test]
fn a_route_may_tell_of_its_limits_instead() {
    let limit = "[limits.overall]\nrate = '1/s'\n";
    let route = |keys: &str| read(&format!("{limit}[[routes]]\nname = 'q'\n{keys}"));
    let config = route("quota = true\nlimits = ['overall']").unwrap();
    assert_eq!(config.routes[0].action, Action::Report);
    let text = route("quota = true").unwrap_err().to_string();
    assert!(text.contains("limits = [\"NAME\"]"), "{text}");
    let text = route("quota = true\nrespond = {}\nlimits = ['overall']")
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("`respond` and `quota` exclude each other"),
        "{text}"
    );
    let text = route("quota = false").unwrap_err().to_string();
    assert!(text.contains("does nothing"), "{text}");
    assert!(route("quota = false\nrespond = {}\nlimits = ['overall']").is_ok());
}
