//! The files that an `include` names, as `glob(3)` finds them.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

/// Entries of folders that are looked at for one pattern.
const MOST_ENTRIES: usize = 100_000;

/// The files, sorted by name. A pattern may match none; a name without a
/// wildcard is returned whether or not there is such a file.
///
/// # Errors
/// A folder with more entries than any configuration has.
pub(super) fn files(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    if !is_pattern(pattern) {
        return Ok(vec![folder.join(pattern)]);
    }
    let mut found = vec![match pattern.starts_with('/') {
        true => PathBuf::from("/"),
        false => folder.to_owned(),
    }];
    let mut left = MOST_ENTRIES;
    for component in Path::new(pattern).components() {
        let Component::Normal(name) = component else {
            if component == Component::ParentDir {
                found.iter_mut().for_each(|path| path.push(".."));
            }
            continue;
        };
        let name = name.to_string_lossy();
        if !is_pattern(&name) {
            found.iter_mut().for_each(|path| path.push(&*name));
            continue;
        }
        let mut next = Vec::new();
        for path in found {
            next.extend(entries(&path, &name, &mut left)?);
        }
        found = next;
    }
    found.retain(|path| path.exists());
    found.sort();
    Ok(found)
}

/// The entries of a folder that match. A folder that cannot be read has none.
fn entries(folder: &Path, pattern: &str, left: &mut usize) -> Result<Vec<PathBuf>, String> {
    let from = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(from) else {
        return Ok(found);
    };
    for entry in entries.flatten() {
        *left = left
            .checked_sub(1)
            .ok_or_else(|| format!("`{pattern}` is looked for among too many files"))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if is_visible(pattern, &name) {
            found.push(folder.join(&*name));
        }
    }
    Ok(found)
}

/// Whether a name has a wildcard.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether a path matches, folder by folder.
pub(super) fn is_match(pattern: &str, path: &str) -> bool {
    let (mut patterns, mut names) = (pattern.split('/'), path.split('/'));
    loop {
        match (patterns.next(), names.next()) {
            (Some(pattern), Some(name)) if is_visible(pattern, name) => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

/// Whether a name matches. Only a pattern that begins with a dot finds hidden
/// files.
fn is_visible(pattern: &str, name: &str) -> bool {
    let is_hidden = name.starts_with('.') && !pattern.starts_with('.');
    !is_hidden && matches(pattern, name)
}

/// Whether a name matches. `*` is retried from its last place only, so that the
/// work is at most the product of both lengths.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while seen < name.len() {
        let taken = match pattern.get(at) {
            Some('*') => {
                star = Some((at + 1, seen));
                at += 1;
                continue;
            }
            Some('[') => class(&pattern[at..], name[seen]),
            Some('?') => Some(1),
            Some(c) => (*c == name[seen]).then_some(1),
            None => None,
        };
        match (taken, star) {
            (Some(length), _) => {
                at += length;
                seen += 1;
            }
            (None, Some((behind, from))) => {
                star = Some((behind, from + 1));
                at = behind;
                seen = from + 1;
            }
            (None, None) => return false,
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

/// The length of a class such as `[a-z]` or `[!0]` if it has this character. A
/// bracket without a partner is itself.
fn class(pattern: &[char], c: char) -> Option<usize> {
    let Some(end) = pattern.iter().skip(2).position(|c| *c == ']') else {
        return (c == '[').then_some(1);
    };
    let end = end + 2;
    let is_negated = matches!(pattern[1], '!' | '^');
    let inside = &pattern[1 + usize::from(is_negated)..end];
    let mut has = false;
    let mut at = 0;
    while at < inside.len() {
        match inside[at..] {
            [from, '-', to, ..] => {
                has |= (from..=to).contains(&c);
                at += 3;
            }
            [one, ..] => {
                has |= one == c;
                at += 1;
            }
            [] => break,
        }
    }
    (has != is_negated).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_matches_as_in_a_shell() {
        for (pattern, name) in [
            ("*.conf", "a.conf"),
            ("*a*b", "xaxbab"),
            ("?.c", "x.c"),
            ("[a-c]x", "bx"),
            ("[!0-9]*", "a1"),
            ("[", "["),
            ("*", ""),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*.conf", "a.confx"),
            ("[a-c]x", "dx"),
            ("[!0-9]*", "1a"),
            ("?", ""),
            ("a", "b"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn wildcards_work_in_folders_and_files_and_leave_hidden_files_out() {
        let root = tempfile::tempdir().unwrap();
        for name in ["b/x.conf", "a/y.conf", "a/.z.conf", "a/n.txt"] {
            let file = root.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        let found = files(root.path(), "*/*.conf").unwrap();
        assert_eq!(
            found,
            [root.path().join("a/y.conf"), root.path().join("b/x.conf")]
        );
        assert!(files(root.path(), "none/*.conf").unwrap().is_empty());
    }
}
