//! The reading of a tree: of one text, or of a file with the files that it
//! includes.
//!
//! Everything is bounded: the depth of blocks and of includes, and over all
//! files their number, their bytes and their directives. A mistake names its
//! file and line, and ends the reading, as it does in NGINX.

use std::{
    borrow::Cow,
    cell::Cell,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use super::{
    dump::Dump,
    glob,
    lexer::{Lexer, Token},
    tree::{Directive, Mistake, Place, Tree},
};

/// Blocks within blocks; NGINX itself has no more than six kinds of them.
const DEEPEST_BLOCK: usize = 32;
/// Files that include files.
const DEEPEST_INCLUDE: usize = 16;
/// Files that are read, counted as often as they are included.
pub(super) const MOST_FILES: usize = 10_000;
/// Bytes of all files.
const MOST_BYTES: u64 = 16 * 1024 * 1024;
/// Directives of all files.
const MOST_DIRECTIVES: usize = 500_000;

/// Bytes of a directive that are kept as the source has them, up to the end of a
/// word.
const LONGEST_WRITTEN: usize = 1024;

/// Directives that have a block, and those that have none: where one is
/// otherwise, a `;` or a brace is missing. `server` of an upstream has none, and
/// directives of modules may be either.
const WITH_BLOCK: [&str; 9] = [
    "http",
    "events",
    "location",
    "upstream",
    "if",
    "map",
    "geo",
    "types",
    "limit_except",
];
const WITHOUT_BLOCK: [&str; 22] = [
    "include",
    "listen",
    "server_name",
    "proxy_pass",
    "proxy_set_header",
    "add_header",
    "return",
    "rewrite",
    "root",
    "alias",
    "set",
    "allow",
    "deny",
    "limit_req_zone",
    "limit_req",
    "limit_conn_zone",
    "limit_conn",
    "ssl_certificate",
    "ssl_certificate_key",
    "try_files",
    "worker_processes",
    "client_max_body_size",
];

/// Reads a text with the files that it includes. `name` is how comments name
/// it, and `folder` is where relative names of files start, as it is in NGINX
/// the folder of its first file for all of them. The text may be what `nginx -T`
/// prints, which has all files and says their names.
///
/// # Errors
/// The first mistake, in any of the files.
pub(super) fn read(name: &str, text: &[u8], folder: &Path) -> Result<Tree, Mistake> {
    let dump = Dump::of(text);
    let (name, text, folder) = match &dump {
        Some(dump) => (dump.name(), dump.text(), dump.folder()),
        None => (name, text, folder),
    };
    let mut parser = Parser {
        folder,
        dump: dump.as_ref(),
        files: vec![name.to_owned()],
        open: Vec::new(),
        bytes: 0,
        directives: 0,
        patterns: 0,
        without_files: Vec::new(),
    };
    let directives = parser.text(text, 0, 0)?;
    Ok(Tree {
        directives,
        files: parser.files,
        folder: folder.to_owned(),
        without_files: parser.without_files,
    })
}

/// Reads a file up to the bound on all files.
///
/// # Errors
/// Says why it cannot be read.
pub(super) fn bytes_of(file: &Path) -> Result<Vec<u8>, String> {
    let told = |error: std::io::Error| format!("{} cannot be read ({error})", file.display());
    let opened = fs::File::open(file).map_err(told)?;
    if !opened.metadata().map_err(told)?.is_file() {
        return Err(format!("{} is not a file", file.display()));
    }
    let mut bytes = Vec::new();
    let mut limited = opened.take(MOST_BYTES + 1);
    limited.read_to_end(&mut bytes).map_err(told)?;
    Ok(bytes)
}

/// The state between two tokens.
struct Parser<'a> {
    folder: &'a Path,
    /// All files, if the text is that of several.
    dump: Option<&'a Dump<'a>>,
    files: Vec<String>,
    /// The files between the first one and the present one.
    open: Vec<PathBuf>,
    bytes: u64,
    directives: usize,
    /// Includes with a wildcard.
    patterns: usize,
    without_files: Vec<(Place, String)>,
}

