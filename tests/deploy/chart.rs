//! The Helm chart: Helm itself renders it, and Kubernetes knows all of the
//! result.

use std::process::{Command, Output};

use serde_json::{Value, json};
use tidegate::config::{Code, Config};

use super::{path, sound};

#[test]
fn the_chart_of_default_values_runs_a_valid_configuration_that_trusts_no_network() {
    let config = configuration(&rendered(&json!({})));
    assert!(config.client_ip.trusted_proxies.is_empty());
    // The probes come from the node, and a token would first require a secret.
    let warnings: Vec<_> = config.warnings.list.iter().map(|one| one.code).collect();
    assert_eq!(warnings, [Code::Exposed]);
}

#[test]
fn the_ports_and_times_of_the_chart_are_those_of_its_configuration() {
    let objects = rendered(&json!({}));
    let config = configuration(&objects);
    let pod = &of_kind(&objects, "Deployment")["spec"]["template"]["spec"];
    let ports = &pod["containers"][0]["ports"];
    let admin = config.admin.expect("an admin listener for the probes").bind;
    assert_eq!(
        ports[0]["containerPort"],
        config.listeners[0].bind.ip().unwrap().port()
    );
    assert_eq!(ports[1]["containerPort"], admin.port());
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(grace > (config.shutdown.delay + config.shutdown.drain).as_secs());
}

/// A mount of the file alone is never updated, and a checksum in an annotation
/// would replace each pod for what a reload does.
#[test]
fn a_change_of_the_configuration_reaches_the_pods_of_the_chart_and_replaces_none() {
    let objects = rendered(&json!({}));
    let pods = &of_kind(&objects, "Deployment")["spec"]["template"];
    let mount = &pods["spec"]["containers"][0]["volumeMounts"][0];
    assert_eq!(mount["mountPath"], "/etc/tidegate");
    assert!(mount.get("subPath").is_none());
    let route = "[[routes]]\nname = 'own'\nrespond = { status = 200 }\n";
    let other = rendered(&json!({ "config": route }));
    assert_eq!(pods, &of_kind(&other, "Deployment")["spec"]["template"]);
}

#[test]
fn kubernetes_knows_all_that_the_chart_can_render() {
    let values = json!({
        "image": { "tag": "1.2.3" },
        "imagePullSecrets": [{ "name": "registry" }],
        "configFiles": { "down.html": "<p>\nback soon" },
        "listeners": [
            { "name": "http", "containerPort": 8080, "servicePort": 80 },
            { "name": "https", "containerPort": 8443, "servicePort": 443 },
        ],
        "service": {
            "type": "LoadBalancer",
            "annotations": { "load-balancer": "public" },
            "externalTrafficPolicy": "Local",
            "loadBalancerSourceRanges": ["192.0.2.0/24"],
        },
        "autoscaling": { "enabled": true },
        "serviceMonitor": { "enabled": true, "labels": { "release": "prometheus" } },
        "persistence": { "enabled": true, "storageClass": "fast" },
        "env": [{ "name": "PASSWORD", "value": "x" }],
        "extraVolumes": [{ "name": "tls", "secret": { "secretName": "shop" } }],
        "extraVolumeMounts": [{ "name": "tls", "mountPath": "/etc/tidegate-tls", "readOnly": true }],
        "podAnnotations": { "team": "edge" },
        "podLabels": { "team": "edge" },
        "priorityClassName": "high",
        "nodeSelector": { "disk": "fast" },
        "tolerations": [{ "operator": "Exists" }],
        "affinity": { "nodeAffinity": {} },
        "networkPolicy": { "adminFrom": [] },
        "podDisruptionBudget": { "minAvailable": "50%" },
    });
    let objects = rendered(&values);
    let kinds: Vec<_> = objects
        .iter()
        .map(|one| one["kind"].as_str().unwrap())
        .collect();
    for kind in [
        "ConfigMap",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
        "ServiceMonitor",
        "StatefulSet",
    ] {
        assert!(kinds.contains(&kind), "no {kind} among {kinds:?}");
    }
    let files = &of_kind(&objects, "ConfigMap")["data"];
    assert_eq!(files["down.html"], "<p>\nback soon\n");
}

#[test]
fn a_misspelt_value_of_the_chart_is_refused() {
    let output = render(&json!({ "replica": 3 }));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("'replica' not allowed"),
        "{said}"
    );
}

/// The configuration in the rendered ConfigMap, as the gateway reads it.
fn configuration(objects: &[Value]) -> Config {
    let text = of_kind(objects, "ConfigMap")["data"]["tidegate.toml"].clone();
    sound("the chart", text.as_str().unwrap())
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found = objects.iter().find(|one| one["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind}"))
}

/// The objects that the chart makes of these values. Kubernetes knows each of
/// them, and Helm has nothing to criticise but the missing picture.
#[track_caller]
fn rendered(values: &Value) -> Vec<Value> {
    let output = render(values);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let mut result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let lint = result["lint"].as_array().unwrap();
    assert!(
        lint.iter().all(|one| one["error"] == "icon is recommended"),
        "{lint:?}"
    );
    match result["objects"].take() {
        Value::Array(objects) => objects,
        other => panic!("{other}"),
    }
}

fn render(values: &Value) -> Output {
    let python = std::env::var("TIDEGATE_TEST_PYTHON")
        .expect("TIDEGATE_TEST_PYTHON is not set: run tests/all");
    Command::new(python)
        .arg(path("tests/deploy/chart.py"))
        .arg(path("deploy/helm/tidegate"))
        .arg(values.to_string())
        .output()
        .unwrap()
}
