//! The state of a configuration's files just before they were read. A file in
//! another state later has changed.
//!
//! The state is taken while loading, not after it: a file that is written while
//! it is read, or right after, is never missed. Two states are compared with
//! `==`. The watcher does so when the kernel says that one of the places
//! has changed, and from time to time, since not every file system says so.
//!
//! Device and inode belong to the state because tools replace files instead of
//! writing into them: editors rename, and Kubernetes exchanges a link. Times
//! alone would miss a file that is replaced by an older one.
//!
//! # Cost
//!
//! All functions that look at files block. They are called while a
//! configuration is loaded, and by the watcher, never by a worker that serves
//! requests. A state has one entry for each file, and files of a configuration
//! are few.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use regex::Regex;

/// A file's device, inode, length in bytes, and seconds and nanoseconds of its
/// last change since 1970; `None` if there is no such file.
///
/// The kernel tells all of it in one call, without reading the file. A file
/// that cannot be looked at, for want of permission, counts as absent.
type Look = Option<(u64, u64, u64, i64, i64)>;

/// Files and folders to watch, and what they looked like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watched {
    /// Files that were read or should have been, in that order.
    files: Vec<PathBuf>,
    /// Folders, and the pattern by which a new file in them would be included.
    pub(super) folders: Vec<(PathBuf, String)>,
    looks: BTreeMap<PathBuf, Look>,
}

impl Watched {
    /// Notes a file that is about to be read, whether it can be or not. Blocks.
    ///
    /// A name that was noted before is not looked at again.
    pub(super) fn file(&mut self, file: &Path) {
        if !self.files.iter().any(|known| known == file) {
            self.files.push(file.to_path_buf());
            self.look(file.to_path_buf());
        }
    }

    /// The names in a folder that a pattern matches, sorted; another name that
    /// comes to match is a change. Blocks.
    ///
    /// # Errors
    /// The folder or an entry of it cannot be read. The search is noted all the
    /// same, so that a file that appears in it later is a change.
    pub(super) fn names(&mut self, folder: &Path, pattern: &str) -> io::Result<Vec<String>> {
        let names = matching(folder, pattern);
        let search = (folder.to_path_buf(), pattern.to_owned());
        if !self.folders.contains(&search) {
            self.folders.push(search);
            for name in names.iter().flatten() {
                self.look(folder.join(name));
            }
        }
        names
    }

    /// The first look at a file counts: what was read of it is not older.
    fn look(&mut self, path: PathBuf) {
        self.looks.entry(path).or_insert_with_key(|path| look(path));
    }

    /// The same files and folders as they are now. Anything that differs has
    /// changed since this state was taken. Blocks.
    pub fn look_again(&self) -> Self {
        let mut now = Self::default();
        self.files.iter().for_each(|file| now.file(file));
        for (folder, pattern) in &self.folders {
            // A folder that cannot be read has no names; it may come back.
            let _ = now.names(folder, pattern);
        }
        now
    }

    /// Folders in which a change may be one of a file that is watched: its own,
    /// and those of the links on the way to it. A folder that is not there is
    /// represented by the nearest above it that is. Blocks.
    pub fn places(&self) -> BTreeSet<PathBuf> {
        let mut places = BTreeSet::new();
        let files = self.looks.keys().map(|file| (file, file.parent()));
        let folders = self.folders.iter();
        let folders = folders.map(|(folder, _)| (folder, Some(folder.as_path())));
        for (path, folder) in files.chain(folders) {
            links_on_the_way(path, MOST_LINKS, &mut places);
            places.extend(folder.and_then(nearest));
        }
        places
    }

