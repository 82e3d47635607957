//! The files shipped with the binary agree with it: manifests parse, their
//! times fit together, and dashboards, alerts and documents name only existing
//! metrics and keys.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod chart;
mod package;
mod release;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use regex::Regex;
use serde_json::Value;
use tidegate::config::{Code, Config, Environment, json_schema, load, parse};

const ALERTS: &str = "deploy/prometheus/alerts.yml";
const DASHBOARD: &str = "deploy/grafana/tidegate.json";
const REFERENCE: &str = "docs/configuration.md";
const UNIT: &str = "deploy/systemd/tidegate.service";

#[test]
fn the_configuration_for_kubernetes_is_valid() {
    let config = kubernetes_config();
    assert_eq!(
        config
            .admin
            .expect("an admin listener for the probes")
            .bind
            .to_string(),
        "0.0.0.0:9901"
    );
    // The probes come from the node, and a token would first require a secret.
    assert_eq!(
        config
            .warnings
            .list
            .iter()
            .map(|one| one.code)
            .collect::<Vec<_>>(),
        [Code::Exposed]
    );
}

/// Every pod has an address in the network of the pods, so each of them could
/// name any client.
#[test]
fn the_configuration_for_kubernetes_trusts_no_network_of_pods() {
    assert!(kubernetes_config().client_ip.trusted_proxies.is_empty());
}

#[test]
fn a_pod_has_more_time_to_end_than_its_drain_takes() {
    let shutdown = kubernetes_config().shutdown;
    let grace = number(
        "deploy/kubernetes/deployment.yaml",
        r"terminationGracePeriodSeconds: (\d+)",
    );
    assert!(
        grace > shutdown.delay + shutdown.drain,
        "{grace:?} for {shutdown:?}"
    );
}

#[test]
fn a_change_of_the_config_map_reaches_the_pod() {
    let deployment = read("deploy/kubernetes/deployment.yaml");
    assert!(
        !deployment.contains("subPath:"),
        "a subPath mount is never updated"
    );
    assert!(deployment.contains("mountPath: /etc/tidegate\n"));
}

#[test]
fn the_unit_waits_longer_than_a_drain_takes_by_default() {
    let text = "[upstreams.app]\nservers = [\"http://127.0.0.1:1\"]\n[[routes]]\nname = \"app\"\nupstream = \"app\"\n";
    let shutdown = sound("defaults", text).shutdown;
    let stop = number(UNIT, r"(?m)^TimeoutStopSec=(\d+)s$");
    assert!(
        stop > shutdown.delay + shutdown.drain,
        "{stop:?} for {shutdown:?}"
    );
}

#[test]
fn the_unit_uses_no_service_type_that_debian_12_does_not_know() {
    let unit = read(UNIT);
    let lines: Vec<_> = unit
        .lines()
        .filter(|line| line.starts_with("Type="))
        .collect();
    assert_eq!(lines, ["Type=notify"]);
}

#[test]
fn the_socket_unit_listens_where_the_gateway_does_by_default() {
    let unit = read("deploy/systemd/tidegate.socket");
    let bind = sound(
        "defaults",
        "[[routes]]\nname = 'own'\nrespond = { status = 200 }\n",
    )
    .listeners[0]
        .bind
        .clone();
    assert_eq!(find(&unit, r"(?m)^ListenStream=(.*)$"), [bind.to_string()]);
}

/// The service has a user of its own, which cannot read the files that certbot
/// keeps for root.
#[test]
fn the_hook_for_certbot_gives_keys_to_one_group_only() {
    let folder = tempfile::tempdir().unwrap();
    let (lineage, copies) = (
        folder.path().join("live/www.example.com"),
        folder.path().join("etc/tidegate/tls"),
    );
    fs::create_dir_all(&lineage).unwrap();
    for round in ["first", "renewed"] {
        for file in ["fullchain.pem", "privkey.pem"] {
            fs::write(lineage.join(file), format!("{round} {file}")).unwrap();
        }
        let hook = Command::new("sh")
            .arg(path("deploy/systemd/certbot-deploy-hook"))
            .env("RENEWED_LINEAGE", &lineage)
            .env("TIDEGATE_TLS", &copies)
            .env(
                "TIDEGATE_GROUP",
                rustix::process::getgid().as_raw().to_string(),
            )
            .status();
        assert!(hook.unwrap().success());
        let copy = copies.join("www.example.com");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        for file in ["fullchain.pem", "privkey.pem"] {
            assert_eq!(
                fs::read_to_string(copy.join(file)).unwrap(),
                format!("{round} {file}")
            );
            assert_eq!(mode(&copy.join(file)), 0o640);
        }
        assert_eq!((mode(&copies), mode(&copy)), (0o750, 0o750));
        let parent = copies.parent().unwrap();
        assert_eq!(
            mode(parent),
            0o755,
            "the service cannot read its configuration if the hook created the folder"
        );
        assert_eq!(
            fs::read_dir(&copy).unwrap().count(),
            2,
            "temporary files are left"
        );
    }
}

