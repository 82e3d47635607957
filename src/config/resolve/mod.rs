//! From a checked tree to the types of `model`: defaults filled in, names resolved, contradictions found.
//!
//! Each function answers `None` for what has a mistake, and goes on as far as it can: later mistakes are wanted too.

mod concurrency;
mod defaults;
mod destinations;
mod limits;
mod matches;
mod overrides;
mod process;
mod reader;
mod references;
mod routes;
mod store;
mod tls;
mod transform;
mod upstreams;
mod warnings;

use std::{path::Path, sync::Arc};

use self::{reader::Reader, references::Names};
use super::{
    Config,
    diagnostic::Diagnostics,
    include::Loading,
    problem::{Code, Problem, Problems},
    schema::process::FILE_ITSELF,
    source::Span,
    tree::Table,
    watched::Watched,
};
use crate::policy::{Limit, Route};

const SMALLEST: &str = "the smallest useful file is one upstream and one route:

[upstreams.app]
servers = [\"http://127.0.0.1:9000\"]

[[routes]]
name = \"app\"
upstream = \"app\"";

/// Builds the configuration; `None` after a mistake that leaves a hole in it. Mistakes go to `loading.problems`.
pub(super) fn config(path: &Path, mut table: Table, loading: &mut Loading<'_>) -> Option<Config> {
    let origin = Span {
        file: 0,
        start: 0,
        end: 0,
    };
    defaults::fill_in(&mut table, origin);
    let root = Reader::new(&FILE_ITSELF, &table, origin);

    let server = process::server(root.table("server"), loading);
    let listeners = process::listeners(root.tables("listeners"), loading);
    let client_ip = process::client_ip(root.table("client_ip"));
    let log = process::log(root.table("log"));
    let shutdown = process::shutdown(root.table("shutdown"));
    let upstreams = all(root
        .named("upstreams")
        .into_iter()
        .map(|(name, reader)| upstreams::upstream(name, reader, loading)));
    let limits = limits(&root, &mut loading.problems);
    let routes = self::routes(&root, path, loading);
    let store = store::store(&root, loading);
    let admin = process::admin(root.table("admin"), listeners.as_deref(), loading);

    let mut config = Config {
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
        tree: Arc::default(),
    };
    if !loading.problems.has_errors() {
        warnings::report(&root, &config, &mut loading.problems);
    }
    config.tree = Arc::new(table);
    Some(config)
}

fn limits(root: &Reader<'_>, problems: &mut Problems) -> Option<Vec<Arc<Limit>>> {
    let readers = root.named("limits");
    limits::unique_names(&readers, problems);
    limits::need_a_place(&readers, root.table("server"), problems);
    all(readers
        .into_iter()
        .map(|(name, reader)| limits::limit(name, reader, problems)))
}

fn routes(root: &Reader<'_>, path: &Path, loading: &mut Loading<'_>) -> Option<Vec<Arc<Route>>> {
    let problems = &mut loading.problems;
    let readers = root.tables("routes");
    if readers.is_empty() && !root.is_broken("routes") && !problems.incomplete {
        let message = "nothing to serve: it has no route";
        problems.report(
            Problem::of_file(Code::NothingToServe, path.to_path_buf(), message).help(SMALLEST),
        );
    }
    let names = Names::of(root, problems);
    references::unique_names(&readers, problems);
    let routes: Vec<_> = readers
        .iter()
        .map(|reader| routes::route(*reader, &names, problems))
        .collect();
    matches::hidden(&readers, &routes, problems);
    all(routes.into_iter())
}

/// All of them, or none; but only after each was looked at.
fn all<T>(items: impl Iterator<Item = Option<T>>) -> Option<Vec<Arc<T>>> {
    let items: Vec<Option<T>> = items.collect();
    items.into_iter().map(|item| item.map(Arc::new)).collect()
}
