//! `[routes.refusal]`: the files with bodies are read, taken apart and watched.
//!
//! A file that many routes name, as those of `[defaults]` do, is read once, and
//! all of them share what was read. Reading blocks; it is done while a
//! configuration is loaded, on a thread that serves no requests.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use http::header;

use super::{checks::Unique, files};
use crate::config::{
    field::{Field, Given, Nested},
    include::Loading,
    problem::{Code, Problem},
    source,
    syntax::body,
    wire::{
        refusal as wire,
        scalar::Scalar,
        syntaxes::{BodyFile, StatusOrClass},
    },
};
use crate::policy::{BodiesOfStatus, Refusal, RefusalBody, Statuses};

/// Longest file with a body, in bytes. Refusals are many where a gateway is
/// overloaded, and a page has its pictures elsewhere.
const LONGEST_BODY: u64 = 64 * 1024;

/// Bodies that were read, by their files; `None` for one with a mistake, which
/// was reported.
#[derive(Default)]
pub(super) struct KnownBodies(HashMap<PathBuf, Option<Arc<RefusalBody>>>);

/// Fields and bodies of the refusals of a route, `Some(None)` where it has no
/// such section.
pub(super) fn refusal(
    entry: &Nested<wire::Refusal>,
    known: &mut KnownBodies,
    loading: &mut Loading<'_>,
) -> Option<Option<Refusal>> {
    let Some(field) = entry else {
        return Some(None);
    };
    let refusal = field.value()?;
    if refusal.bodies.is_broken() {
        return None;
    }
    check_headers(refusal, loading);
    let mut bodies = Vec::new();
    for pair in refusal.bodies.elements() {
        let files = pair.field.elements().iter();
        let read: Vec<_> = files.map(|file| known.read(file, loading)).collect();
        check_types(pair.field.elements(), loading);
        let statuses = statuses(&pair.name, loading);
        let read: Option<Vec<_>> = read.into_iter().collect();
        bodies.push(BodiesOfStatus {
            statuses: statuses?,
            bodies: read.filter(|bodies| !bodies.is_empty())?,
        });
    }
    // A single status is part of a class, and comes first.
    bodies.sort_by_key(|bodies| bodies.statuses.last - bodies.statuses.first);
    Some(Some(Refusal {
        headers: refusal.headers.optional()?.unwrap_or_default(),
        bodies,
    }))
}

/// The statuses of a body. A refusal is an error to its client: other statuses
/// have no body of their own.
fn statuses(name: &Field<Scalar<StatusOrClass>>, loading: &mut Loading<'_>) -> Option<Statuses> {
    let statuses = name.read()?;
    if statuses.first < 400 {
        let text = name.value().map_or("", |name| &name.text);
        let message = format!("no refusal has the status {text}");
        let help = "write one such as \"429\", or \"4xx\" or \"5xx\"";
        let problems = &mut loading.problems;
        problems.error(Code::NeverMatches, name.at(), message, help);
        return None;
    }
    Some(statuses)
}

/// The type of a body is told by its file, and no field is set twice.
fn check_headers(refusal: &wire::Refusal, loading: &mut Loading<'_>) {
    let problems = &mut loading.problems;
    let mut names = Unique::new();
    for pair in refusal.headers.elements() {
        let Some(name) = pair.name.read() else {
            continue;
        };
        let at = pair.name.at();
        if name == header::CONTENT_TYPE {
            let message = "the type of a refusal is that of its body";
            let help = "leave it out; the extension of a file in `bodies` tells its type";
            problems.error(Code::Conflict, at, message, help);
        }
        let message = format!("the header {name} is set twice");
        let help = "names of headers are the same in any case; keep one of the two";
        names.check(name, at, message, help, problems);
    }
}

/// No two files for one status have the same type: no client could get the
/// second.
fn check_types(files: &[Field<Scalar<BodyFile>>], loading: &mut Loading<'_>) {
    let mut kinds = Unique::new();
    for file in files {
        if let Some(kind) = file.read() {
            let message = format!(
                "two bodies of the type {} for one status",
                kind.media_type()
            );
            let help = "keep one of each type";
            kinds.check(kind, file.at(), message, help, &mut loading.problems);
        }
    }
}

impl KnownBodies {
    /// The body in a file, which is watched from now on. `None` after a mistake
    /// in it, which is reported once for each place that names it.
    fn read(
        &mut self,
        name: &Field<Scalar<BodyFile>>,
        loading: &mut Loading<'_>,
    ) -> Option<Arc<RefusalBody>> {
        let kind = name.read()?;
        let file = files::watched(name, loading)?;
        if let Some(known) = self.0.get(&file) {
            return known.clone();
        }
        let shown = file.display();
        let mut faults = Vec::new();
        let body = match source::read(&file, LONGEST_BODY) {
            Err(why) => {
                faults.push(Problem::new(
                    Code::Unreadable,
                    name.at(),
                    format!("{shown} {why}"),
                ));
                None
            }
            Ok(text) => match body::parse(kind, &text) {
                Ok(body) => Some(Arc::new(body)),
                Err(found) => {
                    for fault in found {
                        let message = format!("{shown}:{} {}", fault.line, fault.wrong.why);
                        let problem = Problem::new(Code::BadValue, name.at(), message);
                        faults.push(problem.help(fault.wrong.help));
                    }
                    None
                }
            },
        };
        for fault in faults {
            loading.problems.report(fault);
        }
        self.0.insert(file, body.clone());
        body
    }
}