impl Parser<'_> {
    fn mistake(&self, place: Place, why: impl Into<String>) -> Mistake {
        Mistake {
            place: format!("{}:{}", self.files[place.file], place.line),
            why: why.into(),
        }
    }

    /// The directives of one text, which has to close each block that it opens.
    /// `depth` is that of the block that it stands in.
    fn text(&mut self, text: &[u8], file: usize, depth: usize) -> Result<Vec<Directive>, Mistake> {
        let at = |line, offset| Place { file, line, offset };
        let mut place = at(1, 0);
        self.bytes = self.bytes.saturating_add(text.len() as u64);
        if self.bytes > MOST_BYTES {
            return Err(self.mistake(place, "all files together have more than 16 MiB"));
        }
        let mut lexer = Lexer::new(text);
        let mut blocks = Blocks::default();
        let mut words = Words::default();
        loop {
            let next = lexer.next();
            let (token, line) = next.map_err(|(line, why)| self.mistake(at(line, 0), why))?;
            let (offset, written) = lexer.written();
            let here = at(line, offset);
            match token {
                Token::Word(word) => {
                    if words.texts.is_empty() {
                        place = here;
                    }
                    words.add(word, offset, written);
                }
                Token::End => break,
                Token::Semicolon => {
                    let directive = self.directive(&mut words, place, here, ";")?;
                    let level = depth + blocks.open.len();
                    self.ended(directive, level, &mut blocks.inner)?;
                }
                Token::Open => {
                    let directive = self.directive(&mut words, place, here, "{")?;
                    if depth + blocks.open.len() >= DEEPEST_BLOCK {
                        let why = format!("more than {DEEPEST_BLOCK} blocks within blocks");
                        return Err(self.mistake(here, why));
                    }
                    let is_lua = directive.name.ends_with("_by_lua_block");
                    blocks.begin(directive);
                    if is_lua {
                        lexer.skip_lua().map_err(|why| self.mistake(place, why))?;
                        blocks.end(lexer.line());
                    }
                }
                Token::Close => {
                    if let Some(word) = words.texts.first() {
                        let why = format!("unexpected `}}`: `{word}` does not end with `;`");
                        return Err(self.mistake(place, why));
                    }
                    if !blocks.end(line) {
                        return Err(self.mistake(here, "unexpected `}`"));
                    }
                }
            }
        }
        self.whole(&words, place, blocks)
    }

    /// The directives of a text that has ended.
    fn whole(
        &self,
        words: &Words,
        place: Place,
        blocks: Blocks,
    ) -> Result<Vec<Directive>, Mistake> {
        if let Some(word) = words.texts.first() {
            let why = format!("the file ends within `{word}`, which does not end with `;`");
            return Err(self.mistake(place, why));
        }
        match blocks.open.last() {
            Some((owner, _)) => {
                let why = format!("the block of `{}` has no end", owner.name);
                Err(self.mistake(owner.place, why))
            }
            None => Ok(blocks.inner),
        }
    }

    /// The directive that `sign` ends or opens.
    fn directive(
        &mut self,
        words: &mut Words,
        place: Place,
        here: Place,
        sign: &str,
    ) -> Result<Directive, Mistake> {
        self.directives += 1;
        if self.directives > MOST_DIRECTIVES {
            return Err(self.mistake(here, format!("more than {MOST_DIRECTIVES} directives")));
        }
        let Words { texts, written, .. } = std::mem::take(words);
        let mut words = texts.into_iter();
        let name = words.next();
        let name = name.ok_or_else(|| self.mistake(here, format!("unexpected `{sign}`")))?;
        if sign == "{" && WITHOUT_BLOCK.contains(&name.as_str()) {
            let why = format!("unexpected `{{`: `{name}` does not end with `;`");
            return Err(self.mistake(place, why));
        }
        if sign == ";" && WITH_BLOCK.contains(&name.as_str()) {
            return Err(self.mistake(place, format!("`{name}` has no block")));
        }
        Ok(Directive {
            name,
            arguments: words.collect(),
            block: (sign == "{").then(Vec::new),
            place,
            end: here.line,
            written,
            is_read: Cell::new(false),
        })
    }

    /// Adds a directive without a block, or everything in the files that it
    /// includes.
    fn ended(
        &mut self,
        directive: Directive,
        depth: usize,
        into: &mut Vec<Directive>,
    ) -> Result<(), Mistake> {
        if directive.name != "include" {
            into.push(directive);
            return Ok(());
        }
        let place = directive.place;
        let [pattern] = directive.arguments.as_slice() else {
            return Err(self.mistake(place, "`include` has one argument"));
        };
        self.patterns += usize::from(glob::is_pattern(pattern));
        if self.patterns > MOST_FILES {
            let why = format!("more than {MOST_FILES} includes have a wildcard");
            return Err(self.mistake(place, why));
        }
        let found = match self.dump {
            Some(dump) => dump.files(pattern),
            None => {
                let found = glob::files(self.folder, pattern);
                found.map_err(|why| self.mistake(place, why))?
            }
        };
        // NGINX has found none, either, where it printed all of them.
        if found.is_empty() && self.dump.is_none() {
            self.without_files.push((place, pattern.clone()));
        }
        for path in found {
            into.append(&mut self.file(&path, place, depth)?);
        }
        Ok(())
    }

    /// The directives of a file that is included at this place.
    fn file(&mut self, path: &Path, from: Place, depth: usize) -> Result<Vec<Directive>, Mistake> {
        let shown = path.display();
        if self.files.len() >= MOST_FILES {
            return Err(self.mistake(from, format!("more than {MOST_FILES} files are included")));
        }
        if self.open.len() >= DEEPEST_INCLUDE {
            let why = format!("more than {DEEPEST_INCLUDE} files include one another");
            return Err(self.mistake(from, why));
        }
        let own_name = || path.to_owned();
        let (bytes, real) = match self.dump {
            // Links of this machine say nothing about files of another one.
            Some(dump) => (dump.bytes_of(path).map(Cow::Borrowed), own_name()),
            // The same file has several names.
            None => (
                bytes_of(path).map(Cow::Owned),
                fs::canonicalize(path).unwrap_or_else(|_| own_name()),
            ),
        };
        let bytes = bytes.map_err(|why| self.mistake(from, why))?;
        if self.open.contains(&real) {
            return Err(self.mistake(from, format!("{shown} includes itself")));
        }
        self.files.push(shown.to_string());
        self.open.push(real);
        let directives = self.text(&bytes, self.files.len() - 1, depth)?;
        self.open.pop();
        Ok(directives)
    }
}

