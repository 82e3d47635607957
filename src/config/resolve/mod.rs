//! From the structs of `wire` to the types of [`policy`](crate::policy): names
//! resolved, contradictions found.
//!
//! Each function returns `None` for what has a mistake, and goes on as far as
//! it can: later mistakes are wanted too.

mod concurrency;
mod defaults;
mod destinations;
mod limits;
mod matches;
mod overrides;
mod process;
mod references;
mod routes;
mod store;
mod tls;
mod transform;
mod upstreams;
mod warnings;

use std::{path::Path, sync::Arc};

use self::references::Names;
use super::{
    configuration::Config,
    de,
    diagnostic::Diagnostics,
    field::Given,
    include::Loading,
    problem::{Code, Problem},
    redact,
    source::Span,
    tree::Table,
    watched::Watched,
    wire::{self},
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
    let upstreams = all(upstreams::upstreams(&file.upstreams, loading));
    let limits = all(limits::limits(&file, &mut loading.problems));
    let routes = all(self::routes(&file, path, loading));
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
        upstreams: upstreams?,
        limits: limits?,
        routes: routes?,
        watched: Watched::default(),
        warnings: Arc::new(Diagnostics::default()),
        tree: Arc::new(table),
    };
    if !loading.problems.has_errors() {
        warnings::report(&file, &config, &mut loading.problems);
    }
    Some(config)
}

fn routes(file: &wire::File, path: &Path, loading: &mut Loading<'_>) -> Vec<Option<Route>> {
    let problems = &mut loading.problems;
    let fields = file.routes.elements();
    if fields.is_empty() && !file.routes.is_broken() && !problems.incomplete {
        let message = "nothing to serve: it has no route";
        problems.report(
            Problem::of_file(Code::NothingToServe, path.to_path_buf(), message).help(SMALLEST),
        );
    }
    let names = Names::of(file, problems);
    references::unique_names(fields, problems);
    let routes: Vec<_> = fields
        .iter()
        .map(|field| routes::route(field, &names, problems))
        .collect();
    matches::hidden(fields, &routes, problems);
    routes
}

/// All of them, or none; but only after each was looked at.
fn all<T>(items: Vec<Option<T>>) -> Option<Vec<Arc<T>>> {
    items.into_iter().map(|item| item.map(Arc::new)).collect()
}
