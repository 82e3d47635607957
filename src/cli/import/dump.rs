//! The output of `nginx -T`: all files of a configuration in one text, each
//! behind a line with its name.
//!
//! ```text
//! # configuration file /etc/nginx/nginx.conf:
//! http { include sites-enabled/*; }
//!
//! # configuration file /etc/nginx/sites-enabled/shop:
//! server { listen 80; }
//! ```

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{glob, parser::MOST_FILES};

/// The beginning and the end of the line before each file.
const MARK: (&str, &str) = ("# configuration file ", ":");
/// How lines begin that NGINX prints to stderr before the first file.
const SAID: &[u8] = b"nginx: ";

/// The files of a text.
#[derive(Debug)]
pub(super) struct Dump<'t> {
    first: &'t str,
    files: BTreeMap<&'t str, &'t [u8]>,
}

impl<'t> Dump<'t> {
    /// Splits a text; `None` if it does not begin with the name of a file.
    pub(super) fn of(text: &'t [u8]) -> Option<Self> {
        let mut files = BTreeMap::new();
        let mut first = None;
        // The present file, and where it begins.
        let mut open: Option<(&str, usize)> = None;
        let mut at = 0;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let begin = at;
            at += line.len();
            if let Some(name) = name(line) {
                if let Some((before, from)) = open.filter(|_| files.len() < MOST_FILES) {
                    files.entry(before).or_insert(&text[from..begin]);
                }
                first = first.or(Some(name));
                open = Some((name, at));
            } else if open.is_none() && !line.starts_with(SAID) {
                return None;
            }
        }
        let (name, from) = open?;
        files.entry(name).or_insert(&text[from..]);
        let first = first?;
        Some(Self { first, files })
    }

    /// The name of the first file.
    pub(super) fn name(&self) -> &'t str {
        self.first
    }

    /// The text of the first file.
    pub(super) fn text(&self) -> &'t [u8] {
        self.files.get(self.first).copied().unwrap_or_default()
    }

    /// The folder of the first file, where relative names start.
    pub(super) fn folder(&self) -> &'t Path {
        Path::new(self.first).parent().unwrap_or(Path::new(""))
    }

    /// The files that an `include` names, sorted by name. A name without a
    /// wildcard is returned whether or not there is such a file.
    pub(super) fn files(&self, pattern: &str) -> Vec<PathBuf> {
        let wanted = self.folder().join(pattern);
        if !glob::is_pattern(pattern) {
            return vec![wanted];
        }
        let wanted = wanted.to_string_lossy();
        let names = self.files.keys();
        let found = names.filter(|name| glob::is_match(&wanted, name));
        found.map(PathBuf::from).collect()
    }

    /// The text of a file.
    ///
    /// # Errors
    /// Says that the file is missing.
    pub(super) fn bytes_of(&self, file: &Path) -> Result<&'t [u8], String> {
        let found = file.to_str().and_then(|name| self.files.get(name));
        found.copied().ok_or_else(|| {
            let file = file.display();
            format!("{file} is not in this output of `nginx -T`")
        })
    }
}

/// The name in a line before a file.
fn name(line: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(line).ok()?.trim_end();
    let name = line.strip_prefix(MARK.0)?.strip_suffix(MARK.1)?;
    name.starts_with('/').then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "nginx: the configuration file /etc/nginx/nginx.conf syntax is ok
nginx: configuration file /etc/nginx/nginx.conf test is successful
# configuration file /etc/nginx/nginx.conf:
# a comment
include sites/*.conf;

# configuration file /etc/nginx/sites/b.conf:
b;
# configuration file /etc/nginx/sites/a.conf:
a;";

    #[test]
    fn the_files_of_an_output_are_found_by_name_and_by_pattern() {
        let dump = Dump::of(OUTPUT.as_bytes()).unwrap();
        assert_eq!(dump.name(), "/etc/nginx/nginx.conf");
        assert_eq!(dump.text(), b"# a comment\ninclude sites/*.conf;\n\n");
        let found = dump.files("sites/*.conf");
        let expected = ["/etc/nginx/sites/a.conf", "/etc/nginx/sites/b.conf"];
        assert_eq!(found, expected.map(PathBuf::from));
        assert_eq!(dump.bytes_of(&found[0]).unwrap(), b"a;");
        assert!(dump.files("/etc/nginx/*.conf").len() == 1);
        assert!(dump.bytes_of(Path::new("/etc/nginx/c")).is_err());
    }

    #[test]
    fn a_file_that_mentions_another_is_one_file() {
        for text in [
            "",
            "http {}\n# configuration file /a:\n",
            "# configuration file a:\n",
        ] {
            assert!(Dump::of(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn an_include_without_files_where_nginx_found_none_is_not_lost() {
        let text = "http { include none/*; server { return 204; } }";
        let made = |text: &str| super::super::imported(text.as_bytes()).unwrap();
        assert!(made(text).contains("no file has this name"));
        let dump = format!("# configuration file /etc/nginx/nginx.conf:\n{text}\n");
        assert!(!made(&dump).contains("no file has this name"));
    }
}
