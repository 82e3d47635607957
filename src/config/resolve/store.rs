//! `[store]`, and the limits that need it.

use super::super::{
    field::{Field, Given},
    include::Loading,
    problem::{Code, Problems},
    source::{self, Span},
    wire::{
        self,
        limits::Scope,
        lists::OneOrList,
        process,
        syntaxes::{FileName, StoreAt},
        text::Text,
    },
};
use crate::policy::{Secret, Store};

/// Longest password file; a longer one is surely another file.
const LONGEST_PASSWORD: u64 = 4096;

/// `Some(None)` is none at all.
pub(super) fn store(file: &wire::File, loading: &mut Loading<'_>) -> Option<Option<Store>> {
    let Some(field) = &file.store else {
        needed(file, &mut loading.problems);
        return Some(None);
    };
    let store = field.value()?;
    let at = field.at();
    let mut servers = store.url.read()?;
    if let Some(password) = password(&store.password_file, at, loading)? {
        servers
            .iter_mut()
            .for_each(|server| server.password = Some(password.clone()));
    }
    let is_cluster = is_cluster(store);
    if is_cluster && servers.iter().any(|server| server.database != 0) {
        let message = "a cluster has no databases besides 0";
        loading.problems.error(
            Code::Conflict,
            store.url.place(at),
            message,
            "leave the number at the end of the URL out",
        );
    }
    if servers.is_empty() {
        return None;
    }
    Some(Some(Store {
        servers,
        is_cluster,
        timeout: store.timeout.read()?,
        on_error: store.on_error.value?,
        lease: store.lease.read()?,
    }))
}

/// A list of URLs is a cluster, also if it has only one.
fn is_cluster(store: &process::Store) -> bool {
    let url: &Field<OneOrList<Text<StoreAt>>> = &store.url;
    !OneOrList::is_one_alone(url)
}

/// Without a store no limit can be shared.
fn needed(file: &wire::File, problems: &mut Problems) {
    for entry in file.limits.elements() {
        let Some(limit) = entry.section.value() else {
            continue;
        };
        if limit.scope.value == Some(Scope::Shared) && !problems.incomplete {
            let name = &entry.name;
            let message =
                format!("limit `{name}` is shared, and there is no store to share it through");
            let help =
                "name it: `[store]` with `url = \"redis://127.0.0.1:6379\"`, or leave `scope` out";
            let at = limit.scope.place(entry.section.at());
            problems.error(Code::Conflict, at, message, help);
        }
    }
}

/// `Some(None)` is no file; the URL may hold a password then.
fn password(
    name: &Option<Field<Text<FileName>>>,
    at: Span,
    loading: &mut Loading<'_>,
) -> Option<Option<Secret>> {
    let Some(name) = name else {
        return Some(None);
    };
    let at = name.place(at);
    let file = loading.sources.beside(at, &name.value()?.text);
    loading.sources.watched.file(&file);
    // Only the end of the line is taken off: a password may begin or end with a
    // space.
    let read = source::read(&file, LONGEST_PASSWORD);
    let wrong = match read.map(|text| text.trim_end_matches(['\r', '\n']).to_owned()) {
        Ok(password) if !password.is_empty() && !password.contains(['\r', '\n']) => {
            return Some(Some(Secret(password)));
        }
        Ok(password) if password.is_empty() => "is empty".to_owned(),
        Ok(_) => "holds more than one line".to_owned(),
        Err(why) => why,
    };
    loading.problems.error(
        Code::Unreadable,
        at,
        format!("{} {wrong}", file.display()),
        "put the store's password into it, in one line",
    );
    None
}
