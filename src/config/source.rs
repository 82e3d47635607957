//! The texts that were read and places in them: every diagnostic points here.
//!
//! A place is a [`Span`]: the number of a text in [`Sources`] and bytes of it.
//! Texts are kept whole until the diagnostics are written, which show lines of
//! them. Values that may be secrets are covered in the text that is shown, with
//! as many bytes, so that carets stay where they are.
//!
//! Files are read here, too, configuration and secrets alike: with a bound on
//! their length, and only if they are regular files. Reading blocks; it happens
//! before the workers start, or on the control thread during a reload.

use std::{
    fs::{self, File},
    io::{self, Read},
    ops::Range,
    path::{Path, PathBuf},
    string::FromUtf8Error,
    sync::Arc,
};

use zeroize::Zeroizing;

use super::watched::Watched;

/// Longest configuration file, in bytes; a longer one is surely another file.
pub const LONGEST_FILE: u64 = 16 * 1024 * 1024;

/// Bytes `start..end` of the text with the number `file` in [`Sources`].
///
/// 32 bits hold every place, as a file has at most [`LONGEST_FILE`] bytes. The
/// tree of a file has two places for each value, and is kept while its
/// configuration runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) file: u32,
    pub(super) start: u32,
    /// The byte behind the last one; equal to `start` for a place between two
    /// bytes.
    pub(super) end: u32,
}

impl Span {
    /// A place behind the first 4 GiB of a text, which no file has, becomes one
    /// at their end.
    pub(super) fn new(file: u32, bytes: Range<usize>) -> Self {
        let place = |byte| u32::try_from(byte).unwrap_or(u32::MAX);
        Self {
            file,
            start: place(bytes.start),
            end: place(bytes.end),
        }
    }

    /// The place in its text.
    pub(super) fn bytes(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The place of what stands in no file, such as a section that is absent.
    pub(super) const NOWHERE: Self = Self {
        file: 0,
        start: 0,
        end: 0,
    };
}

/// One text, with the beginnings of its lines, by which places are named.
#[derive(Debug)]
pub(super) struct Source {
    /// The name that diagnostics show.
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// The same with `*` for what is not shown, if there is anything.
    covered: Option<String>,
    /// The first byte of each line, ascending. The first is 0.
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
    ///
    /// Takes logarithmic time in the number of lines. A byte past the end is in
    /// the last line.
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
    pub(super) fn line(&self, line: usize) -> Range<usize> {
        let end = self.text.len();
        let start = self.line_starts.get(line).copied().unwrap_or(end);
        start..self.line_starts.get(line + 1).copied().unwrap_or(end)
    }

    /// A line, its end included; empty past the last one.
    pub(super) fn line_text(&self, line: usize) -> &str {
        self.text.get(self.line(line)).unwrap_or_default()
    }
}

/// Everything that was read, and what a watcher has to watch.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// The texts by their numbers, in the order in which they were read.
    list: Vec<Arc<Source>>,
    pub(super) watched: Watched,
}

impl Sources {
    /// Takes a text in and gives its number.
    pub(super) fn add(&mut self, path: PathBuf, text: String) -> u32 {
        let number = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        self.list.push(Arc::new(Source::new(path, text)));
        number
    }

    /// Covers the text at this place: diagnostics show the text that `shown`
    /// makes of it, which has to be as long.
    pub(super) fn cover(&mut self, at: Span, shown: impl Fn(&str) -> String) {
        let Some(source) = self.list.get_mut(at.file as usize).and_then(Arc::get_mut) else {
            return;
        };
        let Some(shown) = source.shown().get(at.bytes()).map(shown) else {
            return;
        };
        source
            .covered
            .get_or_insert_with(|| source.text.clone())
            .replace_range(at.bytes(), &shown);
    }

    /// The text with this number; `None` for [`Span::NOWHERE`] if nothing was
    /// read.
    pub(super) fn get(&self, file: u32) -> Option<&Arc<Source>> {
        self.list.get(file as usize)
    }

    /// The path that a file name written at this place means: relative names
    /// start at the folder of the file that they are written in.
    ///
    /// The name starts at the current folder if the place is in no text, or if
    /// the text has no folder.
    pub(super) fn beside(&self, span: Span, name: &str) -> PathBuf {
        let folder = self.get(span.file).and_then(|source| source.path.parent());
        folder.map_or_else(|| PathBuf::from(name), |folder| folder.join(name))
    }
}

/// Reads a text file of at most `most` bytes. Blocks.
///
/// # Errors
/// Half a sentence for the user, to follow the file's name: "cannot be read:
/// permission denied".
pub(super) fn read(path: &Path, most: u64) -> Result<String, String> {
    let mut bytes = read_secret(path, most)?;
    decoded(std::mem::take(&mut *bytes))
}

/// The text that these bytes are, in UTF-8.
///
/// # Errors
/// Half a sentence, to follow the file's name: "is UTF-16 and has to be UTF-8".
pub fn decoded(bytes: Vec<u8>) -> Result<String, String> {
    let zeros = bytes.iter().filter(|byte| **byte == 0).count();
    let has_mark = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    if has_mark || zeros * 3 > bytes.len() {
        let name = match zeros * 3 > bytes.len() * 2 {
            true => "UTF-32",
            false => "UTF-16",
        };
        return Err(format!(
            "is {name} and has to be UTF-8: save it anew in that encoding"
        ));
    }
    let text = String::from_utf8(bytes).map_err(|error| not_utf8(&error, zeros == 0))?;
    match zeros {
        0 => Ok(text),
        _ => Err("is not text: it holds bytes of 0".to_owned()),
    }
}

/// Tells the 8-bit encodings of old editors from files that are no text at all.
///
/// A letter of Latin-1 in a file that begins like a text is likely one of an
/// 8-bit encoding; the message names it and its line, so that it can be found.
fn not_utf8(error: &FromUtf8Error, may_be_text: bool) -> String {
    let (bytes, at) = (error.as_bytes(), error.utf8_error().valid_up_to());
    let line = bytes.iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
    let is_text = |first: &u8| first.is_ascii() && !first.is_ascii_control();
    match bytes.get(at) {
        Some(byte @ 0xa0..) if may_be_text && bytes.first().is_some_and(is_text) => {
            let letter = char::from(*byte);
            format!(
                "is not UTF-8: `{letter}` in line {line} is of Latin-1 or the like; save it anew as UTF-8"
            )
        }
        _ => format!("is not text: byte {at} is not UTF-8"),
    }
}

/// Reads a file of at most `most` bytes, which are overwritten when they are
/// dropped. Blocks.
///
/// # Errors
/// As [`read`].
pub(super) fn read_secret(path: &Path, most: u64) -> Result<Zeroizing<Vec<u8>>, String> {
    let bytes = read_up_to(path, most);
    let bytes = bytes.map_err(|error| format!("cannot be read: {}", reason(&error)))?;
    if bytes.len() as u64 > most {
        return Err(format!("is longer than {}", super::units::size_text(most)));
    }
    Ok(bytes)
}

/// At most one byte more than allowed, which tells "just fits" from "too long"
/// without believing the length in the folder.
fn read_up_to(path: &Path, most: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = open(path)?;
    let length = file.metadata()?.len().min(most);
    // All the room at once: a vector that grows leaves copies behind.
    let room = usize::try_from(length).unwrap_or_default() + 1024;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(most + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a regular file. Opening a pipe without a writer, or reading a terminal,
/// would wait for ever.
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

/// The reason for a failure in plain words, where the system's are not.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    }
}
