//! `tidegate import`: a configuration of NGINX as a file of tidegate.
//!
//! 1. `lexer` and `parser` make a `tree` of the source with the files that it
//!    includes, bounded in every direction. `dump` has those of `nginx -T`.
//! 2. `scope` says which directives count in a block, as NGINX inherits them.
//! 3. `translate` makes blocks of TOML from them: `listeners`, `upstreams`,
//!    `limits`, and with `servers` and `locations` the `routes`.
//! 4. `toml` has the file checked as `tidegate check` does, and turns each block
//!    that is refused into a comment.
//!
//! Each directive becomes a key or a comment: a reader marks it as read, or says
//! its fate in a note (`reasons`), and `notes` finds the others at the end. A
//! location whose action, or whose guard, has no counterpart becomes a route that
//! answers 501: its requests are never left to another route.

mod access;
mod actions;
mod certificates;
mod conditions;
mod dump;
mod exemptions;
mod glob;
mod group;
mod guards;
mod headers;
mod known;
mod leftovers;
mod lexer;
mod limits;
mod listeners;
mod locations;
mod look_around;
mod names;
mod notes;
mod parser;
mod paths;
mod pcre;
mod places;
mod ranks;
mod reading;
mod reasons;
mod redirects;
mod rewrites;
mod rewritten;
mod routes;
mod rows;
mod scope;
mod servers;
mod summary;
mod timing;
mod to_https;
mod toml;
mod translate;
mod tree;
mod trusted;
mod units;
mod upstreams;
mod variables;
mod whole;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod tests;

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use self::{paths::Paths, translate::Translation};
use super::output::{complain, fail, print};
use crate::config::LONGEST_FILE;

/// Translate a configuration of NGINX
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// nginx.conf with its includes, a file of sites-enabled, the output of
    /// `nginx -T`, or `-` for stdin
    #[arg(value_name = "FILE")]
    source: PathBuf,
    /// Where to write the result; relative names of certificates are adapted
    /// [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Exit with 1 if a line is not carried over
    #[arg(long)]
    strict: bool,
}

const EXAMPLES: &str = "\
Examples:
  tidegate import /etc/nginx/nginx.conf -o tidegate.toml
  tidegate import /etc/nginx/sites-enabled/shop > shop.toml
  ssh gate nginx -T | tidegate import -

Each line becomes a key or a comment with its file, line and reason. The result passes `tidegate check`, \
as soon as the certificates are there. Read its comments before it serves: see docs/from-nginx.md.

Exit status: 0 if a file was written, 1 if the source cannot be read (with --strict: or if a line is not carried over), \
2 for a wrong command line.";

/// The file name for stdin.
const STDIN: &str = "-";

/// Reads, translates and writes.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let source = match read(&arguments.source) {
        Ok(source) => source,
        Err(why) => return fail(why),
    };
    let tree = match parser::read(&source.name, &source.bytes, &source.folder) {
        Ok(tree) => tree,
        Err(mistake) => return fail(mistake),
    };
    if tree.directives.is_empty() && tree.without_files.is_empty() {
        return fail(format!("{} has no directives", source.name));
    }
    let paths = Paths::new(&tree.folder, arguments.output.as_deref());
    let target = arguments.output.clone();
    let name = target.unwrap_or_else(|| PathBuf::from("tidegate.toml"));
    let translation = match translate::translate(&tree, paths, &name) {
        Ok(translation) => translation,
        Err(why) => return fail(format!("{}: {why}", source.name)),
    };
    let written = summary::file(&source.name, &translation.document);
    if let Some(output) = &arguments.output {
        if let Err(error) = replace(output, &written) {
            return fail(format!("cannot write {} ({error})", output.display()));
        }
    } else if print(&written) != ExitCode::SUCCESS {
        return ExitCode::FAILURE;
    }
    told(&source.name, &translation);
    match arguments.strict && translation.document.counts().lost > 0 {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

/// Tells people the outcome, on stderr.
fn told(source: &str, translation: &Translation<'_>) {
    complain(format!(
        "{source}: {}",
        summary::sentence(&translation.document)
    ));
    for mistake in &translation.absent {
        complain(format!("`tidegate check` says on this machine: {mistake}"));
    }
}

/// A source as it was read.
struct Source {
    /// As comments name it.
    name: String,
    bytes: Vec<u8>,
    folder: PathBuf,
}

/// Reads the source.
///
/// # Errors
/// A sentence that says why it cannot be read.
fn read(file: &Path) -> Result<Source, String> {
    if file == Path::new(STDIN) {
        let mut bytes = Vec::new();
        let read = io::stdin()
            .lock()
            .take(LONGEST_FILE + 1)
            .read_to_end(&mut bytes);
        read.map_err(|error| format!("cannot read stdin ({error})"))?;
        return Ok(Source {
            name: "stdin".to_owned(),
            bytes,
            folder: PathBuf::new(),
        });
    }
    Ok(Source {
        name: file.display().to_string(),
        bytes: parser::bytes_of(file)?,
        folder: file.parent().map(Path::to_owned).unwrap_or_default(),
    })
}

/// Writes a file as a whole or not at all: a gateway may watch it.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", std::process::id()));
    let beside = folder.join(hidden);
    let mut opened = fs::File::create(&beside)?;
    let written = opened
        .write_all(text.as_bytes())
        .and_then(|()| opened.sync_all());
    written
        .and_then(|()| fs::rename(&beside, file))
        .inspect_err(|_| drop(fs::remove_file(&beside)))
}

/// The file that a source becomes, for tests and fuzzing. Includes start at a
/// folder that does not exist.
///
/// # Errors
/// Says why the source cannot be read or translated.
#[cfg(any(test, fuzzing))]
pub(super) fn imported(source: &[u8]) -> Result<String, String> {
    let folder = Path::new("/nonexistent");
    let tree = parser::read("nginx.conf", source, folder).map_err(|mistake| mistake.to_string())?;
    let paths = Paths::new(folder, None);
    let translation = translate::translate(&tree, paths, Path::new("tidegate.toml"))?;
    Ok(summary::file("nginx.conf", &translation.document))
}
