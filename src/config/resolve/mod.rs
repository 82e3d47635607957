//! From the structs of `wire` to the types of [`policy`](crate::policy): names
//! resolved, contradictions found.
//!
//! Each function returns `None` for what has a mistake, and goes on as far as
//! it can: later mistakes are wanted too.

mod checks;
mod concurrency;
mod defaults;
mod destinations;
mod files;
mod limits;
mod matches;
mod overrides;
mod process;
mod quota;
mod references;
mod routes;
mod store;
mod tls;
mod transform;
mod upstreams;
mod warnings;

use std::{path::Path, sync::Arc};

use self::{checks::Unique, references::Names};
use super::{
    configuration::Config,
    de,
    diagnostic::Diagnostics,
    field::{Field, Given},
    include::Loading,
    problem::{Code, Problem, Problems},
    redact,
    source::Span,
    tree::Table,
    watched::Watched,
    wire,
};
use crate::policy::Route;

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
    let client_ip = process::client_ip(&file.client_ip);
    let log = process::log(&file.log);
    let shutdown = process::shutdown(&file.shutdown);
    let upstreams = upstreams::upstreams(&file.upstreams, loading);
    let limits = limits::limits(&file, &mut loading.problems);
    let routes = self::routes(&file, path, loading);
    let store = store::store(&file, loading);
    let admin = process::admin(&file.admin, listeners.as_deref(), loading);

    let config = Config {
        server: server?,
        listeners: listeners?,
        client_ip: client_ip?,
        admin: admin?,
        store: store?,
        log: log?,
        shutdown: shutdown?,
        upstreams: shared(upstreams?),
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

fn routes(file: &wire::File, path: &Path, loading: &mut Loading<'_>) -> Option<Vec<Route>> {
    let problems = &mut loading.problems;
    let fields = file.routes.elements();
    if fields.is_empty() && !file.routes.is_broken() && !problems.incomplete {
        let message = "nothing to serve: it has no route";
        let problem = Problem::of_file(Code::NothingToServe, path.to_path_buf(), message);
        problems.report(problem.help(SMALLEST));
    }
    unique_names(fields, problems);
    let names = Names::of(file, problems);
    let mut routes = Vec::new();
    for field in fields {
        routes.push(routes::route(field, &names, problems));
    }
    matches::hidden(fields, &routes, problems);
    routes.into_iter().collect()
}

/// No two routes have one name.
fn unique_names(routes: &[Field<wire::routes::Route>], problems: &mut Problems) {
    let mut names = Unique::new();
    for route in routes.iter().filter_map(Given::value) {
        if let Some(name) = route.name.value() {
            let message = format!("two routes are named `{}`", name.value);
            let help =
                "a name is a route's identity in logs, metrics and over reloads; give each its own";
            names.check(&*name.value, route.name.at(), message, help, problems);
        }
    }
}

fn shared<T>(policies: Vec<T>) -> Vec<Arc<T>> {
    policies.into_iter().map(Arc::new).collect()
}
