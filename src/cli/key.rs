//! `tidegate key`: makes, lists and removes API keys in a file, which a gateway
//! that watches it reads again.
//!
//! A key is printed once, when it is made. The file has its SHA-256 only, so
//! that whoever reads the file cannot use the keys.
//!
//! # Changes
//!
//! The file is changed as text: what a person has written beside the keys
//! stays. A changed file takes the place of the old one in one step, with the
//! owner, group and mode of the old one, so that a gateway never reads half of
//! it, and still may read it. A lock keeps two commands apart.

use std::{
    fs::{self, File, Metadata, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    process::ExitCode,
};

use aws_lc_rs::digest::{SHA256, digest};
use clap::{Args, Subcommand};
use rustix::fs::{FlockOperation, flock};

use super::{
    arguments::quoted,
    output::{complain, fail, print},
};
use crate::config::api_keys::{self, KeyMistake};

/// Make, list and remove API keys
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

const EXAMPLES: &str = "\
Examples:
  tidegate key new --file partners.keys.toml --name acme --plan gold    print a new key, once
  tidegate key new --file partners.keys.toml --name acme --add          a second one, to replace the first
  tidegate key list --file partners.keys.toml                           names, plans and digests
  tidegate key remove --file partners.keys.toml --name acme             refuse its keys from now on

The file has the SHA-256 of each key and not the key. A gateway that runs with it reads it again at once.";

#[derive(Debug, Subcommand)]
enum Action {
    New(New),
    List(List),
    Remove(Remove),
}

/// Make a key, print it once, and add its digest to the file
#[derive(Debug, Args)]
struct New {
    /// File of API keys; created if it is absent, readable by its owner only
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Name of the owner: the id of the client in limits, logs and headers
    #[arg(short, long, value_name = "NAME")]
    name: String,
    /// Plan of the owner, by which limits may have other numbers
    #[arg(short, long, value_name = "PLAN", conflicts_with = "add")]
    plan: Option<String>,
    /// Claim of the owner; may be given several times, and several with one NAME are a list
    #[arg(short, long, value_name = "NAME=VALUE", conflicts_with = "add")]
    claim: Vec<String>,
    /// Add a further key of an owner that is in the file
    #[arg(long)]
    add: bool,
}

/// List the owners of keys
#[derive(Debug, Args)]
struct List {
    /// File of API keys
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
}

/// Remove an owner with all of its keys
#[derive(Debug, Args)]
struct Remove {
    /// File of API keys
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Name of the owner
    #[arg(short, long, value_name = "NAME")]
    name: String,
}

/// Runs the command, and returns its exit status.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let printed = match &arguments.action {
        Action::New(new) => add(new),
        Action::List(List { file }) => list(file),
        Action::Remove(Remove { file, name }) => remove(file, name),
    };
    match printed {
        Ok(text) => print(&text),
        Err(why) => fail(why),
    }
}

/// Makes a key.
///
/// # Errors
/// A sentence for the user.
fn add(new: &New) -> Result<String, String> {
    let _lock = lock(&new.file)?;
    let text = match fs::read_to_string(&new.file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text.map_err(|error| unreadable(&new.file, &error))?,
    };
    check(&new.file, &text)?;
    let key = format!("tgk_{}", hex(&rand::random::<[u8; 32]>()));
    let sha256 = hex(digest(&SHA256, key.as_bytes()).as_ref());
    let changed = match (position(&text, &new.name), new.add) {
        (None, false) => appended(text, &entry(new, &sha256)?),
        (Some(piece), true) => with_digest(&text, piece, &sha256)?,
        (Some(_), false) => {
            return Err(format!(
                "{} has an owner `{}` already; `--add` gives it a further key, `tidegate key remove` removes it",
                new.file.display(),
                new.name
            ));
        }
        (None, true) => return Err(unknown(&new.file, &new.name)),
    };
    check(&new.file, &changed)?;
    replace(&new.file, &changed)?;
    Ok(format!("{key}\n"))
}

/// The lines of a new key.
///
/// # Errors
/// A claim without a name or a value.
fn entry(new: &New, sha256: &str) -> Result<String, String> {
    let mut lines = format!(
        "[[keys]]\nname = {}\nsha256 = \"{sha256}\"\n",
        toml_text(&new.name)
    );
    if let Some(plan) = &new.plan {
        lines += &format!("plan = {}\n", toml_text(plan));
    }
    let mut claims: Vec<(&str, Vec<String>)> = Vec::new();
    for claim in &new.claim {
        let (name, value) = claim
            .split_once('=')
            .filter(|(name, value)| !name.is_empty() && !value.is_empty())
            .ok_or_else(|| format!("`--claim {claim}` is not NAME=VALUE, such as org=acme"))?;
        match claims.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(toml_text(value)),
            None => claims.push((name, vec![toml_text(value)])),
        }
    }
    if !claims.is_empty() {
        let claims: Vec<_> = claims.iter().map(claim_text).collect();
        lines += &format!("claims = {{ {} }}\n", claims.join(", "));
    }
    Ok(lines)
}

/// A claim with its values, which are TOML: one is a string, several are a list.
fn claim_text((name, values): &(&str, Vec<String>)) -> String {
    let name = toml_text(name);
    match &values[..] {
        [value] => format!("{name} = {value}"),
        values => format!("{name} = [{}]", values.join(", ")),
    }
}

/// A TOML string. A file of keys fills in no variables, so that `$` needs no
/// escape.
fn toml_text(text: &str) -> String {
    quoted(text).replace("$${", "${")
}

/// The text with another entry at its end.
fn appended(mut text: String, entry: &str) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text + entry
}

