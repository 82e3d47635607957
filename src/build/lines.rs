//! How the access lines of each route are written.

use std::sync::Arc;

use super::{limits, state::Process};
use crate::{
    call::{LineChoices, RouteLines, query::LoggedQuery},
    config::Config,
    policy,
    telemetry::FixedFields,
};

/// Makes the access lines of routes, for one worker.
pub(super) struct AccessLines<'a> {
    config: &'a Config,
    process: &'a Process,
    /// Shared by all routes.
    choices: Option<Arc<LineChoices>>,
}

impl<'a> AccessLines<'a> {
    /// Access lines as `config` wants them, written to the log of `process`.
    pub(super) fn new(config: &'a Config, process: &'a Process) -> Self {
        Self {
            config,
            process,
            choices: LineChoices::new(&config.log).map(Arc::new),
        }
    }

    /// The access lines of a route, whose limits have these names; `None` if
    /// none are written.
    pub(super) fn of_route(
        &self,
        route: &policy::Route,
        limits: &[Arc<str>],
    ) -> Option<RouteLines> {
        self.lines(Some(&route.name), limits, query_secrets(route, self.config))
    }

    /// The access lines of requests that no route matches.
    pub(super) fn of_others(&self) -> Option<RouteLines> {
        self.lines(None, &[], credentials(self.config))
    }

    /// Access lines in which the query parameters `masked` have no value.
    fn lines(
        &self,
        route: Option<&Arc<str>>,
        limits: &[Arc<str>],
        masked: Vec<Box<str>>,
    ) -> Option<RouteLines> {
        let log = &self.config.log;
        log.access.then(|| RouteLines {
            log: self.process.access.clone(),
            route: route.cloned().map(FixedFields::route),
            limits: limits.iter().cloned().map(FixedFields::limit).collect(),
            query: LoggedQuery::new(log.query, masked.into()),
            choices: self.choices.clone(),
        })
    }
}

/// The query parameters whose values say who the client of a route is: they are
/// parts of keys, or credentials.
pub(super) fn query_secrets(route: &policy::Route, config: &Config) -> Vec<Box<str>> {
    let mut names = limits::query_keys(route, config);
    names.extend(credentials(config));
    names
}

/// The query parameters that are credentials of an identity. A client may send
/// one to any path, also to one that no route matches.
pub(super) fn credentials(config: &Config) -> Vec<Box<str>> {
    let places = config.identities.iter().flat_map(|identity| &identity.from);
    let name = |place: &policy::CredentialPlace| match place {
        policy::CredentialPlace::Query(name) => Some(name.clone()),
        _ => None,
    };
    places.filter_map(name).collect()
}