    /// Files that were read or should have been, the main file first.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

/// Links in a row that are followed, as the kernel has it.
const MOST_LINKS: usize = 40;

/// The folders that hold the links on the way to `path`, and on the way to
/// where those lead.
///
/// Links are followed one component at a time, since each of them may be
/// exchanged. After `most` links in a row the walk ends, so that links in a
/// circle do no harm.
fn links_on_the_way(path: &Path, most: usize, places: &mut BTreeSet<PathBuf>) {
    let mut so_far = PathBuf::new();
    for part in path.components() {
        let folder = so_far.clone();
        so_far.push(part);
        let Ok(target) = fs::read_link(&so_far) else {
            continue;
        };
        let target = folder.join(target);
        places.extend(nearest(&folder));
        if let Some(most) = most.checked_sub(1) {
            places.extend(target.parent().and_then(nearest));
            links_on_the_way(&target, most, places);
        }
    }
}

/// This folder, or the nearest above it that is there.
fn nearest(folder: &Path) -> Option<PathBuf> {
    let mut folders = folder.ancestors().map(|folder| match folder.as_os_str() {
        here if here.is_empty() => PathBuf::from("."),
        _ => folder.to_owned(),
    });
    folders.find(|folder| folder.is_dir())
}

/// Follows links.
fn look(path: &Path) -> Look {
    let about = fs::metadata(path).ok()?;
    Some((
        about.dev(),
        about.ino(),
        about.len(),
        about.mtime(),
        about.mtime_nsec(),
    ))
}

/// Names in a folder that a pattern matches, sorted. Hidden ones only when the
/// pattern says so, as in a shell: editors keep their copies under such names.
fn matching(folder: &Path, pattern: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    let is_named = glob(pattern).map_err(io::Error::other)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let hidden = name.starts_with('.') && !pattern.starts_with('.');
        if !hidden && is_named.is_match(&name) && !entry.path().is_dir() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The names that fit a pattern in which `*` stands for any characters.
///
/// Other signs of a shell, such as `?` and `[a]`, stand for themselves.
fn glob(pattern: &str) -> Result<Regex, regex::Error> {
    let any = regex::escape(pattern).replace("\\*", ".*");
    Regex::new(&format!("(?s)^{any}$"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        glob(pattern).unwrap().is_match(name)
    }

    #[test]
    fn the_folders_of_all_links_on_the_way_to_a_file_are_places_of_change() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        // As Kubernetes lays a volume out, seen through another link.
        fs::create_dir_all(at("volume/..1")).unwrap();
        fs::create_dir_all(at("etc")).unwrap();
        fs::write(at("volume/..1/a.toml"), "").unwrap();
        std::os::unix::fs::symlink("..1", at("volume/..data")).unwrap();
        std::os::unix::fs::symlink("..data/a.toml", at("volume/a.toml")).unwrap();
        std::os::unix::fs::symlink(at("volume"), at("etc/conf")).unwrap();
        let mut watched = Watched::default();
        watched.file(&at("etc/conf/a.toml"));
        watched.file(&at("absent/deep/b.toml"));
        let places: BTreeSet<_> = watched
            .places()
            .iter()
            .map(|place| fs::canonicalize(place).unwrap())
            .collect();
        let root = fs::canonicalize(root.path()).unwrap();
        assert!(
            ["", "etc", "volume", "volume/..1"]
                .iter()
                .all(|place| places.contains(&root.join(place).components().collect::<PathBuf>())),
            "{places:?}"
        );
    }

    #[test]
    fn a_star_stands_for_any_characters_of_a_name() {
        assert!(
            matches("*.toml", "a.toml")
                && matches("*", "x")
                && matches("a*b*c", "aXbYc")
                && matches("a*", "a")
        );
        assert!(!matches("*.toml", "a.toml~") && !matches("a*a", "a") && !matches("a*b*b", "ab"));
    }

    proptest! {
        #[test]
        fn a_pattern_matches_every_name_made_from_it(parts in proptest::collection::vec("[ab.]{0,3}", 1..5), fill in "[abc]{0,3}") {
            prop_assert!(matches(&parts.join("*"), &parts.join(&fill)) || parts.len() == 1);
        }
    }
}
