//! The state that outlives the process, in `state_dir`: the seed of the keys'
//! hashes, and the debts of limits with `persist = true`.
//!
//! It is written every few seconds on the blocking pool and once more at the
//! end, if a debt has changed since, and never by a worker. Each file is replaced as a whole: written under
//! another name, synchronised, and renamed. A file that cannot be used causes a
//! warning and an empty table: a gateway that does not start would be worse.
//!
//! The format of a file of debts is that of [`Encoder`] and [`Saved`], with a
//! version and a checksum. Debts are saved with the wall-clock time and
//! restored less the time that has passed, so that a restart neither refills a
//! bucket nor punishes a client for the time in which the gateway was down.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufWriter, Read as _, Write},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

use crate::{
    build::{Persisted, State},
    limit::{Clock, Encoder, KeyHasher, Saved, saved_size},
    telemetry::Metrics,
};

/// Shortest time between two writes, and so the time whose debts a crash loses.
pub(super) const PAUSE: Duration = Duration::from_secs(5);
/// At most one part in this many of all time is spent on writing.
const SHARE: u32 = 20;
/// A file of up to this many bytes is read even if `max_keys` has become
/// smaller since.
const READ_ANYWAY: usize = 64 << 20;

/// The name of the file with the seed: 32 hexadecimal digits.
const SEED: &str = "seed";

/// The folder of the state, and the seed in it.
#[derive(Clone)]
pub(super) struct StateDir {
    /// The folder, which belongs to this process alone.
    path: PathBuf,
    /// The key of the hash of keys. With another seed, saved debts belong to no
    /// key.
    seed: [u64; 2],
}

impl StateDir {
    /// Creates the folder if it is absent, and reads the seed or draws one. The
    /// seed is written in any case, so that a folder that cannot be written to
    /// is found at the start.
    ///
    /// # Errors
    /// The folder cannot be created, read or written to. The text is a sentence
    /// for people.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        make(path).map_err(|error| cannot("make", path, &error))?;
        let seed = match seed_in(path) {
            Ok(Some(seed)) => seed,
            Ok(None) => {
                tracing::warn!(path = %path.join(SEED).display(), "the seed is damaged: a new one is drawn, and saved buckets are lost");
                rand::random()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => rand::random(),
            Err(error) => return Err(cannot("read the seed in", path, &error)),
        };
        let dir = Self {
            path: path.to_owned(),
            seed,
        };
        dir.write_seed()
            .map_err(|error| cannot("write to", path, &error))?;
        Ok(dir)
    }

    /// The hasher of keys with the seed of the folder, so that saved debts
    /// belong to the same keys again.
    pub(super) fn hasher(&self) -> KeyHasher {
        KeyHasher::with_seed(self.seed)
    }

    /// Writes the seed.
    fn write_seed(&self) -> io::Result<()> {
        let [high, low] = self.seed;
        self.replace(SEED, |file| writeln!(file, "{high:016x}{low:016x}"))
    }

    /// Creates the folder with its seed again if it was deleted. Without the
    /// seed the debts would belong to no key.
    fn mend(&self) -> io::Result<()> {
        if fs::exists(self.path.join(SEED))? {
            return Ok(());
        }
        make(&self.path)?;
        self.write_seed()
    }

    /// Restores the debts that were saved, less the time that has passed by the
    /// wall clock. Blocks; runs before the first connection is accepted.
    pub(super) fn restore(&self, state: &State) {
        for limit in state.persisted() {
            let path = self.path.join(file_name(&limit));
            match put_back(&limit, &path) {
                Ok(keys) => tracing::info!(limit = %limit.name, keys, "buckets are read"),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let path = path.display();
                    tracing::warn!(limit = %limit.name, %path, %error, "saved buckets are not used; all begin full");
                }
            }
        }
    }

    /// Whether there is a file of this limit.
    fn has(&self, limit: &Persisted<'_>) -> bool {
        fs::exists(self.path.join(file_name(limit))).unwrap_or(false)
    }

    /// Writes the debts of one limit.
    fn save(&self, limit: &Persisted<'_>) -> io::Result<()> {
        let written = since_1970();
        self.mend()?;
        self.replace(&file_name(limit), |file| {
            let (mut encoder, header) = Encoder::begin(limit.identity, written);
            file.write_all(&header)?;
            for debt in limit.limiter.debts(Clock.now()) {
                file.write_all(&encoder.debt(debt))?;
            }
            file.write_all(&encoder.end())
        })
    }

    /// Replaces a file as a whole: after a crash at any moment it has its old
    /// content or its new one. The file is readable for its owner alone.
    fn replace(
        &self,
        name: &str,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> io::Result<()> {
        let next = self.path.join(format!("{name}.next"));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&next)?;
        let mut file = BufWriter::new(file);
        write(&mut file)?;
        file.into_inner()?.sync_all()?;
        fs::rename(&next, self.path.join(name))?;
        // The new name has to be on the disk, too.
        File::open(&self.path)?.sync_all()
    }
}

impl std::fmt::Debug for StateDir {
    /// Leaves the seed out, which must not reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("StateDir").field(&self.path).finish()
    }
}

