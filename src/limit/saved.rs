//! Debts as bytes: what a limit writes before the process ends, and reads when
//! the next one starts. Files are left to the caller.
//!
//! # Format, version 1
//!
//! All numbers little-endian, 8 bytes each:
//!
//! ```text
//! "tidegate"  version  identity  written
//! key  debt  fill          for each key in debt
//! ...
//! count  checksum
//! ```
//!
//! * `identity` says to which limit and hasher the keys belong.
//! * `written` is the wall clock, in nanoseconds since 1970.
//! * `key` is the keyed hash of a key.
//! * `debt` is the number of nanoseconds until its bucket is full, and `fill`
//!   the number in which an empty bucket fills under the quota by which the
//!   debt came about. If the quota has changed when the debt is read, the share
//!   of the bucket that is used is kept, as over a reload.
//! * The checksum is SipHash-1-3 of everything before it, under the key (0, 0).
//!   It protects against accidents, not against somebody who may write the
//!   file.
//!
//! # After a restart
//!
//! Debts do, shortened by the time between writing and reading. A key of the
//! file is a hash, so that values of clients never reach the disk, and the
//! hasher's seed has to be kept beside it. A quota that a key had for itself is
//! not saved: its debt is converted to the limit's own quota, and again at the
//! first request under the other one. Counts of the heaviest keys and temporary
//! quotas are lost.
//!
//! ```
//! use std::{num::{NonZeroU32, NonZeroUsize}, time::Duration};
//! use tidegate::limit::{Ask, Clock, Encoder, KeyHasher, Limiter, Saved, decide};
//! use tidegate::policy::{Quota, Rate};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! const IDENTITY: u64 = 7;
//! let rate = Rate { count: 1, period: Duration::from_secs(60) };
//! let quota = Quota::new(rate, NonZeroU32::new(10).ok_or("zero")?)?;
//! let limiter = Limiter::new("per-client", quota, NonZeroUsize::MIN)?;
//! let (now, key) = (Clock.now(), KeyHasher::new().key("per-client").finish());
//! let _taken = decide(now, &[Ask::new(&limiter, key, 4)]).expect("a full bucket");
//!
//! let (mut encoder, header) = Encoder::begin(IDENTITY, Duration::ZERO);
//! let mut file = header.to_vec();
//! for debt in limiter.debts(now) {
//!     file.extend(encoder.debt(debt));
//! }
//! file.extend(encoder.end());
//!
//! // Another process reads it a minute later: one token has come back.
//! let restored = Limiter::new("per-client", quota, NonZeroUsize::MIN)?;
//! let saved = Saved::decode(&file, IDENTITY)?;
//! assert_eq!(restored.restore(now, Duration::from_secs(60), saved.debts()), 1);
//! assert_eq!(restored.standing(now, key, None).remaining, 7);
//! # Ok(())
//! # }
//! ```

use std::hash::Hasher;
use std::time::Duration;

use siphasher::sip::SipHasher13;
use thiserror::Error;

use super::core::Core;
use super::gcra::rescaled;
use super::table::{Insert, OVERFLOW, Occupied, Read};
use super::{Key, Limiter, Now};

/// The first bytes of every file.
const MAGIC: [u8; 8] = *b"tidegate";
/// The version of the format that this build reads and writes.
const VERSION: u64 = 1;

/// Bytes before the first key.
const HEADER: usize = 32;
/// Bytes of a key in debt.
const RECORD: usize = 24;
/// Bytes after the last key.
const TRAILER: usize = 16;

/// A key in debt, independent of the clock of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Debt {
    /// The bucket.
    pub key: Key,
    /// Nanoseconds until the bucket is full.
    pub nanos: u64,
    /// Nanoseconds in which it fills from empty, under the quota by which the
    /// debt came about; not 0.
    pub fill: u64,
}

