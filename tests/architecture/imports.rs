//! Which module may import which, and that a layer knows no other layer.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    names::Names,
    report,
    source::{Source, production},
};

/// Everything of ours that a module may name: itself always, and what stands on
/// the right.
const MAY_USE: &[(&str, &[&str])] = &[
    ("lib", &[]),
    ("main", &["cli", "app"]),
    // A command starts the application or talks to one.
    (
        "cli",
        &[
            "app",
            "reload",
            "config",
            "http_client",
            "policy",
            "telemetry",
            "tls",
            "admin",
        ],
    ),
    // The only file that knows every module.
    (
        "app",
        &[
            "acme",
            "admin",
            "runtime",
            "body",
            "build",
            "call",
            "config",
            "policy",
            "duration",
            "error",
            "gateway",
            "http1",
            "http2",
            "identity",
            "inherited",
            "layer",
            "limit",
            "message",
            "reload",
            "server",
            "store",
            "telemetry",
            "tls",
            "upstream",
            "watch",
        ],
    ),
    // Bans of addresses go from the limits to the listeners. The domains that
    // certificates are ordered for are those of the present configuration.
    (
        "reload",
        &[
            "acme",
            "build",
            "limit",
            "gateway",
            "config",
            "policy",
            "inherited",
            "server",
            "http1",
            "telemetry",
            "tls",
        ],
    ),
    (
        "admin",
        &[
            "acme",
            "build",
            "reload",
            "config",
            "policy",
            "http2",
            "identity",
            "limit",
            "server",
            "telemetry",
            "upstream",
            "duration",
            "http1",
        ],
    ),
    // Bytes become a request; what a route is, is not known here. Connections of
    // addresses that a limit has banned are closed.
    (
        "server",
        &[
            "runtime",
            "body",
            "error",
            "http1",
            "http2",
            "limit",
            "message",
            "policy",
            "telemetry",
            "tls",
        ],
    ),
    // Runs for each reload: from a configuration to something that serves.
    (
        "build",
        &[
            "acme",
            "call",
            "config",
            "error",
            "gateway",
            "identity",
            "layer",
            "limit",
            "policy",
            "store",
            "telemetry",
            "tls",
            "traces",
            "upstream",
        ],
    ),
    // Runs for each request; the policies come to it built. Authorities that
    // look for a challenge are responded to.
    (
        "gateway",
        &[
            "acme",
            "body",
            "call",
            "duration",
            "policy",
            "runtime",
            "error",
            "http1",
            "layer",
            "limit",
            "message",
            "telemetry",
            // A request belongs to a trace from its begin.
            "traces",
            "upstream",
        ],
    ),
    // Layers are built from `policy`: none of them sees the configuration.
    (
        "layer",
        &[
            "runtime",
            "body",
            "call",
            // Clients that ask for their quota are told whole seconds, as in
            // fields.
            "duration",
            "error",
            "http1",
            "identity",
            "limit",
            "message",
            "policy",
            // A retry waits for as long as a server asks.
            "retry_after",
            "store",
            "telemetry",
            // The cost of a response is read while its body passes.
            "usage",
        ],
    ),
    // Credentials are verified and remembered here. Keys of tokens are fetched.
    ("identity", &["http_client", "policy", "runtime"]),
    // Certificates are ordered, and shown by TLS. Waits are logged in words.
    (
        "acme",
        &["duration", "http_client", "policy", "retry_after", "tls"],
    ),
    // Where limits are counted that several gateways share.
    (
        "store",
        &["duration", "limit", "policy", "runtime", "telemetry"],
    ),
    // A request becomes bytes again. `call::Outgoing` is what it is handed.
    (
        "upstream",
        &[
            "runtime",
            "body",
            "call",
            "duration",
            "error",
            "http1",
            "http2",
            "message",
            "policy",
            // Checks by gRPC.
            "protobuf",
            // A server cools down for as long as it asks.
            "retry_after",
            "telemetry",
            "tls",
        ],
    ),
    (
        "call",
        &[
            "body",
            "duration",
            "error",
            "identity",
            "limit",
            "message",
            "policy",
            "runtime",
            "telemetry",
            // The notes on a request become its spans, as they become its line.
            "traces",
        ],
    ),
    // A connection's listener is named as access lines name it.
    ("message", &["body", "error", "http1", "telemetry", "tls"]),
    ("body", &["error", "runtime"]),
    // Heads are written into buffers that the thread keeps.
    ("http1", &["error", "policy", "runtime"]),
    ("http2", &["body", "error", "http1"]),
    // Leaves. Messages of any module say durations alike.
    ("runtime", &[]),
    // Every policy as plain data: the configuration resolves into it.
    ("policy", &[]),
    ("config", &["duration", "policy"]),
    ("duration", &[]),
    ("error", &["duration"]),
    // The address of a listener, which is TCP or a socket in the file system.
    ("inherited", &["policy"]),
    // Requests of the gateway's own go to servers that policies name.
    ("http_client", &["duration", "policy", "tls"]),
    ("protobuf", &[]),
    ("retry_after", &[]),
    ("limit", &["policy", "runtime"]),
    ("telemetry", &["policy", "runtime"]),
    ("tls", &["policy"]),
    // Spans are exported by HTTP, again after the time that a collector asks
    // for; those that are lost are counted.
    (
        "traces",
        &[
            "http_client",
            "policy",
            "protobuf",
            "retry_after",
            "telemetry",
        ],
    ),
    ("usage", &["policy"]),
    ("watch", &["config"]),
];