/// The text about a failure to do `what` with the folder.
fn cannot(what: &str, path: &Path, error: &io::Error) -> String {
    format!(
        "cannot {what} {} (key server.state_dir): {error}",
        path.display()
    )
}

/// Creates the folder, for its owner alone, and the folders above it.
fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Reads the seed; `None` if the file does not have the form of one.
fn seed_in(path: &Path) -> io::Result<Option<[u64; 2]>> {
    let text = fs::read_to_string(path.join(SEED))?;
    Ok(parse_seed(text.trim_end()))
}

/// Reads 32 hexadecimal digits; `None` for any other text.
fn parse_seed(text: &str) -> Option<[u64; 2]> {
    let (high, low) = text.split_at_checked(16)?;
    if low.len() != 16 {
        return None;
    }
    Some([
        u64::from_str_radix(high, 16).ok()?,
        u64::from_str_radix(low, 16).ok()?,
    ])
}

/// Restores the debts of one limit from its file, and returns the number of
/// keys.
fn put_back(limit: &Persisted<'_>, path: &Path) -> io::Result<usize> {
    let bytes = read(path, saved_size(limit.max_keys.get()).max(READ_ANYWAY))?;
    let saved = Saved::decode(&bytes, limit.identity)
        .map_err(|damage| io::Error::new(io::ErrorKind::InvalidData, damage))?;
    // After a clock that went back the time that has passed is unknown, and
    // none is assumed.
    let age = since_1970().saturating_sub(saved.written);
    Ok(limit.limiter.restore(Clock.now(), age, saved.debts()))
}

/// Reads a file of at most `most` bytes; a larger one is an error.
fn read(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    File::open(path)?
        .take(most.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is larger than `max_keys` keys can be",
        ));
    }
    Ok(bytes)
}

/// The name of the file of a limit: the first 100 characters of the limit's
/// name, with `_` for each character that not every file system accepts, and a
/// fingerprint of the whole name if these differ from it.
fn file_name(limit: &Persisted<'_>) -> String {
    let mut name = String::new();
    for byte in limit.name.bytes().take(100) {
        name.push(match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte),
            _ => '_',
        });
    }
    // Names that differ only in such characters would share a file.
    if name == **limit.name {
        format!("{name}.buckets")
    } else {
        format!("{name}.{:016x}.buckets", fingerprint(limit.name))
    }
}

/// FNV-1a, which is the same in every process and needs no security.
fn fingerprint(name: &str) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in name.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

/// The time by the wall clock since the Unix epoch; zero if the clock is before
/// it.
fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Writes the debts of all limits, and remembers which failures it has
/// reported.
#[derive(Debug)]
pub(super) struct Saver {
    /// The folder that is written to.
    dir: StateDir,
    /// Counts writes by their outcome.
    metrics: Arc<Metrics>,
    /// By limit: the digest of the debts of the last write, or `None` if it
    /// failed.
    last: BTreeMap<Arc<str>, Option<u64>>,
}

impl Saver {
    /// Saves to `dir`, and counts in `metrics`.
    pub(super) fn new(dir: StateDir, metrics: Arc<Metrics>) -> Self {
        Self {
            dir,
            metrics,
            last: BTreeMap::new(),
        }
    }

    /// Writes the debts of every limit with `persist` that have changed since
    /// the last write. Blocks. A failure is logged once, and so is its end; it
    /// is counted each time.
    pub(super) fn save(&mut self, state: &State) {
        let persisted = state.persisted();
        for limit in &persisted {
            let before = self.last.get(limit.name).copied();
            // A request that comes between this and the write is in the file,
            // and the next round writes it once more.
            let digest = limit.limiter.digest(Clock.now());
            if before == Some(Some(digest)) && self.dir.has(limit) {
                continue;
            }
            let saved = self.dir.save(limit);
            self.metrics.saved(saved.is_ok());
            match (&saved, before) {
                (Err(error), None | Some(Some(_))) => {
                    tracing::error!(limit = %limit.name, path = %self.dir.path.display(), %error, "buckets cannot be saved");
                }
                (Ok(_), Some(None)) => {
                    tracing::info!(limit = %limit.name, "buckets are saved again")
                }
                _ => {}
            }
            let digest = saved.ok().map(|()| digest);
            self.last.insert(Arc::clone(limit.name), digest);
        }
        self.last
            .retain(|name, _| persisted.iter().any(|limit| limit.name == name));
    }
}

/// Saves once, on the blocking pool, and returns the time to wait until the
/// next save: at least [`PAUSE`], and long enough that writing takes no more
/// than a [`SHARE`] of all time. A save that has begun is finished even if this
/// future is dropped.
pub(super) async fn save(saver: &Arc<parking_lot::Mutex<Saver>>, state: Arc<State>) -> Duration {
    let saver = Arc::clone(saver);
    let started = Instant::now();
    // The mutex keeps the last write from running beside one that has not
    // ended.
    let written = tokio::task::spawn_blocking(move || saver.lock().save(&state)).await;
    if let Err(error) = written {
        tracing::error!(%error, "saving buckets failed");
    }
    PAUSE.max(started.elapsed() * SHARE)
}
