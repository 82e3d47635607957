//! The parts that record requests: the exporter, which outlives reloads that do
//! not concern it, and the facts about routes that spans show.

use std::sync::Arc;

use super::{
    error::BuildError,
    state::{Process, State},
};
use crate::{
    call::{TracedRoute, query::LoggedQuery},
    config::Config,
    policy::{LogQuery, PathPattern},
    traces::{Exporter, Tracer},
};

/// The exporter: that of `earlier` if it sends to the same collector in the same
/// way, with its queue and its connection. `None` without `[traces]`.
///
/// # Errors
/// [`BuildError::Traces`].
pub(super) fn exporter(
    config: &Config,
    earlier: Option<&State>,
    process: &Process,
) -> Result<Option<Arc<Exporter>>, BuildError> {
    let Some(traces) = &config.traces else {
        return Ok(None);
    };
    let kept = earlier.and_then(|earlier| earlier.exporter.as_ref());
    if let Some(kept) = kept.filter(|kept| kept.implements(&traces.export)) {
        return Ok(Some(Arc::clone(kept)));
    }
    let started = Exporter::start(traces.export.clone(), process.metrics.traces());
    let exporter = started.map_err(BuildError::Traces)?;
    Ok(Some(Arc::new(exporter)))
}

/// Begins the traces of one worker's requests; `None` without `[traces]`.
pub(super) fn tracer(state: &State) -> Option<Tracer> {
    let sampling = state.config.traces.as_ref()?.sampling;
    let exporter = Arc::clone(state.exporter.as_ref()?);
    Some(Tracer::new(sampling, exporter))
}

/// The facts about a route that spans show; `None` without `[traces]`. `path` is
/// `None` for requests that no route takes, and `secrets` are the parameters of
/// a query that are masked.
pub(super) fn route(
    path: Option<&PathPattern>,
    secrets: Arc<[Box<str>]>,
    config: &Config,
) -> Option<Box<TracedRoute>> {
    config.traces.as_ref()?;
    // Spans go to many more people than logs.
    let query = match config.log.query {
        LogQuery::Off => LogQuery::Off,
        LogQuery::Masked | LogQuery::Full => LogQuery::Masked,
    };
    Some(Box::new(TracedRoute {
        path: path.map(template),
        query: LoggedQuery::new(query, secrets),
    }))
}

/// The paths of a route as a template. `*` stands for any further segments.
fn template(path: &PathPattern) -> Arc<str> {
    match path {
        PathPattern::Any => "/*".into(),
        PathPattern::Prefix(prefix) => format!("{prefix}/*").into(),
        PathPattern::Exact(text) | PathPattern::Parameters(text) | PathPattern::Regex(text) => {
            text.as_str().into()
        }
    }
}
