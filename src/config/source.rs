//! The texts that were read and places in them: every diagnostic points here.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use zeroize::Zeroizing;

use super::watched::Watched;

/// Longest configuration file, in bytes; a longer one is surely another file.
pub const LONGEST_FILE: u64 = 16 * 1024 * 1024;

/// Bytes `start..end` of the file with this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) file: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    /// The place of what stands in no file, such as a section that is absent.
    pub(super) const NOWHERE: Self = Self {
        file: 0,
        start: 0,
        end: 0,
    };
}

/// One text, with what is needed to name a place in it.
#[derive(Debug)]
pub(super) struct Source {
    /// The name that diagnostics show.
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// The same with `*` for what is not shown, if there is anything.
    covered: Option<String>,
    line_starts: Vec<usize>,
}

impl Source {
    pub(super) fn new(path: PathBuf, text: String) -> Self {
        let line_starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self {
            path,
            text,
            covered: None,
            line_starts,
        }
    }

    /// The text as it may be shown; all places are where they are.
    pub(super) fn shown(&self) -> &str {
        self.covered.as_deref().unwrap_or(&self.text)
    }

    /// The line, from 0, that holds this byte.
    pub(super) fn line_of(&self, at: usize) -> usize {
        self.line_starts
            .partition_point(|start| *start <= at)
            .saturating_sub(1)
    }

    /// Line and column, from 1; columns count characters, as editors do.
    pub(super) fn line_and_column(&self, at: usize) -> (usize, usize) {
        let line = self.line_of(at);
        let start = self.line_starts.get(line).copied().unwrap_or(0);
        let column = self
            .text
            .get(start..at)
            .map_or(0, |before| before.chars().count());
        (line + 1, column + 1)
    }

    /// Bytes of a line, its end included; empty past the last one.
    pub(super) fn line(&self, line: usize) -> std::ops::Range<usize> {
        let end = self.text.len();
        let start = self.line_starts.get(line).copied().unwrap_or(end);
        start..self.line_starts.get(line + 1).copied().unwrap_or(end)
    }
}

/// Everything that was read, and what a watcher has to watch.
#[derive(Debug, Default)]
pub(super) struct Sources {
    list: Vec<Arc<Source>>,
    pub(super) watched: Watched,
}

impl Sources {
    /// Takes a text in and gives its number.
    pub(super) fn add(&mut self, path: PathBuf, text: String) -> usize {
        self.list.push(Arc::new(Source::new(path, text)));
        self.list.len() - 1
    }

    /// Has what stands at this place shown only as `shown` makes it, which is
    /// as long.
    pub(super) fn cover(&mut self, at: Span, shown: impl Fn(&str) -> String) {
        let Some(source) = self.list.get_mut(at.file).and_then(Arc::get_mut) else {
            return;
        };
        let Some(shown) = source.shown().get(at.start..at.end).map(shown) else {
            return;
        };
        source
            .covered
            .get_or_insert_with(|| source.text.clone())
            .replace_range(at.start..at.end, &shown);
    }

    pub(super) fn get(&self, file: usize) -> Option<&Arc<Source>> {
        self.list.get(file)
    }

    /// Where relative names written at this place start.
    pub(super) fn beside(&self, span: Span, name: &str) -> PathBuf {
        let folder = self.get(span.file).and_then(|source| source.path.parent());
        folder.map_or_else(|| PathBuf::from(name), |folder| folder.join(name))
    }
}

/// Reads a text file of at most `most` bytes. The error is half a sentence for
/// the user: "cannot be read: ...".
pub(super) fn read(path: &Path, most: u64) -> Result<String, String> {
    let bytes =
        read_bytes(path, most).map_err(|error| format!("cannot be read: {}", reason(&error)))?;
    if bytes.len() as u64 > most {
        return Err(format!("is longer than {}", super::units::size_text(most)));
    }
    decoded(bytes)
}

/// The text that these bytes are, in UTF-8. The error is half a sentence: "is
/// UTF-16 and ...".
pub fn decoded(bytes: Vec<u8>) -> Result<String, String> {
    let zeros = bytes.iter().filter(|byte| **byte == 0).count();
    let is_wide =
        bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") || zeros * 3 > bytes.len();
    if is_wide {
        let name = if zeros * 3 > bytes.len() * 2 {
            "UTF-32"
        } else {
            "UTF-16"
        };
        return Err(format!(
            "is {name} and has to be UTF-8: save it anew in that encoding"
        ));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let (bytes, at) = (error.as_bytes(), error.utf8_error().valid_up_to());
        let line = bytes.iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
        match bytes.get(at) {
            Some(byte @ 0xa0..)
                if zeros == 0 && bytes.first().is_some_and(|first| first.is_ascii() && !first.is_ascii_control()) =>
            {
                let letter = char::from(*byte);
                format!("is not UTF-8: `{letter}` in line {line} is of Latin-1 or the like; save it anew as UTF-8")
            }
            _ => format!("is not text: byte {at} is not UTF-8"),
        }
    })?;
    if zeros == 0 {
        Ok(text)
    } else {
        Err("is not text: it holds bytes of 0".to_owned())
    }
}

/// Reads a file of at most `most` bytes, which are overwritten when they are
/// dropped. The error is as that of [`read`].
pub(super) fn read_secret(path: &Path, most: u64) -> Result<Zeroizing<Vec<u8>>, String> {
    let cannot = |error: io::Error| format!("cannot be read: {}", reason(&error));
    let file = open(path).map_err(cannot)?;
    let length = file.metadata().map_err(cannot)?.len().min(most);
    // All the room at once: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        usize::try_from(length).unwrap_or_default() + 1024,
    ));
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    if bytes.len() as u64 > most {
        return Err(format!("is longer than {}", super::units::size_text(most)));
    }
    Ok(bytes)
}

fn read_bytes(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than allowed tells "just fits" from "too long" without
    // believing the length in the folder.
    open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a regular file: to open a pipe that nobody writes to, or to read a
/// terminal, would wait for ever.
fn open(path: &Path) -> io::Result<File> {
    let about = fs::metadata(path)?;
    if about.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !about.is_file() {
        return Err(io::Error::other(
            "it is not a regular file, but a pipe, a socket or a device",
        ));
    }
    File::open(path)
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    }
}
