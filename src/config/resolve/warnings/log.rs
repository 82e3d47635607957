//! Access lines that nobody gets, or that show too much.

use crate::config::{
    field::{Field, Given},
    problem::{Code, Problems},
    wire::File,
};
use crate::policy::is_secret_name;

/// Reports keys about access lines where there are none, and fields that are
/// named as secrets are.
pub(super) fn report(file: &File, problems: &mut Problems) {
    let Some(log) = file.log.value() else {
        return;
    };
    if log.access.value() == Some(&false) {
        let sample = log.sample.as_ref().map(Field::at);
        let fields = log.fields.entry().map(Field::at);
        let keys = log.keys.entry().map(Field::at);
        for at in [fields, keys, sample].into_iter().flatten() {
            let message = "no access line is written, as `access` is `false`";
            let help = "leave it out, or set `access = true`";
            problems.warn(Code::NoEffect, at, message, help);
        }
        return;
    }
    for field in log.fields.elements() {
        let Some(text) = field.value().map(|field| &field.text) else {
            continue;
        };
        let name = text.split_once(':').map_or("", |(_, name)| name);
        if is_secret_name(name) {
            let message = format!(
                "`{name}` is the name of a secret, and everybody who reads access lines gets it"
            );
            let help = "leave it out; `keys = true` tells clients apart by a hash";
            problems.warn(Code::Exposed, field.at(), message, help);
        }
    }
}
