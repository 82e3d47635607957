//! Routes for the tests of the table, and questions to a table of them.

use http::{HeaderName, HeaderValue, Method};

use super::super::{Found, Lookup, RouteTable};
use crate::{
    policy::{HostPattern, Match, PathPattern},
    telemetry::FixedFields,
};

/// Looks up requests in a table built from a slice of routes. The results are
/// positions in the slice.
pub(super) trait Routes {
    fn look_up(
        &self,
        host: &str,
        path: &[u8],
        method: &str,
        headers: &[(&'static str, &str)],
        query: &str,
    ) -> Option<Found>;

    fn found(
        &self,
        host: &str,
        path: &str,
        method: &str,
        headers: &[(&'static str, &str)],
        query: &str,
    ) -> Option<usize> {
        self.look_up(host, path.as_bytes(), method, headers, query)
            .map(|found| found.index)
    }

    fn asked(&self, host: &str, path: &str) -> Option<usize> {
        self.found(host, path, "GET", &[], "")
    }
}

impl Routes for [Match] {
    fn look_up(
        &self,
        host: &str,
        path: &[u8],
        method: &str,
        headers: &[(&'static str, &str)],
        query: &str,
    ) -> Option<Found> {
        let method: Method = method.parse().expect("a method");
        let headers = headers.iter().copied().collect();
        let asked = Lookup {
            host,
            path,
            method: &method,
            headers: &headers,
            query: Some(query.as_bytes()),
            listener: &FixedFields::listener("web".into()),
            client: [10, 0, 0, 1].into(),
        };
        RouteTable::build(self)
            .expect("expressions compile")
            .find(&asked)
    }
}

/// Adds conditions to a route one by one.
pub(super) trait Narrowed {
    fn path(self, path: PathPattern) -> Self;
    fn method(self, method: &str) -> Self;
    fn header(self, name: &'static str, value: &'static str) -> Self;
    fn query(self, name: &str, value: &str) -> Self;
}

impl Narrowed for Match {
    fn path(self, path: PathPattern) -> Self {
        Self { path, ..self }
    }

    fn method(mut self, method: &str) -> Self {
        self.methods.push(method.parse().expect("a method"));
        self
    }

    fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        ));
        self
    }

    fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }
}

pub(super) fn any() -> Match {
    Match::all()
}

pub(super) fn host(pattern: &str) -> Match {
    let pattern = match pattern.strip_prefix("*.") {
        Some(suffix) => HostPattern::Wildcard(suffix.into()),
        None => HostPattern::Exact(pattern.into()),
    };
    Match {
        hosts: vec![pattern],
        ..any()
    }
}

pub(super) fn path(path: PathPattern) -> Match {
    any().path(path)
}

pub(super) fn exact(path: &str) -> PathPattern {
    PathPattern::Exact(path.into())
}

pub(super) fn prefix(path: &str) -> PathPattern {
    PathPattern::Prefix(path.into())
}

pub(super) fn parameters(pattern: &str) -> PathPattern {
    PathPattern::Parameters(pattern.into())
}

pub(super) fn regex(pattern: &str) -> PathPattern {
    PathPattern::Regex(pattern.into())
}