#[test]
fn every_configuration_in_the_documents_is_valid() {
    let mut seen = 0;
    for (file, text) in documents() {
        let blocks = find(&text, r"(?s)```toml\n(.*?)```");
        // Only whole files that need no others: some blocks are excerpts or
        // name certificates.
        let is_whole = |block: &&String| block.contains("[[routes]]") && !is_about_others(&file);
        for block in blocks.iter().filter(is_whole) {
            let warnings = sound(&file, block).warnings;
            assert!(warnings.list.is_empty(), "{file}\n{warnings}");
            seen += 1;
        }
    }
    assert!(seen > 5, "found only {seen}");
}

/// An excerpt may lack the rest of its file, and files that it names.
#[test]
fn every_excerpt_in_the_documents_has_only_keys_and_values_that_exist() {
    let lacking = [
        Code::Conflict,
        Code::Environment,
        Code::NothingToServe,
        Code::UnknownName,
        Code::Unreadable,
    ];
    let mut seen = 0;
    for (file, text) in documents() {
        let blocks = find(&text, r"(?s)```toml\n(.*?)```");
        // Files of API keys have a language of their own.
        let is_excerpt =
            |block: &&String| !block.contains("[[routes]]") && !block.starts_with("[[keys]]");
        for block in blocks.iter().filter(is_excerpt) {
            let header = find(block, r"(?m)^\[+([a-z]+)").into_iter().next();
            let before = match header.as_deref() {
                None | Some("routes") => "[[routes]]\nname = 'excerpt'\nrespond = {}\n",
                Some("listeners") if !block.contains("[[listeners]]") => {
                    "[[listeners]]\nbind = '0.0.0.0:443'\n"
                }
                Some(_) => "",
            };
            if let Err(mistakes) = parse(&file, &format!("{before}{block}"), &Environment::new()) {
                let is_lacking = mistakes.list.iter().all(|one| lacking.contains(&one.code));
                assert!(is_lacking, "{file}:\n{}", mistakes.render(false));
            }
            seen += 1;
        }
    }
    assert!(seen > 15, "found only {seen}");
}

/// Whether a document shows configurations of others beside ours.
fn is_about_others(file: &str) -> bool {
    file.starts_with("docs/from-")
}

/// Each of them is a whole file, so that it works when it is copied; only the
/// certificates that it names are made here.
#[test]
fn every_right_side_beside_the_lines_of_others_is_a_valid_file() {
    let others = documents()
        .into_iter()
        .filter(|(file, _)| is_about_others(file));
    let mut pages = 0;
    for (file, text) in others {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("certs")).unwrap();
        let blocks = find(&text, r"(?s)```toml\n(.*?)```");
        assert!(!blocks.is_empty(), "{file} has no block");
        for block in blocks {
            for name in find(&block, r"certs/([a-z]+)\.(?:pem|crt)") {
                write_certificate(&place.path().join("certs"), &name);
            }
            let file_name = place.path().join("tidegate.toml");
            fs::write(&file_name, &block).unwrap();
            let config = load(&file_name, &Environment::new())
                .unwrap_or_else(|mistakes| panic!("{file}:\n{}", mistakes.render(false)));
            assert!(
                config.warnings.list.is_empty(),
                "{file}\n{}",
                config.warnings
            );
        }
        pages += 1;
    }
    assert_eq!(pages, 6);
}

/// Writes the certificate as `NAME.pem` and `NAME.crt`, and `NAME.key`.
fn write_certificate(folder: &Path, name: &str) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new([format!("{name}.example.com")])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    for kind in ["pem", "crt"] {
        fs::write(folder.join(format!("{name}.{kind}")), certificate.pem()).unwrap();
    }
    fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

#[test]
fn every_link_in_the_documents_leads_to_a_file_and_a_heading() {
    let link = Regex::new(r"\]\(([^)#:]*)(?:#([^)]*))?\)").unwrap();
    let mut seen = 0;
    for (from, text) in documents() {
        for found in link.captures_iter(&text) {
            let folder = Path::new(&from).parent().unwrap();
            let to = match &found[1] {
                "" => PathBuf::from(&from),
                name => folder.join(name),
            };
            let place = path(to.to_str().unwrap());
            assert!(place.exists(), "{from}: {}", &found[0]);
            if let Some(anchor) = found.get(2) {
                let headings = headings(&fs::read_to_string(place).unwrap());
                assert!(headings.contains(anchor.as_str()), "{from}: {}", &found[0]);
            }
            seen += 1;
        }
    }
    assert!(seen > 100, "found only {seen}");
}

