//! From the structs of `wire` to the types of [`policy`](crate::policy): names
//! resolved, contradictions found.
//!
//! A value of `wire` is sound by itself: its text was parsed when it was
//! deserialized. This module looks at several of them together. It checks that
//! names lead somewhere, that keys do not contradict each other, and that files
//! hold what they should, and then builds the value that runs. Nothing behind
//! it checks a configuration again.
//!
//! # Every mistake at once
//!
//! No function here stops at a mistake, because a user wants to mend all of
//! them before the next try. So the functions follow one form:
//!
//! * A mistake goes to [`Problems`], with its place and with help. The function
//!   returns `None` only after a mistake was reported, here or by the
//!   deserializer, and says nothing about it a second time.
//! * Everything that can be checked without the wrong value is checked before
//!   the `?` that ends the function. That is why values are first resolved into
//!   variables and unwrapped where the policy is built.
//! * An optional section that is absent is `Some(None)`. Keys with defaults are
//!   read as if the file had them, through [`section`](super::field::section).
//!
//! While [`Problems::incomplete`] is set, a part of a file could not be read.
//! Anything may stand in it, so that nothing is reported as missing then.
//!
//! # Steps
//!
//! 1. [`defaults`] copies `[defaults]` under each route, in the tree, so that
//!    routes are deserialized with the values that they inherit.
//! 2. Sections are resolved in the order of dependence: routes name upstreams
//!    and limits, and `[admin]` has an address beside those of the listeners.
//! 3. [`warnings`] looks for settings that are allowed but probably a mistake,
//!    but only in a file without errors: a name that is misspelt in one place
//!    would seem to be unused in another.

mod acme;
mod allowance;
mod checks;
mod concurrency;
mod cors;
mod cost;
mod defaults;
mod definition;
mod destinations;
mod files;
mod forward;
mod health;
mod identities;
mod jwt;
mod limits;
mod log;
mod matches;
mod overrides;
mod process;
mod references;
mod refusal;
mod routes;
mod store;
mod tiers;
mod tls;
mod traces;
mod transform;
mod upstreams;
mod warnings;

use std::{path::Path, sync::Arc};

use self::{checks::Unique, references::Definitions, refusal::KnownBodies};
use super::{
    configuration::Config,
    de,
    diagnostic::Diagnostics,
    field::Given,
    include::Loading,
    problem::{Code, Problem, Problems},
    redact,
    source::Span,
    tree::Table,
    watched::Watched,
    wire,
};
use crate::policy::Route;

/// Help for a file without a route, which is usually an empty file.
const SMALLEST: &str = "the smallest useful file is one upstream and one route:

[upstreams.app]
servers = [\"http://127.0.0.1:9000\"]

[[routes]]
name = \"app\"
upstream = \"app\"";

/// Builds the configuration; `None` after a mistake that leaves a hole in it.
/// Mistakes go to `loading.problems`.
pub(super) fn config(path: &Path, mut table: Table, loading: &mut Loading<'_>) -> Option<Config> {
    let origin = Span::NOWHERE;
    redact::of_file(&table, &mut loading.problems.covered);
    defaults::fill_in(&mut table, origin, &mut loading.problems);
    let (file, table) = de::read::<wire::File>(table, origin, &mut loading.problems);

    let server = process::server(&file.server, loading);
    let listeners = process::listeners(&file.listeners, loading);
    acme::check(&file, &mut loading.problems);
    let client_ip = process::client_ip(&file.client_ip);
    let problems = &mut loading.problems;
    let traces = file
        .traces
        .if_given(|traces| traces::traces(traces, problems));
    let shutdown = process::shutdown(&file.shutdown);
    let upstreams = upstreams::upstreams(&file.upstreams, loading);
    let limits = limits::limits(&file, &mut loading.problems);
    let identities = identities::identities(&file, limits.as_deref(), loading);
    let log = log::log(&file.log, identities.as_deref(), &mut loading.problems);
    let routes = self::routes(&file, path, loading);
    let store = file.store.if_given(|store| store::store(store, loading));
    let admin = process::admin(&file.admin, listeners.as_deref(), loading);

    let config = Config {
        server: server?,
        listeners: listeners?,
        client_ip: client_ip?,
        admin: admin?,
        store: store?,
        log: log?,
        traces: traces?,
        shutdown: shutdown?,
        upstreams: shared(upstreams?),
        identities: shared(identities?),
        limits: shared(limits?),
        routes: shared(routes?),
        watched: Watched::default(),
        warnings: Arc::new(Diagnostics::default()),
        tree: Arc::new(table),
    };
    if !loading.problems.has_errors() {
        warnings::report(&file, &config, &mut loading.problems);
    }
    Some(config)
}

/// Resolves `[[routes]]`, and compares routes with each other: two of one name
/// or with the same requests cannot both be meant.
fn routes(file: &wire::File, path: &Path, loading: &mut Loading<'_>) -> Option<Vec<Route>> {
    let problems = &mut loading.problems;
    let fields = file.routes.elements();
    let is_served = |listener: &wire::process::Listener| process::redirects(listener).is_none();
    let is_none = fields.is_empty() && !file.routes.is_broken() && !problems.incomplete;
    if is_none && file.listeners.values().any(is_served) {
        let message = "nothing to serve: it has no route";
        let problem = Problem::of_file(Code::NothingToServe, path.to_path_buf(), message);
        problems.report(problem.help(SMALLEST));
    }
    unique_names(file, problems);
    let names = Definitions::of(file, problems);
    let mut bodies = KnownBodies::default();
    let route = |field| routes::route(field, &names, &mut bodies, loading);
    let routes: Vec<_> = fields.iter().map(route).collect();
    matches::hidden(fields, &routes, &mut loading.problems);
    routes.into_iter().collect()
}

/// No two routes have one name.
fn unique_names(file: &wire::File, problems: &mut Problems) {
    let mut names = Unique::new();
    for route in file.routes.values() {
        if let Some(name) = route.name.value() {
            let message = format!("two routes are named `{}`", name.value);
            let help =
                "a name is a route's identity in logs, metrics and over reloads; give each its own";
            names.check(&*name.value, route.name.at(), message, help, problems);
        }
    }
}

/// Policies as the running parts hold them: a reload compares and keeps them
/// one by one.
fn shared<T>(policies: Vec<T>) -> Vec<Arc<T>> {
    policies.into_iter().map(Arc::new).collect()
}