#[test]
fn modules_import_only_what_the_table_allows() {
    let table: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    let mut mistakes = Vec::new();
    for source in production() {
        let area = source.area();
        let Some(allowed) = table.get(area) else {
            mistakes.push(format!(
                "{}: module `{area}` is not in the table",
                source.shown
            ));
            continue;
        };
        for Named { line, path } in named(source) {
            let to = path[0].as_str();
            if table.contains_key(to) && to != area && !allowed.contains(&to) {
                mistakes.push(format!(
                    "{}:{line}: `{area}` may not use `{to}`",
                    source.shown
                ));
            }
        }
    }
    report(&mistakes);
}

/// Files beside the layers that are no layer: what several of them need.
const SHARED_BY_LAYERS: &[&str] = &[
    "content",
    "key",
    "one_of",
    "refused_at_once",
    "response_changes",
    "rewrite",
];

#[test]
fn a_layer_knows_no_other_layer() {
    let layer_of = |module: &[String]| match module {
        [area, layer, ..] if area == "layer" => Some(layer.clone()),
        _ => None,
    };
    let files: Vec<_> = production()
        .filter(|source| layer_of(&source.module).is_some())
        .collect();
    let layers: BTreeSet<_> = files
        .iter()
        .filter_map(|source| layer_of(&source.module))
        .collect();
    assert!(layers.len() > 3, "found only {layers:?}");
    let names = Names::of_the_crate();
    let mut mistakes = Vec::new();
    for source in files {
        let own = layer_of(&source.module).unwrap();
        for Named { line, path } in named(source) {
            for file in names.files(&[], &path) {
                let module = production().find(|source| source.shown == file);
                let other = module.and_then(|source| layer_of(&source.module));
                let is_foreign =
                    |other: &String| *other != own && !SHARED_BY_LAYERS.contains(&other.as_str());
                if other.as_ref().is_some_and(is_foreign) {
                    mistakes.push(format!(
                        "{}:{line}: a layer names another: `{}`",
                        source.shown,
                        path.join("::")
                    ));
                }
            }
        }
    }
    report(&mistakes);
}

/// A path from the root of the crate.
pub struct Named {
    pub line: usize,
    pub path: Vec<String>,
}

/// The paths of a file that begin with `crate`, `self` or `super`, and in
/// `main.rs` with the name of the crate.
pub fn named(source: &Source) -> Vec<Named> {
    let facts = &source.facts;
    let imports = facts
        .imports
        .iter()
        .map(|import| (import.line, &import.module, &import.path));
    let mentions = facts
        .mentions
        .iter()
        .map(|mention| (mention.line, &mention.module, &mention.path));
    let mut found = Vec::new();
    for (line, module, path) in imports.chain(mentions) {
        let path = match path.split_first() {
            Some((name, rest)) if name == "tidegate" => Some(rest.to_vec()),
            Some(_) => Names::absolute(module, path),
            None => None,
        };
        if let Some(path) = path.filter(|path| !path.is_empty()) {
            found.push(Named { line, path });
        }
    }
    found
}
