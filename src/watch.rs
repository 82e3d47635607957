//! Watching the files of a configuration: a look twice a second, a reload once they have stopped changing.
//!
//! Looking instead of being notified is deliberate. Editors rename, Kubernetes swaps a link two folders up, network file
//! systems tell nobody, and a watcher that dies is silent; a look at a few files sees all of it and cannot die.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};

/// Time between two looks; a change that is the same for two looks is complete.
const LOOK: Duration = Duration::from_millis(500);

/// What a file looks like from outside: device, inode, length, seconds and nanoseconds of its last change. `None`: gone.
type Look = Option<(u64, u64, u64, i64, i64)>;

/// Files and folders as they were when last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(Vec<(PathBuf, Look)>);

impl Fingerprint {
    /// Looks at files, following links, and at what folders hold. Blocks.
    pub fn take(files: &[PathBuf], folders: &[PathBuf]) -> Self {
        let inside = folders.iter().flat_map(|folder| entries(folder));
        let mut looks: Vec<_> = files.iter().cloned().chain(inside).map(|path| (path.clone(), look(&path))).collect();
        looks.sort();
        looks.dedup();
        Self(looks)
    }

    /// The same looks, for another set of files and folders: what is new in it is looked at now.
    pub fn with_set_of(self, (files, folders): &(Vec<PathBuf>, Vec<PathBuf>)) -> Self {
        let mut now = Self::take(files, folders);
        for (path, look) in &mut now.0 {
            if let Some((_, before)) = self.0.iter().find(|(known, _)| known == path) {
                *look = *before;
            }
        }
        now
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "toml")).collect()
}

fn look(path: &Path) -> Look {
    let about = fs::metadata(path).ok()?;
    Some((about.dev(), about.ino(), about.len(), about.mtime(), about.mtime_nsec()))
}

/// Waits until what is watched differs from `known` and has stopped changing; gives what it looks like then.
pub async fn changed(files: Vec<PathBuf>, folders: Vec<PathBuf>, known: Fingerprint) -> Fingerprint {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = known.clone();
    loop {
        ticks.tick().await;
        let (files, folders) = (files.clone(), folders.clone());
        // A file system that hangs must not stop signals and scrapes.
        let Ok(now) = tokio::task::spawn_blocking(move || Fingerprint::take(&files, &folders)).await else { continue };
        if now != known && now == last {
            return now;
        }
        last = now;
    }
}