/// The headings of a document, as links spell them.
fn headings(text: &str) -> BTreeSet<String> {
    let spelled = |heading: &String| {
        let kept = |letter: &char| letter.is_alphanumeric() || "-_ ".contains(*letter);
        let letters: String = heading.chars().filter(kept).collect();
        letters.to_lowercase().replace(' ', "-")
    };
    find(text, r"(?m)^#+ (.+)$").iter().map(spelled).collect()
}

#[test]
fn the_reference_names_every_key() {
    let mut keys = BTreeSet::new();
    keys_of(&json_schema(), &mut keys);
    assert!(keys.len() > 50, "found only {keys:?}");
    let text = read(REFERENCE);
    let missing: Vec<_> = keys
        .iter()
        .filter(|key| !text.contains(&format!("`{key}`")))
        .collect();
    assert!(
        missing.is_empty(),
        "{REFERENCE} does not mention {missing:?}"
    );
}

#[test]
fn the_reference_names_every_metric_and_every_reason() {
    let text = read(REFERENCE);
    let reasons = find(&read("src/error.rs"), r#"=> "([a-z_]+)","#);
    assert!(reasons.len() > 20, "found only {reasons:?}");
    let names = families().into_iter().map(|(_, name)| name).chain(reasons);
    let missing: Vec<_> = names
        .filter(|name| !text.contains(&format!("`{name}")))
        .collect();
    assert!(
        missing.is_empty(),
        "{REFERENCE} does not mention {missing:?}"
    );
}

#[test]
fn the_documents_name_only_existing_metrics() {
    documents()
        .iter()
        .for_each(|(file, text)| only_ours(file, text));
    only_ours(UNIT, &read(UNIT));
}

#[test]
fn alerts_name_only_existing_metrics() {
    only_ours(ALERTS, &read(ALERTS));
}

#[test]
fn the_dashboard_names_only_existing_metrics() {
    only_ours(DASHBOARD, &expressions().join("\n"));
}

#[test]
fn prometheus_understands_every_expression_of_the_dashboard() {
    let rule = |(at, expression): (usize, String)| {
        let expression = expression.replace("$__rate_interval", "5m");
        format!(
            "      - record: panel_{at}\n        expr: {}\n",
            Value::from(expression)
        )
    };
    let rules: String = expressions().into_iter().enumerate().map(rule).collect();
    let file = tempfile::Builder::new().suffix(".yml").tempfile().unwrap();
    fs::write(
        file.path(),
        format!("groups:\n  - name: dashboard\n    rules:\n{rules}"),
    )
    .unwrap();
    promtool(&["check", "rules", file.path().to_str().unwrap()]);
}

/// The expressions of all panels of the dashboard.
fn expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let expressions: Vec<_> = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten())
        .map(|target| target["expr"].as_str().expect("an expression").to_owned())
        .collect();
    assert!(expressions.len() > 20, "found only {expressions:?}");
    expressions
}

#[test]
fn the_panels_of_the_dashboard_have_distinct_titles_and_positions() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).expect("JSON");
    let (mut names, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(
            names.insert(panel["id"].as_u64().expect("a number")),
            "two panels are {}",
            panel["id"]
        );
        let at = |key: &str| panel["gridPos"][key].as_u64().expect("a position");
        let of_panel = (at("y")..at("y") + at("h"))
            .flat_map(|y| (at("x")..at("x") + at("w")).map(move |x| (x, y)));
        for cell in of_panel {
            assert!(
                cell.0 < 24 && cells.insert(cell),
                "{} lies over another panel",
                panel["title"]
            );
        }
    }
}

#[test]
fn the_dashboard_has_variables_to_filter_by() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).expect("JSON");
    let variables = dashboard["templating"]["list"]
        .as_array()
        .expect("variables");
    let names: Vec<_> = variables
        .iter()
        .filter_map(|variable| variable["name"].as_str())
        .collect();
    assert_eq!(names, ["datasource", "job", "instance", "route"]);
}

/// Without a uid, each import creates another dashboard, and links to it break.
#[test]
fn the_dashboard_has_a_uid_and_no_id() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).expect("JSON");
    assert_eq!(dashboard["uid"], "tidegate");
    assert!(
        dashboard.get("id").is_none(),
        "the id belongs to Grafana's database"
    );
}