/// The words of a directive whose end is not read yet.
#[derive(Default)]
struct Words {
    texts: Vec<String>,
    /// As the source has them.
    written: String,
    /// Where the last one ends.
    end: usize,
}

impl Words {
    /// Adds a word. Only what stands apart in the source is apart in a comment:
    /// the bracket in `"1")` is not.
    fn add(&mut self, word: String, offset: usize, written: &[u8]) {
        if self.written.len() < LONGEST_WRITTEN {
            if !self.texts.is_empty() && offset > self.end {
                self.written.push(' ');
            }
            self.written.push_str(&String::from_utf8_lossy(written));
        }
        self.texts.push(word);
        self.end = offset + written.len();
    }
}

/// The blocks that are open at a place of a text.
#[derive(Default)]
struct Blocks {
    /// The directives that own them, outermost first, each with the directives
    /// that stand before it.
    open: Vec<(Directive, Vec<Directive>)>,
    /// The directives of the innermost one.
    inner: Vec<Directive>,
}

impl Blocks {
    fn begin(&mut self, owner: Directive) {
        self.open.push((owner, std::mem::take(&mut self.inner)));
    }

    /// Whether there was a block to end.
    fn end(&mut self, line: u32) -> bool {
        let Some((mut owner, before)) = self.open.pop() else {
            return false;
        };
        owner.block = Some(std::mem::replace(&mut self.inner, before));
        owner.end = line;
        self.inner.push(owner);
        true
    }
}
