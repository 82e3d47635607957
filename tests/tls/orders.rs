//! Authorities that lie, refuse, or suggest a renewal, by a script.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::{
    acme::{Site, client, keep, shown},
    authority::Authority,
    pki::{certificate, connect},
    support::Gateway,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn config(site: &Site, authority: &Authority, domains: &[String]) -> String {
    format!(
        "[server]\nworkers = 2\nstate_dir = '{}'\n\
         [[listeners]]\nbind = '127.0.0.1:{}'\n\
         [listeners.tls.acme]\ndomains = {domains:?}\ndirectory = '{}'\nca = '{}'\n\
         [[routes]]\nname = 'ok'\nrespond = {{ body = 'ok' }}\n",
        site.state.path().display(),
        site.https,
        authority.directory(),
        site.pki.shown("ca.pem"),
    )
}

/// The view of all domains, by name.
fn view(gateway: &Gateway) -> Vec<Value> {
    serde_json::from_slice(&gateway.call_admin("GET", "/acme", &[]).body).unwrap()
}

fn of<'v>(view: &'v [Value], domain: &str) -> &'v Value {
    view.iter().find(|one| one["domain"] == domain).unwrap()
}

/// A domain for each lie, and what the log and the view say about it.
const LIES: [(&str, &str); 16] = [
    ("limited", "too many"),
    ("forever", "later"),
    ("moved", "a redirect"),
    ("nonsense", "not as RFC 8555"),
    ("invalid", "without a reason"),
    ("nochallenge", "does not offer the challenge tls-alpn-01"),
    ("stranger", "for another name"),
    ("token", "token of the challenge"),
    ("othername", "for other names: bank.example"),
    ("otherkey", "of another key"),
    ("expired", "expired already"),
    ("future", "not valid yet"),
    ("nopem", "no sound certificate"),
    ("cut", "is not PEM"),
    ("empty", "no sound certificate"),
    ("huge", "more than 256 KiB"),
];

#[test]
fn an_authority_that_lies_is_told_and_what_served_serves_on() {
    let site = Site::new();
    let authority = Authority::start(&site.pki);
    let mut domains: Vec<_> = LIES
        .iter()
        .map(|(lie, _)| format!("{lie}.example"))
        .collect();
    domains.push("z-honest.example".to_owned());
    // One that lies about its renewal, and has one that serves.
    let old = keep(&site, &authority.directory(), "othername.example", 80 * DAY);
    let old = certificate(&old);
    let gateway = Gateway::start(&config(&site, &authority, &domains));
    // Obtained, not obtained, or not renewed.
    for _ in &domains {
        gateway.logged("certificate ");
    }
    let view = view(&gateway);
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    for (lie, says) in LIES {
        let domain = format!("{lie}.example");
        let one = of(&view, &domain);
        let problem = one["problem"].as_str().unwrap();
        assert!(problem.contains(says), "{lie}: {problem}");
        assert!(
            problem.is_ascii() && !problem.contains(char::is_control),
            "{problem}"
        );
        assert_eq!(one["failures"], 1, "{lie}");
        let wait = one["next_attempt"].as_u64().unwrap().saturating_sub(now);
        let expected = match lie {
            "limited" => 7000..7201,
            "forever" => 604_700..604_801,
            _ => 50..81,
        };
        assert!(expected.contains(&wait), "{lie}: {wait}");
        let is_served = lie == "othername";
        let state = if is_served { "serving" } else { "failing" };
        assert_eq!(one["state"], state, "{lie}");
        let handshake = connect(&client(&[]), site.https(), &domain);
        assert_eq!(handshake.is_ok(), is_served, "{lie}");
    }
    assert!(shown(site.https(), "othername.example") == old);
    assert_eq!(of(&view, "z-honest.example")["state"], "serving");
    let outcome = |name: &str| gateway.metric("tidegate_acme_orders_total", &[("outcome", name)]);
    assert_eq!((outcome("success"), outcome("rate_limited")), (1.0, 1.0));
    let orders = authority.orders.lock().unwrap();
    assert!(
        orders.values().all(|orders| orders.len() == 1),
        "each is ordered once"
    );
}