#[test]
fn every_alert_has_a_test_and_a_page_in_the_runbook() {
    let (alerts, tests, runbook) = (
        read(ALERTS),
        read("deploy/prometheus/alerts_test.yml"),
        read("docs/runbook.md"),
    );
    let names = find(&alerts, r"- alert: (\w+)");
    assert!(names.len() > 6, "found only {names:?}");
    for name in names {
        assert!(
            tests.contains(&format!("alertname: {name}\n")),
            "no test of {name}"
        );
        assert!(
            runbook.contains(&format!("\n## {name}\n")),
            "docs/runbook.md has no heading {name}"
        );
        let anchor = format!("runbook_url: docs/runbook.md#{}\n", name.to_lowercase());
        assert!(alerts.contains(&anchor), "{ALERTS} has no {anchor}");
    }
}

#[test]
fn promtool_accepts_the_alerts_and_their_tests() {
    promtool(&["check", "rules", "alerts.yml"]);
    promtool(&["test", "rules", "alerts_test.yml"]);
}

fn promtool(arguments: &[&str]) {
    let run = Command::new("promtool")
        .args(arguments)
        .current_dir(path("deploy/prometheus"))
        .output();
    let output = run.unwrap_or_else(|error| {
        panic!("promtool cannot be run ({error}); `apt-get install prometheus` or tests/all installs it")
    });
    let reported = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success(),
        "promtool {}:\n{reported}",
        arguments.join(" ")
    );
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// All documents for users, by name.
fn documents() -> Vec<(String, String)> {
    let folder = fs::read_dir(path("docs"))
        .unwrap()
        .map(|entry| format!("docs/{}", entry.unwrap().file_name().display()));
    let names = folder.chain(["README.md", "CHANGELOG.md"].map(str::to_owned));
    names.map(|name| (name.clone(), read(&name))).collect()
}

/// The first group of each match of `pattern`.
fn find(text: &str, pattern: &str) -> Vec<String> {
    Regex::new(pattern)
        .unwrap()
        .captures_iter(text)
        .map(|found| found[1].to_owned())
        .collect()
}

fn number(file: &str, pattern: &str) -> Duration {
    let found = find(&read(file), pattern);
    assert_eq!(found.len(), 1, "{file}: {pattern}");
    Duration::from_secs(found[0].parse().unwrap())
}

fn sound(name: &str, text: &str) -> Config {
    parse(name, text, &Environment::new())
        .unwrap_or_else(|mistakes| panic!("{name}:\n{}", mistakes.render(false)))
}

/// The file in the ConfigMap: the lines below its key, without indentation.
fn kubernetes_config() -> Config {
    let manifest = read("deploy/kubernetes/configmap.yaml");
    let (_, block) = manifest
        .split_once("  tidegate.toml: |\n")
        .expect("a tidegate.toml");
    let text: Vec<_> = block
        .lines()
        .map(|line| line.strip_prefix("    ").unwrap_or(line))
        .collect();
    sound("configmap.yaml", &text.join("\n"))
}

/// Names of all properties in a JSON Schema, at any depth, without names that
/// users choose.
fn keys_of(schema: &Value, keys: &mut BTreeSet<String>) {
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        keys.extend(properties.keys().cloned());
    }
    match schema {
        Value::Object(members) => members.values().for_each(|member| keys_of(member, keys)),
        Value::Array(members) => members.iter().for_each(|member| keys_of(member, keys)),
        _ => {}
    }
}

/// Type and name of every metric family, counters by their name in the text
/// format.
fn families() -> Vec<(String, String)> {
    let family = Regex::new(r#"FamilyType::(Counter|Gauge|Histogram),\s*"([a-z_]+)""#).unwrap();
    let source = ["render/mod", "render/routes", "render/peers", "process"]
        .map(|file| read(&format!("src/telemetry/metrics/{file}.rs")))
        .join("\n");
    let reported = |found: regex::Captures<'_>| {
        let suffix = if &found[1] == "Counter" { "_total" } else { "" };
        (found[1].to_owned(), format!("{}{suffix}", &found[2]))
    };
    let families: Vec<_> = family.captures_iter(&source).map(reported).collect();
    assert!(families.len() > 25, "found only {families:?}");
    families
}

fn only_ours(file: &str, text: &str) {
    let known: BTreeSet<_> = families()
        .into_iter()
        .flat_map(|(kind, name)| {
            let suffixes: &[&str] = if kind == "Histogram" {
                &["", "_bucket", "_sum", "_count"]
            } else {
                &[""]
            };
            suffixes
                .iter()
                .map(move |suffix| format!("{name}{suffix}"))
                .collect::<Vec<_>>()
        })
        .collect();
    let named = find(text, r"\b((?:tidegate|process)_[a-z_]*[a-z])\b");
    let unknown: BTreeSet<_> = named.iter().filter(|name| !known.contains(*name)).collect();
    assert!(
        unknown.is_empty(),
        "{file} names {unknown:?}, which the gateway does not write"
    );
}
