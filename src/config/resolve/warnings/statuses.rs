//! Statuses that are listed beside their class: `"503"` beside `"5xx"`. Such a
//! list means what it says, but its author may think that the status makes a
//! difference.

use crate::config::{
    field::{Field, Given},
    problem::{Code, Problems},
    syntax::header,
    wire::{
        File,
        scalar::{Scalar, Syntax},
        tables::SwitchOr,
    },
};

/// Reports them in the lists of upstreams and limits. Those of `[log] sample`
/// are no list: the status has a share of its own there.
pub(super) fn report(file: &File, problems: &mut Problems) {
    for upstream in file.upstreams.elements() {
        let Some(upstream) = upstream.field.value() else {
            continue;
        };
        if let Some(SwitchOr::Other(statuses)) = upstream.cool_down.value() {
            beside_class(statuses, problems);
        }
        if let Some(ejection) = upstream.ejection.value() {
            beside_class(ejection.on.elements(), problems);
        }
        if let Some(check) = upstream.health_check.value() {
            beside_class(check.statuses.elements(), problems);
        }
    }
    for limit in file.limits.elements() {
        if let Some(limit) = limit.field.value() {
            beside_class(limit.count.elements(), problems);
        }
    }
}

/// Reports statuses of a list that a class in it has already.
fn beside_class<S: Syntax>(list: &[Field<Scalar<S>>], problems: &mut Problems) {
    let texts = || {
        list.iter()
            .filter_map(|item| Some((item, &*item.value()?.text)))
    };
    for (item, text) in texts() {
        let Some(status) = header::statuses(text)
            .ok()
            .filter(|one| one.first == one.last)
        else {
            continue;
        };
        let class = format!("{}xx", status.first / 100);
        if texts().any(|(_, other)| other == class) {
            let message = format!("`{text}` is one of `{class}`, which stands there, too");
            problems.warn(Code::NoEffect, item.at(), message, "keep one of the two");
        }
    }
}
