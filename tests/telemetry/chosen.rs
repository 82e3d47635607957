//! Access lines as a configuration chooses them: further fields, keys of all
//! limits, and a share of the lines.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    Upstream,
    gateway::{Gateway, responding},
    ok, one_route,
};

/// The access lines of a gateway that ends.
fn all_lines(mut gateway: Gateway) -> Vec<Value> {
    gateway.signal(Signal::TERM);
    gateway.wait();
    let lines = gateway.rest_of_access();
    let lines = lines.iter().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

#[test]
fn chosen_fields_are_in_the_line_under_their_names() {
    let log = "[log]\nfields = ['header:referer', 'response-header:x-cache', 'response-header:x-set', 'cookie:Theme', 'header:x-none']\n";
    let service =
        Upstream::answering(|_| ok("").replacen("\r\n", "\r\nx-cache: HIT\r\nX-Cache: 2\r\n", 1));
    let route = one_route(&service, "response.set_headers = { x-set = 'by {route}' }");
    let gateway = Gateway::start(&format!("{log}{route}"));
    let referers = ["Referer: https://a.example/?\"x\"", "Referer: b"];
    let cookies = "Cookie: theme=small; Theme=\"dark\"; Theme=light";
    gateway.ask("GET", "/", &[&referers[..], &[cookies]].concat());
    let line = gateway.access_line();
    assert_eq!(line["header:referer"], "https://a.example/?\"x\", b");
    assert_eq!(line["response-header:x-cache"], "HIT, 2");
    assert_eq!(line["response-header:x-set"], "by app");
    assert_eq!(line["cookie:Theme"], "dark");
    assert_eq!(line.get("header:x-none"), None);
    assert_eq!(line.get("keys"), None);

    // The next one lacks them, also where the gateway refuses it.
    gateway.ask("TRACE", "/", &[]);
    let line = gateway.access_line();
    assert_eq!(
        (&line["status"], line.get("header:referer")),
        (&json!(405), None)
    );
    assert_eq!(line.get("response-header:x-cache"), None);
}

#[test]
fn queries_in_fields_are_masked_like_that_of_the_request() {
    let service = Upstream::answering(|_| {
        "HTTP/1.1 302 Found\r\nlocation: /in?who=me&code=1#access_token=s3cret\r\ncontent-length: 0\r\n\r\n".into()
    });
    let limit = "limits = ['l']";
    for (query, referer, location) in [
        (
            "masked",
            "https://a/?who=***&token=***",
            "/in?who=***&code=1#access_token=***",
        ),
        ("off", "https://a/", "/in"),
        (
            "full",
            "https://a/?who=me&token=s3cret",
            "/in?who=me&code=1#access_token=s3cret",
        ),
    ] {
        let text = format!(
            "[log]\nquery = '{query}'\nfields = ['header:referer', 'response-header:location', 'cookie:back']\n[limits.l]\nrate = '9/s'\nkey = 'query:who'\nmissing = 'skip'\n{}",
            one_route(&service, limit)
        );
        let gateway = Gateway::start(&text);
        let lines = [
            "Referer: https://a/?who=me&token=s3cret",
            "Cookie: back=/x?token=s3cret",
        ];
        gateway.ask("GET", "/", &lines);
        let line = gateway.access_line();
        assert_eq!(line["header:referer"], referer);
        assert_eq!(line["response-header:location"], location);
        assert_eq!(
            line.to_string().contains("s3cret"),
            query == "full",
            "{line}"
        );
    }
}

#[test]
fn fields_of_a_refusal_and_of_a_preflight_are_logged() {
    let text = format!(
        "[log]\nfields = ['response-header:retry-after', 'response-header:access-control-allow-origin']\n[limits.l]\nrate = '1/h'\n{}",
        responding(
            "r",
            "limits = ['l']\ncors = { origins = ['https://a.example'] }"
        )
    );
    let gateway = Gateway::start(&text);
    let name = "response-header:retry-after";
    gateway.get("/");
    assert_eq!(gateway.access_line().get(name), None);
    gateway.get("/");
    assert_eq!(gateway.access_line()[name], "3600");
    let lines = [
        "Origin: https://a.example",
        "Access-Control-Request-Method: GET",
    ];
    gateway.ask("OPTIONS", "/", &lines);
    let name = "response-header:access-control-allow-origin";
    assert_eq!(gateway.access_line()[name], "https://a.example");
}

#[test]
fn a_chosen_field_is_bounded_and_cannot_forge_a_line() {
    for format in ["json", "text"] {
        let text = format!(
            "[log]\nformat = '{format}'\nfields = ['header:referer']\n{}",
            responding("r", "")
        );
        let mut gateway = Gateway::start(&text);
        let forged = "Referer: \" status=200 \\\",\"status\":200}{\"\u{2028}\u{202e}";
        gateway.ask("GET", "/nothing", &[forged]);
        let line = gateway.access_text();
        assert!(!line.contains(['\u{2028}', '\u{202e}']), "{line}");
        if format == "json" {
            let line: Value = serde_json::from_str(&line).unwrap();
            assert!(
                line["header:referer"]
                    .as_str()
                    .unwrap()
                    .contains(" status=200 ")
            );
        }
        let long = format!("Referer: {}", "a".repeat(9000));
        gateway.ask("GET", "/", &[&long, "Referer: more"]);
        let line = gateway.access_text();
        let cut = format!("{}…\"", "a".repeat(512));
        assert!(line.contains(&cut) && !line.contains("more"), "{line}");
        gateway.signal(Signal::TERM);
        gateway.wait();
        assert_eq!(gateway.rest_of_access(), [""; 0]);
    }
}

/// Two limits, one with a tier, and a limit that does not apply to all requests.
fn limited(top: &str, keys: bool) -> String {
    format!(
        "{top}[client_ip]\ntrusted_proxies = ['127.0.0.1']\n[log]\nkeys = {keys}\n         [limits.each]\nkey = 'client-ip'\nrate = '2/h'\ntiers = [{{ prefix4 = 24, rate = '100/h' }}]\n         [limits.tenant]\nkey = 'header:x-tenant'\nmissing = 'skip'\nrate = '100/h'\n{}",
        responding("r", "limits = ['each', 'tenant']")
    )
}

#[test]
fn a_line_has_the_keys_of_all_limits_as_hashes() {
    let gateway = Gateway::start(&limited("", true));
    let keys = |client: &str, tenant: &str| {
        let lines = [format!("X-Forwarded-For: {client}"), tenant.to_owned()];
        gateway.ask("GET", "/", &[&*lines[0], &*lines[1]]);
        let line = gateway.access_line();
        let keys = line["keys"].as_object().unwrap().clone();
        // It is the key that the line has of one of them.
        assert_eq!(line["key"], keys[line["limit"].as_str().unwrap()]);
        assert!(!line["keys"].to_string().contains("acme"), "{line}");
        (line["status"].clone(), keys)
    };
    let (_, first) = keys("203.0.113.7", "X-Tenant: acme");
    let names: Vec<_> = first.keys().collect();
    assert_eq!(names, ["each", "each/v4-24", "tenant"]);
    let (_, neighbour) = keys("203.0.113.8", "X-A: 1");
    assert_ne!(neighbour["each"], first["each"]);
    assert_eq!(neighbour["each/v4-24"], first["each/v4-24"]);
    // The request has no key of the other limit.
    assert_eq!(neighbour.get("tenant"), None);
    // A refused request has the same keys as an admitted one.
    keys("203.0.113.7", "X-Tenant: acme");
    assert_eq!(
        keys("203.0.113.7", "X-Tenant: acme"),
        (json!(429), first.clone())
    );
    gateway.reload_with(&limited("", false));
    gateway.get("/");
    assert_eq!(gateway.access_line().get("keys"), None);
}

#[test]
fn keys_are_the_same_after_a_restart_with_a_folder_for_state() {
    let folder = tempfile::tempdir().unwrap();
    let top = format!("[server]\nstate_dir = '{}'\n", folder.path().display());
    let keys = |top: &str| {
        let gateway = Gateway::start(&limited(top, true));
        gateway.get("/");
        all_lines(gateway).remove(0)["keys"].clone()
    };
    let first = keys(&top);
    assert_eq!(keys(&top), first);
    // Nobody can try all addresses: the seed is the gateway's own.
    assert_ne!(keys(""), first);
}

#[test]
fn a_share_of_the_lines_is_written_and_everything_is_counted() {
    let sample = "[log.sample]\n'2xx' = '0%'\n'201' = '100%'\n'4xx' = '0%'\n'404' = '0%'\n";
    let text = format!(
        "{sample}[limits.l]\nrate = '1/h'\n[limits.s]\nrate = '1/h'\nmode = 'shadow'\n         [[routes]]\nname = 'ok'\nmatch.path = '/ok'\nrespond = {{}}\n         [[routes]]\nname = 'made'\nmatch.path = '/made'\nrespond = {{ status = 201 }}\n         [[routes]]\nname = 'gone'\nmatch.path = '/gone'\nrespond = {{ status = 410 }}\n         [[routes]]\nname = 'limited'\nmatch.path = '/limited'\nrespond = {{}}\nlimits = ['l']\n         [[routes]]\nname = 'tried'\nmatch.path = '/tried'\nrespond = {{}}\nlimits = ['s']\n"
    );
    let gateway = Gateway::start(&text);
    for path in ["/ok", "/made", "/gone", "/limited", "/tried"] {
        gateway.get(path);
        gateway.get(path);
    }
    // No route is a refusal, and its status is named by itself.
    gateway.get("/none");
    for (status, route, count) in [
        ("200", "ok", 2.0),
        ("410", "gone", 2.0),
        ("429", "limited", 1.0),
    ] {
        let labels = [("route", route), ("status", status)];
        gateway.await_metric("tidegate_requests_total", &labels, count);
    }
    let mut lines: Vec<_> = all_lines(gateway)
        .iter()
        .map(|line| {
            let text = |name: &str| line[name].to_string();
            format!("{} {} {}", text("status"), text("path"), text("sample"))
        })
        .collect();
    lines.sort();
    let expected = [
        "200 \"/tried\" null",
        "201 \"/made\" 1",
        "201 \"/made\" 1",
        "429 \"/limited\" null",
    ];
    assert_eq!(lines, expected);
}