/// Why saved debts cannot be used. The message completes "it is not used: ...".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Damage {
    /// The bytes are another file's, or of one that was never whole.
    #[error("it is not a file of saved buckets")]
    Foreign,
    /// The version of the format is one that this build cannot read.
    #[error("it is of version {0}, and this is version {VERSION}")]
    Version(u64),
    /// The bytes end too early, or go on too long.
    #[error("it is cut short, or something follows its end")]
    Length,
    /// Some of the bytes are not those that were written.
    #[error("its checksum is wrong")]
    Checksum,
    /// The bytes are sound, but the keys are not those of this limit.
    #[error("it belongs to another `key`, or to a state_dir with another seed")]
    Identity,
}

/// Debts as they were read, after all checks.
#[derive(Debug, Clone, Copy)]
pub struct Saved<'a> {
    /// The time of writing since 1970, by the wall clock.
    pub written: Duration,
    /// The records of the keys, checked as a whole by the checksum.
    records: &'a [u8],
}

/// Encodes debts piece by piece, so that a large table needs no large buffer.
#[derive(Debug)]
pub struct Encoder {
    checksum: SipHasher13,
    count: u64,
}

impl Encoder {
    /// Begins a file, and returns its first bytes. `identity` stands for the
    /// limit's key and the hasher, and `written` is the wall clock since 1970.
    pub fn begin(identity: u64, written: Duration) -> (Self, [u8; HEADER]) {
        let written = u64::try_from(written.as_nanos()).unwrap_or(u64::MAX);
        let header = words([u64::from_le_bytes(MAGIC), VERSION, identity, written]);
        let mut encoder = Self {
            checksum: SipHasher13::new(),
            count: 0,
        };
        encoder.checksum.write(&header);
        (encoder, header)
    }

    /// Encodes one key in debt.
    pub fn debt(&mut self, debt: Debt) -> [u8; RECORD] {
        let record = words([debt.key.hash(), debt.nanos, debt.fill]);
        self.checksum.write(&record);
        self.count += 1;
        record
    }

    /// Ends the file with its last bytes.
    pub fn end(mut self) -> [u8; TRAILER] {
        self.checksum.write(&self.count.to_le_bytes());
        words([self.count, self.checksum.finish()])
    }
}

/// Bytes of a file with `keys` keys in debt.
pub const fn saved_size(keys: usize) -> usize {
    keys.saturating_mul(RECORD).saturating_add(HEADER + TRAILER)
}

impl<'a> Saved<'a> {
    /// Reads the bytes that an [`Encoder`] wrote.
    ///
    /// # Errors
    /// The bytes are others, or their debts have another identity.
    pub fn decode(bytes: &'a [u8], identity: u64) -> Result<Self, Damage> {
        let (header, rest) = bytes.split_at_checked(HEADER).ok_or(Damage::Foreign)?;
        if header[..8] != MAGIC {
            return Err(Damage::Foreign);
        }
        match word(header, 1) {
            VERSION => {}
            version => return Err(Damage::Version(version)),
        }
        let length = rest.len().checked_sub(TRAILER).ok_or(Damage::Length)?;
        let (records, trailer) = rest.split_at(length);
        if !length.is_multiple_of(RECORD) || word(trailer, 0) != (length / RECORD) as u64 {
            return Err(Damage::Length);
        }
        let mut checksum = SipHasher13::new();
        checksum.write(&bytes[..bytes.len() - 8]);
        if checksum.finish() != word(trailer, 1) {
            return Err(Damage::Checksum);
        }
        if word(header, 2) != identity {
            return Err(Damage::Identity);
        }
        Ok(Self {
            written: Duration::from_nanos(word(header, 3)),
            records,
        })
    }

