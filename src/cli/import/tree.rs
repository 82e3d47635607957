//! A configuration of NGINX as a tree of directives, of one text or of a file
//! with the files that it includes.
//!
//! Everything is bounded: the depth of blocks and of includes, and over all
//! files their number, their bytes and their directives. A mistake names its
//! file and line, and ends the reading, as it does in NGINX.

use std::{
    fmt, fs,
    io::Read,
    path::{Path, PathBuf},
};

use super::{
    glob,
    lexer::{Lexer, Token},
};

/// Blocks within blocks; NGINX itself has no more than six kinds of them.
const DEEPEST_BLOCK: usize = 32;
/// Files that include files.
const DEEPEST_INCLUDE: usize = 16;
/// Files that are read, counted as often as they are included.
const MOST_FILES: usize = 10_000;
/// Bytes of all files.
const MOST_BYTES: u64 = 16 * 1024 * 1024;
/// Directives of all files.
const MOST_DIRECTIVES: usize = 500_000;

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

/// A directive with everything that belongs to it.
#[derive(Debug, Clone)]
pub(super) struct Directive {
    pub(super) name: String,
    /// Without quotes and escapes.
    pub(super) arguments: Vec<String>,
    /// The directives between its braces; `None` for one that ends with `;`. Code
    /// of Lua is left out.
    pub(super) block: Option<Vec<Directive>>,
    pub(super) place: Place,
    /// The line of its last sign.
    pub(super) end: u32,
}

/// Where a directive begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// An index into the files of the [`Tree`].
    pub(super) file: usize,
    /// From 1.
    pub(super) line: u32,
}

impl Directive {
    /// The argument, or an empty text.
    pub(super) fn argument(&self, at: usize) -> &str {
        self.arguments.get(at).map_or("", String::as_str)
    }

    /// The directives between its braces.
    pub(super) fn inside(&self) -> &[Directive] {
        self.block.as_deref().unwrap_or_default()
    }
}

/// All directives, with includes replaced by what they name.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) directives: Vec<Directive>,
    /// The names of the files that were read, as comments show them.
    pub(super) files: Vec<String>,
    /// Patterns of `include` that no file has.
    pub(super) without_files: Vec<(Place, String)>,
}

impl Tree {
    /// `nginx.conf:12`
    pub(super) fn shown(&self, place: Place) -> String {
        let file = self.files.get(place.file).map_or("", String::as_str);
        format!("{file}:{}", place.line)
    }
}

/// Why a configuration cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    /// The file, and where it is about a line, the line.
    pub(super) place: String,
    /// A sentence without a full stop.
    pub(super) why: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.why)
    }
}

/// Reads a text with the files that it includes. `name` is how comments name
/// it, and `folder` is where relative names of files start, as it is in NGINX
/// the folder of its first file for all of them.
///
/// # Errors
/// The first mistake, in any of the files.
pub(super) fn read(name: &str, text: &[u8], folder: &Path) -> Result<Tree, Mistake> {
    let mut reading = Reading {
        folder,
        files: vec![name.to_owned()],
        open: Vec::new(),
        bytes: 0,
        directives: 0,
        without_files: Vec::new(),
    };
    let directives = reading.text(text, 0, 0)?;
    Ok(Tree {
        directives,
        files: reading.files,
        without_files: reading.without_files,
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

/// The state of the reading.
struct Reading<'a> {
    folder: &'a Path,
    files: Vec<String>,
    /// The files between the first one and the present one.
    open: Vec<PathBuf>,
    bytes: u64,
    directives: usize,
    without_files: Vec<(Place, String)>,
}

impl Reading<'_> {
    fn mistake(&self, place: Place, why: impl Into<String>) -> Mistake {
        Mistake {
            place: format!("{}:{}", self.files[place.file], place.line),
            why: why.into(),
        }
    }

    /// The directives of one text, which has to close each block that it opens.
    /// `depth` is that of the block that it stands in.
    fn text(&mut self, text: &[u8], file: usize, depth: usize) -> Result<Vec<Directive>, Mistake> {
        let mut place = Place { file, line: 1 };
        self.bytes = self.bytes.saturating_add(text.len() as u64);
        if self.bytes > MOST_BYTES {
            return Err(self.mistake(place, "all files together have more than 16 MiB"));
        }
        let mut lexer = Lexer::new(text);
        let mut blocks = Blocks::default();
        let mut words: Vec<String> = Vec::new();
        loop {
            let next = lexer.next();
            let (token, line) =
                next.map_err(|(line, why)| self.mistake(Place { file, line }, why))?;
            let here = Place { file, line };
            match token {
                Token::Word(word) => {
                    if words.is_empty() {
                        place = here;
                    }
                    words.push(word);
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
                    if let Some(word) = words.first() {
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
        words: &[String],
        place: Place,
        blocks: Blocks,
    ) -> Result<Vec<Directive>, Mistake> {
        if let Some(word) = words.first() {
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
        words: &mut Vec<String>,
        place: Place,
        here: Place,
        sign: &str,
    ) -> Result<Directive, Mistake> {
        self.directives += 1;
        if self.directives > MOST_DIRECTIVES {
            return Err(self.mistake(here, format!("more than {MOST_DIRECTIVES} directives")));
        }
        let mut words = std::mem::take(words).into_iter();
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
        let found = glob::files(self.folder, pattern).map_err(|why| self.mistake(place, why))?;
        if found.is_empty() {
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
        let bytes = bytes_of(path).map_err(|why| self.mistake(from, why))?;
        // The same file has several names.
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
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