/// The text in which the owner in this piece has a further digest.
///
/// # Errors
/// The line of `sha256` is not in the form that this command writes.
fn with_digest(text: &str, piece: usize, sha256: &str) -> Result<String, String> {
    let mut changed = String::with_capacity(text.len() + 80);
    for (index, one) in api_keys::pieces(text).enumerate() {
        if index != piece {
            changed += one.text;
            continue;
        }
        let line = one
            .text
            .split_inclusive('\n')
            .find(|line| line.starts_with("sha256 ="))
            .ok_or("the digest of this owner does not stand in a line of its own that begins with `sha256 =`; add the new one to it by hand")?;
        let value = line.trim_start_matches("sha256 =").trim();
        let known = value.trim_start_matches('[').trim_end_matches(']').trim();
        let known = known.trim_end_matches(',');
        let new = format!("sha256 = [{known}, \"{sha256}\"]\n");
        changed += &one.text.replacen(line, &new, 1);
    }
    Ok(changed)
}

/// Lists owners, one in each line.
///
/// # Errors
/// The file cannot be read, or has mistakes.
fn list(file: &Path) -> Result<String, String> {
    let text = read(file)?;
    check(file, &text)?;
    let mut lines = String::new();
    for owner in api_keys::owners(&text) {
        let plan = owner.plan.as_deref().unwrap_or("-");
        let digests: Vec<_> = owner.digests.iter().map(|one| &one[..12]).collect();
        lines += &format!("{}\t{plan}\t{}\n", owner.name, digests.join(" "));
    }
    Ok(lines)
}

/// Removes an owner.
///
/// # Errors
/// There is none of this name, or the file cannot be read or written.
fn remove(file: &Path, name: &str) -> Result<String, String> {
    let _lock = lock(file)?;
    let text = read(file)?;
    check(file, &text)?;
    let piece = position(&text, name).ok_or_else(|| unknown(file, name))?;
    let pieces = api_keys::pieces(&text).enumerate();
    let kept = pieces.filter(|(index, _)| *index != piece);
    let mut kept: String = kept.map(|(_, piece)| piece.text).collect();
    if kept.trim().is_empty() {
        // A gateway takes an empty file for one that is being written.
        kept = "# no keys\n".to_owned();
    }
    replace(file, &kept)?;
    Ok(String::new())
}

/// The index of the piece that has the owner of this name.
fn position(text: &str, name: &str) -> Option<usize> {
    let mut pieces = api_keys::pieces(text);
    pieces.position(|piece| api_keys::name_of(piece.text).as_deref() == Some(name))
}

/// Refuses a file that a gateway would refuse.
fn check(file: &Path, text: &str) -> Result<(), String> {
    let told = |mistakes: Vec<KeyMistake>| {
        let file = file.display();
        let lines = mistakes.iter().map(|mistake| format!("{file} {mistake}"));
        lines.collect::<Vec<_>>().join("\n")
    };
    api_keys::parse(text).map(drop).map_err(told)
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| unreadable(file, &error))
}

fn unreadable(file: &Path, error: &io::Error) -> String {
    format!("{} cannot be read: {error}", file.display())
}

fn unknown(file: &Path, name: &str) -> String {
    format!("{} has no owner `{name}`", file.display())
}

/// Keeps other commands from the file as long as it lives. The lock is on its
/// folder, as the file itself is replaced, and leaves nothing behind.
fn lock(file: &Path) -> Result<File, String> {
    let file = target(file);
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let failed = |error: io::Error| {
        let (folder, file) = (folder.display(), file.display());
        format!("{folder}, the folder of {file}, cannot be locked: {error}")
    };
    let lock = File::open(folder).map_err(failed)?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
    Ok(lock)
}

/// The file that a link leads to. A link stays one, as a mounted volume may have
/// it.
fn target(file: &Path) -> PathBuf {
    fs::canonicalize(file).unwrap_or_else(|_| file.to_path_buf())
}

/// Writes a file in one step, with the owner, group and mode of the one before
/// it. Says so on stderr if they cannot be kept.
fn replace(file: &Path, text: &str) -> Result<(), String> {
    let failed = |error: io::Error| format!("{} cannot be written: {error}", file.display());
    let file = &target(file);
    let before = fs::metadata(file).ok();
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    // A command that was killed may have left one.
    let _not_there = fs::remove_file(&new);
    let mut written = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&new)
        .map_err(failed)?;
    let put = |written: &mut File| {
        written.write_all(text.as_bytes())?;
        let is_kept = match &before {
            Some(before) => keep_rights(written, before)?,
            None => true,
        };
        written.sync_all()?;
        fs::rename(&new, file)?;
        Ok(is_kept)
    };
    match put(&mut written) {
        Ok(true) => Ok(()),
        Ok(false) => {
            complain(format!(
                "warning: {} had another owner or group, which only root can give it; see that the gateway may still read it",
                file.display()
            ));
            Ok(())
        }
        Err(error) => {
            let _is_gone = fs::remove_file(&new);
            Err(failed(error))
        }
    }
}

/// Gives a new file the owner, group and mode of the one `before` it. False if
/// this user may not give it the owner or the group.
fn keep_rights(new: &File, before: &Metadata) -> io::Result<bool> {
    let now = new.metadata()?;
    let has_group = now.gid() == before.gid() || fchown(new, None, Some(before.gid())).is_ok();
    new.set_permissions(Permissions::from_mode(before.mode() & 0o777))?;
    let has_owner = now.uid() == before.uid() || fchown(new, Some(before.uid()), None).is_ok();
    Ok(has_group && has_owner)
}

/// Lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