    /// The keys in debt, as of [`Self::written`]. Records that make no sense
    /// are left out: reserved hashes, and quotas that fill in no time.
    pub fn debts(&self) -> impl Iterator<Item = Debt> + use<'a> {
        let debt = |record| Debt {
            key: Key::from_raw(word(record, 0)),
            nanos: word(record, 1),
            fill: word(record, 2),
        };
        let makes_sense = |debt: &Debt| debt.key.hash() >= OVERFLOW.hash() && debt.fill > 0;
        self.records
            .chunks_exact(RECORD)
            .map(debt)
            .filter(makes_sense)
    }
}

impl Limiter {
    /// The keys in debt at `now`. While requests go on, each is as of some
    /// moment during the walk.
    pub fn debts(&self, now: Now) -> impl Iterator<Item = Debt> + '_ {
        let core = self.core.newest();
        core.table.indices().filter_map(move |slot| {
            let Occupied { key, tat } = core.table.held(slot)?;
            let nanos = tat.checked_sub(now.as_nanos()).filter(|nanos| *nanos > 0)?;
            let fill = core.gcra_of(core.table.class(slot)).fill();
            // Where nothing is admitted, a debt means nothing.
            (fill > 0).then_some(Debt { key, nanos, fill })
        })
    }

    /// A number that stands for all debts at `now`. It stays the same while time
    /// passes, and differs once a request takes tokens or gets some back, a
    /// debt ends, or a quota changes.
    pub fn digest(&self, now: Now) -> u64 {
        let of_one = |debt: Debt| {
            let mut hasher = SipHasher13::new();
            hasher.write_u64(debt.key.hash());
            hasher.write_u64(now.as_nanos().saturating_add(debt.nanos));
            hasher.write_u64(debt.fill);
            hasher.finish()
        };
        // A sum, since a key may change its slot.
        self.debts(now).map(of_one).fold(0, u64::wrapping_add)
    }

    /// Takes over debts that are `age` old, each under the limit's own quota of
    /// now, keeping the share that is used. Returns how many keys are in debt
    /// by them.
    ///
    /// For a limit that has just come up: a key that is there already is left
    /// alone, and the debt of one for which there is no room goes to the
    /// overflow bucket.
    pub fn restore(&self, now: Now, age: Duration, debts: impl Iterator<Item = Debt>) -> usize {
        let core = self.core.newest();
        let age = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        let mut restored = 0;
        for Debt { key, nanos, fill } in debts {
            let left = nanos.saturating_sub(age);
            if left == 0 {
                continue;
            }
            let old = now.after(Duration::from_nanos(left)).as_nanos();
            let tat = rescaled(old, now, fill, core.gcra.fill());
            let insert = if key == OVERFLOW {
                Insert::Full
            } else {
                core.table.insert(key, now, tat, 0)
            };
            match insert {
                Insert::Done { .. } => restored += 1,
                Insert::Full => charge_overflow(core, now, tat),
                Insert::Exists | Insert::Closed => {}
            }
        }
        restored
    }
}

/// Makes the overflow bucket at least as empty as that of a key that has to
/// share it.
fn charge_overflow(core: &Core, now: Now, tat: u64) {
    while let Some(slot) = core.table.find(OVERFLOW) {
        let seen = match core.table.read(slot, OVERFLOW) {
            Read::Tat(seen) => seen,
            Read::Changed => continue,
            Read::Moved => return,
        };
        let next = seen.max(tat).max(now.as_nanos());
        if core.table.replace(slot, OVERFLOW, seen, next) {
            return;
        }
    }
}

/// The word at `index`, little-endian; 0 beyond the end.
fn words<const N: usize, const M: usize>(words: [u64; N]) -> [u8; M] {
    let mut bytes = [0; M];
    bytes
        .chunks_exact_mut(8)
        .zip(words)
        .for_each(|(chunk, word)| chunk.copy_from_slice(&word.to_le_bytes()));
    bytes
}

fn word(bytes: &[u8], index: usize) -> u64 {
    let word = bytes.get(index * 8..).and_then(|rest| rest.first_chunk());
    word.map_or(0, |word| u64::from_le_bytes(*word))
}
