//! Files that the configuration names. Their names are relative to the file
//! that names them, and each is watched, also if it cannot be read: a repair is
//! a change, too.

use std::path::PathBuf;

use crate::config::{
    field::{Field, Given},
    include::Loading,
    problem::Code,
    source,
    wire::{
        syntaxes::FileName,
        text::{Syntax, Text},
    },
};
use crate::policy::Secret;

/// Longest file with a secret, in bytes; a longer one is surely another file.
const LONGEST_SECRET: u64 = 4096;

/// The path of a file that is named, which is watched from now on.
pub(super) fn watched<S: Syntax>(
    name: &Field<Text<S>>,
    loading: &mut Loading<'_>,
) -> Option<PathBuf> {
    let file = loading.sources.beside(name.at(), &name.value()?.text);
    loading.sources.watched.file(&file);
    Some(file)
}

/// The secret in a file. `pick` takes it out of the text, or says why there is
/// none; an empty secret is none.
pub(super) fn secret(
    name: &Field<Text<FileName>>,
    pick: fn(&str) -> Result<&str, &'static str>,
    help: &str,
    loading: &mut Loading<'_>,
) -> Option<Secret> {
    let file = watched(name, loading)?;
    let why = match source::read(&file, LONGEST_SECRET) {
        Ok(text) => match pick(&text) {
            Ok("") => "is empty".to_owned(),
            Ok(secret) => return Some(Secret(secret.to_owned())),
            Err(why) => why.to_owned(),
        },
        Err(why) => why,
    };
    let message = format!("{} {why}", file.display());
    loading
        .problems
        .error(Code::Unreadable, name.at(), message, help);
    None
}
