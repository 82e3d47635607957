//! `POST /reload`: asks for a reload, waits until every worker serves the new
//! table, and lists the changes.
//!
//! The outcome is the same as in the log. `tidegate reload` prints it.
//!
//! # Status and body
//!
//! The body is JSON with the member `outcome`: `reloaded`, `unchanged` or
//! `failed`. Each has its own further members, listed at `summary`, and a
//! client decides by the member rather than by the text of a message.
//!
//! # Order and cancellation
//!
//! The control thread reloads, one reload at a time; this function only asks
//! and waits. The listener's timeout may end the wait with 504 while the reload
//! goes on, and its outcome is then in the log alone.

use std::{collections::BTreeMap, sync::Arc};

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::response::{AdminResponse, json, problem};
use crate::{
    build::{Change, Report},
    reload::{Outcome, ReloadFailure, ReloadHandle},
};

/// Reloads the configuration. The status is 200 if it serves or is unchanged,
/// 422 if it has mistakes or cannot be applied, and 503 if the process is
/// ending. A caller that leaves does not end the reload.
pub(super) async fn reload(handle: &ReloadHandle) -> AdminResponse {
    match handle.reload().await {
        Some(outcome) => {
            let status = match outcome {
                Outcome::Failed(_) => StatusCode::UNPROCESSABLE_ENTITY,
                Outcome::Done { .. } | Outcome::Unchanged { .. } => StatusCode::OK,
            };
            json(status, &summary(&outcome))
        }
        None => problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "the gateway is ending and reads nothing any more",
        ),
    }
}

/// The outcome as JSON.
///
/// * `reloaded`: `sections` of the file that differ, `changes` by kind and
///   name, `notes` on changes that need a restart and on sockets that had lost
///   their file, and `warnings`.
/// * `unchanged`: `notes` on such sockets, and `warnings`, which are those of
///   the running configuration.
/// * `failed`: `error` as a text for people, and `diagnostics`, one for each
///   mistake. They are empty if no text of a file is at fault.
fn summary(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Done {
            report,
            sections,
            notes,
            warnings,
        } => json!({
            "outcome": "reloaded", "sections": sections, "changes": changes(report), "notes": notes, "warnings": warnings.to_json(),
        }),
        Outcome::Unchanged { notes, warnings } => {
            json!({ "outcome": "unchanged", "notes": notes, "warnings": warnings.to_json() })
        }
        Outcome::Failed(failure) => {
            let diagnostics = match failure {
                ReloadFailure::Mistakes(diagnostics) => diagnostics.to_json(),
                ReloadFailure::Impossible(_) => json!([]),
            };
            json!({ "outcome": "failed", "error": failure.to_string(), "diagnostics": diagnostics })
        }
    }
}

/// The names of the items that changed, by kind of item.
///
/// The kinds are `limits`, `identities`, `upstreams` and `routes`, and all of
/// them are always there.
fn changes(report: &Report) -> Value {
    let mut by_kind = Map::new();
    for (kind, changes) in report.kinds() {
        by_kind.insert(kind.to_owned(), by_change(changes));
    }
    Value::Object(by_kind)
}

/// The names by kind of change. Every kind is there, so that a caller need not
/// check whether it is.
///
/// Names are in alphabetical order. A name is in exactly one of the four
/// arrays.
fn by_change(changes: &BTreeMap<Arc<str>, Change>) -> Value {
    let mut by_change = Map::new();
    for kind in [Change::Kept, Change::Changed, Change::New, Change::Gone] {
        let mut names = Vec::new();
        for (name, change) in changes {
            if *change == kind {
                names.push(json!(&**name));
            }
        }
        by_change.insert(kind.word().to_owned(), Value::Array(names));
    }
    Value::Object(by_change)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_tells_for_each_kind_what_was_kept_changed_new_and_gone() {
        let report = Report {
            limits: [("a".into(), Change::Kept), ("b".into(), Change::Changed)].into(),
            identities: [("i".into(), Change::Changed)].into(),
            upstreams: [("u".into(), Change::Gone)].into(),
            routes: [("r".into(), Change::New)].into(),
        };
        let notes = vec!["restart".into()];
        let summary = summary(&Outcome::Done {
            report,
            sections: vec!["log"],
            notes,
            warnings: Arc::default(),
        });
        assert_eq!(
            summary,
            json!({
                "outcome": "reloaded",
                "sections": ["log"],
                "changes": {
                    "limits": { "kept": ["a"], "changed": ["b"], "new": [], "gone": [] },
                    "identities": { "kept": [], "changed": ["i"], "new": [], "gone": [] },
                    "upstreams": { "kept": [], "changed": [], "new": [], "gone": ["u"] },
                    "routes": { "kept": [], "changed": [], "new": ["r"], "gone": [] },
                },
                "notes": ["restart"],
                "warnings": [],
            })
        );
    }

    #[test]
    fn a_failure_gives_the_reason_even_where_no_line_of_a_file_is_to_blame() {
        let summary = summary(&Outcome::Failed(ReloadFailure::Impossible(
            "no such address".into(),
        )));
        assert_eq!(
            summary,
            json!({ "outcome": "failed", "error": "no such address", "diagnostics": [] })
        );
    }
}
