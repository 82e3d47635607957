//! Limits in shadow mode, and numbers on trial.

use super::{
    decisions, one_limit,
    support::{
        Upstream,
        gateway::{Gateway, responding, upstream_table},
    },
};

#[test]
fn a_limit_in_shadow_mode_refuses_nothing_and_is_told() {
    let gateway = one_limit("rate = '2/h'\nmode = 'shadow'", "");
    assert_eq!([(); 5].map(|()| gateway.status("/")), [200; 5]);
    let lines: Vec<_> = (0..5)
        .map(|_| gateway.access_line()["shadow"].clone())
        .collect();
    assert_eq!(
        lines.iter().filter(|shadow| *shadow == "l").count(),
        3,
        "{lines:?}"
    );
    assert_eq!(
        (
            decisions(&gateway, "l", "allowed"),
            decisions(&gateway, "l", "shadow_refused")
        ),
        (2.0, 3.0)
    );
    assert_eq!(decisions(&gateway, "l", "refused"), 0.0);
    assert!(gateway.get("/").get("retry-after").is_none());
}

#[test]
fn a_limit_in_shadow_mode_refuses_not_even_who_has_no_key() {
    let gateway = one_limit(
        "key = 'header:x-user'\nmissing = 'refuse'\nrate = '2/h'\nmode = 'shadow'",
        "",
    );
    assert_eq!(gateway.status("/"), 200);
    assert_eq!(gateway.access_line()["shadow"], "l");
    assert_eq!(decisions(&gateway, "l", "shadow_refused"), 1.0);
}

#[test]
fn shadow_and_live_limits_do_not_disturb_each_other() {
    let gateway = Gateway::start(&format!(
        "[limits.shadow]\nrate = '2/h'\nmode = 'shadow'\n[limits.live]\nrate = '4/h'\n{}",
        responding("r", "limits = ['shadow', 'live']")
    ));
    assert_eq!(
        [(); 6].map(|()| gateway.status("/")),
        [200, 200, 200, 200, 429, 429]
    );
    assert_eq!(
        gateway.get("/").problem()["violated-policies"],
        serde_json::json!(["live"])
    );
    // Of the three that the live one refused, too, the shadow would have refused all.
    assert_eq!(
        (
            decisions(&gateway, "shadow", "allowed"),
            decisions(&gateway, "shadow", "shadow_refused")
        ),
        (2.0, 5.0)
    );
}

#[test]
fn what_the_live_limits_refuse_takes_nothing_from_one_in_shadow_mode() {
    let gateway = Gateway::start(&format!(
        "[limits.shadow]\nrate = '3/h'\nmode = 'shadow'\n[limits.live]\nkey = 'path'\nrate = '1/h'\n{}",
        responding("r", "limits = ['shadow', 'live']")
    ));
    assert_eq!(
        ["/a", "/a", "/a", "/a", "/b", "/c"].map(|path| gateway.status(path)),
        [200, 429, 429, 429, 200, 200]
    );
    assert_eq!(decisions(&gateway, "shadow", "shadow_refused"), 0.0);
}

#[test]
fn a_limit_that_becomes_live_keeps_what_it_saw() {
    let text = |mode: &str| super::one_limit_text(&format!("rate = '3/h'\nmode = '{mode}'"), "");
    let gateway = Gateway::start(&text("shadow"));
    assert_eq!([(); 2].map(|()| gateway.status("/")), [200; 2]);
    gateway.reload_with(&text("enforce"));
    assert_eq!([(); 2].map(|()| gateway.status("/")), [200, 429]);
}

#[test]
fn a_candidate_refuses_nothing_and_is_counted_on_the_same_keys() {
    let limit = "key = 'path'\nrate = '4/h'\ncandidate = { rate = '2/h' }";
    let gateway = one_limit(limit, "");
    let statuses = |path: &str| [(); 5].map(|()| gateway.status(path));
    assert_eq!(
        (statuses("/a"), statuses("/b")),
        ([200, 200, 200, 200, 429], [200, 200, 200, 200, 429])
    );
    assert_eq!(
        (
            decisions(&gateway, "l", "allowed"),
            decisions(&gateway, "l", "refused")
        ),
        (8.0, 2.0)
    );
    assert_eq!(
        decisions(&gateway, "l", "candidate_refused"),
        6.0,
        "three of each five"
    );
    assert_eq!(
        gateway.metric("tidegate_limit_keys", &[("limit", "l/candidate")]),
        2.0
    );
}

#[test]
fn a_candidate_decides_whatever_the_live_numbers_said() {
    let gateway = one_limit("rate = '1/h'\ncandidate = { rate = '4/h' }", "");
    assert_eq!(
        [(); 6].map(|()| gateway.status("/")),
        [200, 429, 429, 429, 429, 429]
    );
    assert_eq!(
        decisions(&gateway, "l", "candidate_refused"),
        2.0,
        "the fifth and the sixth"
    );
}

#[test]
fn a_candidate_of_a_limit_that_counts_answers_counts_the_same_ones() {
    let door = Upstream::answering(|request| {
        let status = if request.target() == "/wrong" {
            "401 Unauthorized"
        } else {
            "200 OK"
        };
        format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")
    });
    let limit = "[limits.l]\nrate = '4/h'\ncount = ['401']\ncandidate = { rate = '2/h' }\n";
    let upstream = upstream_table("u", &[&door], "");
    let gateway = Gateway::start(&format!(
        "{limit}{upstream}[[routes]]\nname = 'r'\nupstream = 'u'\nlimits = ['l']\n"
    ));
    let statuses = ["/wrong", "/right", "/right", "/wrong", "/right", "/wrong"]
        .map(|path| gateway.status(path));
    assert_eq!(statuses, [401, 200, 200, 401, 200, 401]);
    assert_eq!(
        decisions(&gateway, "l", "candidate_refused"),
        2.0,
        "what came after two wrong ones"
    );
}

#[test]
fn a_reload_keeps_the_buckets_of_a_candidate() {
    let text = |rate: &str| {
        super::one_limit_text(
            &format!("rate = '99/h'\ncandidate = {{ rate = '{rate}' }}"),
            "",
        )
    };
    let gateway = Gateway::start(&text("2/h"));
    assert_eq!([(); 3].map(|()| gateway.status("/")), [200; 3]);
    gateway.reload_with(&text("4/h"));
    gateway.status("/");
    assert_eq!(
        decisions(&gateway, "l", "candidate_refused"),
        2.0,
        "who was exhausted stays exhausted"
    );
}