#[test]
fn a_wait_that_an_authority_asks_for_outlives_the_process() {
    let site = Site::new();
    let authority = Authority::start(&site.pki);
    let text = config(&site, &authority, &["limited.example".to_owned()]);
    let gateway = Gateway::start(&text);
    gateway.logged("certificate not obtained");
    drop(gateway);
    let gateway = Gateway::start(&text);
    let one = &view(&gateway)[0];
    assert_eq!(
        (&one["state"], &one["failures"]),
        (&json!("pending"), &json!(0))
    );
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    assert!(one["next_attempt"].as_u64().unwrap() > now + 7000, "{one}");
    assert_eq!(authority.orders.lock().unwrap()["limited.example"].len(), 1);
}

/// RFC 9773: the window is in the past, as before a certificate is revoked.
#[test]
fn a_certificate_is_renewed_when_its_authority_suggests_it() {
    let site = Site::new();
    let authority = Authority::start(&site.pki);
    let file = keep(&site, &authority.directory(), "early.example", 10 * DAY);
    let old = certificate(&file);
    let text = config(&site, &authority, &["early.example".to_owned()]);
    let gateway = Gateway::start(&text);
    gateway.logged("the authority suggests a renewal");
    gateway.logged("certificate obtained");
    assert!(shown(site.https(), "early.example") != old);
    let orders = authority.orders.lock().unwrap();
    assert!(
        orders["early.example"][0]["replaces"]
            .as_str()
            .unwrap()
            .contains('.')
    );
    drop(orders);
    // The new one is suggested to be replaced, too, which is not done in a loop.
    gateway.logged("the authority suggests a renewal");
    assert_eq!(gateway.metric("tidegate_acme_orders_total", &[]), 1.0);
}

#[test]
fn an_authority_that_refuses_three_nonces_is_asked_again_soon() {
    let site = Site::new();
    let authority = Authority::start(&site.pki);
    let gateway = Gateway::start(&config(&site, &authority, &["nonces.example".to_owned()]));
    let line = gateway.logged("certificate not obtained");
    assert_eq!(line["outcome"], "bad_nonce", "{line}");
    // After an order that counts, the next one comes a minute later.
    gateway.logged("certificate obtained");
}

#[test]
fn an_order_that_was_made_is_not_made_again_soon_whatever_was_refused() {
    let site = Site::new();
    let authority = Authority::start(&site.pki);
    let domains = ["latenonces.example".to_owned()];
    let gateway = Gateway::start(&config(&site, &authority, &domains));
    let line = gateway.logged("certificate not obtained");
    assert_eq!(line["outcome"], "bad_nonce", "{line}");
    let orders = authority.orders.lock().unwrap();
    assert_eq!(orders["latenonces.example"].len(), 1);
    let next = view(&gateway)[0]["next_attempt"].as_u64().unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    assert!(next > now.unwrap().as_secs() + 30, "{next}");
}

#[test]
fn damaged_files_are_told_and_replaced() {
    let site = Site::new();
    let authority = Authority::start(&site.pki);
    let file = keep(&site, &authority.directory(), "a.example", 10 * DAY);
    let text = config(&site, &authority, &["a.example".to_owned()]);
    std::fs::write(&file, "rubbish").unwrap();
    let gateway = Gateway::start(&text);
    let obtained = gateway.logged("certificate obtained");
    assert_eq!(obtained["domain"], "a.example");
    assert!(
        gateway
            .passed()
            .contains("another certificate is ordered in its place")
    );
    let folder = file.parent().unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|kind| kind == "json" || kind == "pem")
        {
            std::fs::write(path, "{\"rubbish\":1}").unwrap();
        }
    }
    drop(gateway);
    let gateway = Gateway::start(&text);
    gateway.logged("the file of the ACME account is damaged");
    gateway.logged("certificate obtained");
    shown(site.https(), "a.example");
}
