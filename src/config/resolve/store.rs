//! `[store]`, and the limits that need it.

use super::{
    super::{
        include::Loading,
        problem::{Code, Problem, Problems},
        source,
        syntax::store,
        units,
    },
    reader::Reader,
};
use crate::policy::{Secret, Store, StoreOnError};

/// Longest password file; a longer one is surely another file.
const LONGEST_PASSWORD: u64 = 4096;

/// `Some(None)` is none at all.
pub(super) fn store(root: &Reader<'_>, loading: &mut Loading<'_>) -> Option<Option<Store>> {
    if root.entry("store").is_none() {
        needed(root, &mut loading.problems);
        return Some(None);
    }
    let reader = root.table("store");
    let mut servers = reader.list("url", store::server);
    let is_cluster = !reader.items("url").is_empty()
        && reader.given("url").and_then(|node| node.text()).is_none();
    if let Some(password) = password(&reader, loading)? {
        servers
            .iter_mut()
            .for_each(|server| server.password = Some(password.clone()));
    }
    if is_cluster && servers.iter().any(|server| server.database != 0) {
        let problem = Problem::new(
            Code::Conflict,
            reader.place("url"),
            "a cluster has no databases besides 0",
        );
        loading
            .problems
            .report(problem.help("leave the number at the end of the URL out"));
    }
    if servers.is_empty() {
        return None;
    }
    Some(Some(Store {
        servers,
        is_cluster,
        timeout: reader.parsed("timeout", units::duration)?,
        on_error: match reader.text("on_error")? {
            "allow" => StoreOnError::Allow,
            "deny" => StoreOnError::Deny,
            _ => StoreOnError::Local,
        },
        lease: reader.parsed("lease", units::share)?,
    }))
}

/// Without a store no limit can be shared.
fn needed(root: &Reader<'_>, problems: &mut Problems) {
    for (name, limit) in root.named("limits") {
        if limit.text("scope") == Some("shared") && !problems.incomplete {
            let message =
                format!("limit `{name}` is shared, and there is no store to share it through");
            let help =
                "name it: `[store]` with `url = \"redis://127.0.0.1:6379\"`, or leave `scope` out";
            problems.report(Problem::new(Code::Conflict, limit.place("scope"), message).help(help));
        }
    }
}

/// `Some(None)` is no file; the URL may hold a password then.
fn password(reader: &Reader<'_>, loading: &mut Loading<'_>) -> Option<Option<Secret>> {
    if reader.entry("password_file").is_none() {
        return Some(None);
    }
    let at = reader.place("password_file");
    let file = loading.sources.beside(at, reader.text("password_file")?);
    loading.sources.watched.file(&file);
    // Only the end of the line is taken off: a password may begin or end with a space.
    let read = source::read(&file, LONGEST_PASSWORD);
    let wrong = match read.map(|text| text.trim_end_matches(['\r', '\n']).to_owned()) {
        Ok(password) if !password.is_empty() && !password.contains(['\r', '\n']) => {
            return Some(Some(Secret(password)));
        }
        Ok(password) if password.is_empty() => "is empty".to_owned(),
        Ok(_) => "holds more than one line".to_owned(),
        Err(why) => why,
    };
    let problem = Problem::new(Code::Unreadable, at, format!("{} {wrong}", file.display()));
    loading
        .problems
        .report(problem.help("put the store's password into it, in one line"));
    None
}
