//! Files that the configuration names: certificates, keys, a token, a password.
//!
//! A name is relative to the folder of the file that names it, so that a
//! configuration can be moved as a whole. Each file is watched, also one that
//! cannot be read or holds nonsense: its repair is the change that a failed
//! reload waits for.

use std::path::PathBuf;

use crate::config::{
    field::{Field, Given},
    include::Loading,
    problem::Code,
    source,
    wire::{
        scalar::{Scalar, Syntax},
        syntaxes::FileName,
    },
};
use crate::policy::Secret;

/// Longest file with a secret, in bytes; a longer one is surely another file.
const LONGEST_SECRET: u64 = 4096;

/// The path of a file that a key names, which is watched from now on. `None` if
/// the key is wrong.
pub(super) fn watched<S: Syntax>(
    name: &Field<Scalar<S>>,
    loading: &mut Loading<'_>,
) -> Option<PathBuf> {
    let file = loading.sources.beside(name.at(), &name.value()?.text);
    loading.sources.watched.file(&file);
    Some(file)
}

/// The secret in a file that a key names.
///
/// `pick` takes it out of the text of the file, or says why there is none,
/// completing "FILE ...". An empty secret is a mistake. Messages show the name
/// of the file and never its content.
pub(super) fn secret(
    name: &Field<Scalar<FileName>>,
    pick: fn(&str) -> Result<&str, &'static str>,
    help: &str,
    loading: &mut Loading<'_>,
) -> Option<Secret> {
    let file = watched(name, loading)?;
    let text = source::read(&file, LONGEST_SECRET);
    let why = match text.as_deref().map(pick) {
        Ok(Ok("")) => "is empty",
        Ok(Ok(secret)) => return Some(Secret(secret.to_owned())),
        Ok(Err(why)) => why,
        Err(why) => why.as_str(),
    };
    let message = format!("{} {why}", file.display());
    let problems = &mut loading.problems;
    problems.error(Code::Unreadable, name.at(), message, help);
    None
}

/// The secret in a file, as [`secret`] picks it. It may begin or end with a space, so that only the
/// end of the line is taken off, which editors and `echo` write.
///
/// The error completes a sentence that begins with the name of the file. An
/// empty file is refused by the caller.
pub(super) fn one_line(text: &str) -> Result<&str, &'static str> {
    let line = text.trim_end_matches(['\r', '\n']);
    match line.contains(['\r', '\n']) {
        true => Err("holds more than one line"),
        false => Ok(line),
    }
}
