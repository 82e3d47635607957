//! The keys at a URL: fetched in time, fetched again for a key that is not
//! known, and kept while the issuer is away.
//!
//! # When
//!
//! A task of the control thread fetches the set when it has reached its age,
//! and again 10 s after a failure. A token with an unknown `kid` asks for a
//! fetch, and its request waits for the outcome: the issuer may have begun to
//! sign with a new key. Tokens cause one fetch in 10 s, so that made-up ones
//! cannot make this gateway flood the issuer.
//!
//! # Service
//!
//! The set that was fetched last serves, however old it is. An answer that is
//! no set, or has no key that can be used, changes nothing: it counts as a
//! failure. Before the first set nobody can be identified.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rand::RngExt;
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
    time::{Instant, sleep_until},
};

use super::{
    fetch::{BOUNDS, FetchFault, fetch},
    ring::{KeyChanges, KeyRing},
};
use crate::{
    http_client::{HttpClient, HttpServer},
    policy::KeyUrl,
};

/// The shortest time between two fetches that tokens ask for, and the pause
/// after one that failed.
pub(super) const PAUSE: Duration = Duration::from_secs(10);
/// The longest wait of a request for a fetch that is under way.
pub(super) const LONGEST_WAIT: Duration = BOUNDS.total.saturating_add(Duration::from_secs(1));
/// Requests that wait for a fetch, each with a token of at most 16 KiB.
const MOST_WAITING: usize = 1024;
/// The relative jitter of pauses, so that many gateways do not ask at once.
const JITTER: f64 = 0.1;
/// Names of keys that a line of the log shows, and the characters of each.
const MOST_SHOWN: usize = 8;
const LONGEST_SHOWN: usize = 64;

/// The keys at a URL.
#[derive(Debug)]
pub struct KeySource {
    /// The name of the identity, for the log.
    identity: Arc<str>,
    url: KeyUrl,
    server: HttpServer,
    client: HttpClient,
    pub(super) ring: KeyRing,
    schedule: Mutex<FetchSchedule>,
    /// Counts the fetches that have ended.
    ended: watch::Sender<u64>,
    /// Wakes the task before its time. Apart, so that the task does not hold the
    /// source while it sleeps.
    wake: Arc<Notify>,
    fetched: AtomicU64,
    failed: AtomicU64,
    waiting: AtomicUsize,
}

/// The fetches of a source so far.
#[derive(Debug)]
struct FetchSchedule {
    /// The task; `None` before the configuration serves.
    task: Option<AbortHandle>,
    /// A fetch is under way, or about to begin.
    is_fetching: bool,
    /// Before this time no token can ask for a fetch.
    not_before: Option<Instant>,
    /// The last fetch that gave a set, or the beginning.
    since: Instant,
    /// The first of the failures since then, with the reason of the last one.
    failing: Option<(Instant, FetchFault)>,
}

/// The fetches of a source, for metrics.
#[derive(Debug, Clone, Copy)]
pub struct SourceCounts {
    /// Fetches that gave a set.
    pub fetched: u64,
    /// Fetches that did not.
    pub failed: u64,
    /// The time since the last set came, or since the beginning if none has.
    pub age: Duration,
    /// The time since fetches began to fail; zero if the last one did not.
    pub failing_for: Duration,
}

/// The outlook for a token whose key is not there.
#[derive(Debug)]
pub(super) enum Outlook {
    /// A fetch is under way; the receiver hears of its end.
    Fetching(watch::Receiver<u64>, WaitCount),
    /// The set was fetched a moment ago, and the key was not in it.
    UpToDate,
    /// The issuer is away, or too many requests wait for it.
    Unavailable,
}

/// One of the requests that wait, for as long as it lives.
#[derive(Debug)]
pub(super) struct WaitCount(Arc<KeySource>);

impl Drop for WaitCount {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

impl KeySource {
    /// The keys at `url`, of which none is fetched before [`start`](Self::start).
    /// Blocks to read the certificates that the system trusts.
    ///
    /// # Errors
    /// TLS cannot be spoken: why.
    pub fn new(identity: Arc<str>, url: KeyUrl) -> Result<Self, String> {
        let server = HttpServer::new(&url.server).ok_or("the URL of the keys has no host")?;
        let tls = server.is_secure().then_some(&url.tls);
        Ok(Self {
            identity,
            client: HttpClient::new(tls, BOUNDS)?,
            server,
            url,
            ring: KeyRing::default(),
            schedule: Mutex::new(FetchSchedule {
                task: None,
                is_fetching: true,
                not_before: None,
                since: Instant::now(),
                failing: None,
            }),
            ended: watch::Sender::new(0),
            wake: Arc::default(),
            fetched: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Whether these are the keys at `url`.
    pub fn implements(&self, url: &KeyUrl) -> bool {
        self.url == *url
    }

    /// Begins to fetch, on the runtime of the caller. Does nothing if it has
    /// begun. Ends when the source is dropped.
    pub fn start(self: &Arc<Self>) {
        let mut schedule = self.schedule.lock();
        if schedule.task.is_none() {
            let task = fetch_in_time(Arc::downgrade(self), Arc::clone(&self.wake));
            schedule.task = Some(tokio::spawn(task).abort_handle());
        }
    }

    /// Counts so far.
    pub fn counts(&self) -> SourceCounts {
        let schedule = self.schedule.lock();
        SourceCounts {
            fetched: self.fetched.load(Relaxed),
            failed: self.failed.load(Relaxed),
            age: schedule.since.elapsed(),
            failing_for: schedule
                .failing
                .map_or(Duration::ZERO, |(since, _)| since.elapsed()),
        }
    }

    /// Asks for a fetch, as a token needs a key that is not there.
    pub(super) fn ask(self: &Arc<Self>, now: Instant) -> Outlook {
        let mut schedule = self.schedule.lock();
        let is_due = schedule.not_before.is_none_or(|time| time <= now);
        if !schedule.is_fetching && !is_due {
            return match schedule.failing {
                Some(_) => Outlook::Unavailable,
                None => Outlook::UpToDate,
            };
        }
        if self.waiting.fetch_add(1, Relaxed) >= MOST_WAITING {
            self.waiting.fetch_sub(1, Relaxed);
            return Outlook::Unavailable;
        }
        let count = WaitCount(Arc::clone(self));
        let receiver = self.ended.subscribe();
        if !schedule.is_fetching {
            schedule.is_fetching = true;
            schedule.not_before = Some(now + PAUSE);
            self.wake.notify_one();
        }
        Outlook::Fetching(receiver, count)
    }

    /// Fetches once. Returns the time to the next fetch.
    async fn fetch(&self) -> Duration {
        self.schedule.lock().is_fetching = true;
        let outcome = fetch(&self.client, &self.server, &self.url.target).await;
        let pause = match outcome {
            Ok(fetched) => {
                let changes = self.ring.replace(&fetched.set);
                self.succeeded(&changes);
                fetched.fresh_for
            }
            Err(fault) => {
                self.fell_short(fault);
                PAUSE
            }
        };
        self.ended.send_modify(|count| *count += 1);
        pause.mul_f64(rand::rng().random_range(1.0..=1.0 + JITTER))
    }

    fn succeeded(&self, changes: &KeyChanges) {
        self.fetched.fetch_add(1, Relaxed);
        let mut schedule = self.schedule.lock();
        schedule.is_fetching = false;
        schedule.since = Instant::now();
        let was_failing = schedule.failing.take().is_some();
        drop(schedule);
        let (identity, url) = (&*self.identity, &*self.url.server.url);
        if was_failing {
            tracing::info!(identity, url, "signing keys are fetched again");
        }
        if *changes != KeyChanges::default() {
            let (added, removed) = (shown(&changes.added), shown(&changes.removed));
            tracing::info!(identity, url, added, removed, "signing keys have changed");
        }
    }

    fn fell_short(&self, fault: FetchFault) {
        self.failed.fetch_add(1, Relaxed);
        let mut schedule = self.schedule.lock();
        schedule.is_fetching = false;
        let before = schedule.failing;
        let since = before.map_or_else(Instant::now, |(since, _)| since);
        schedule.failing = Some((since, fault));
        schedule.not_before = Some(Instant::now() + PAUSE);
        drop(schedule);
        if before.is_none_or(|(_, before)| before != fault) {
            let (identity, url) = (&*self.identity, &*self.url.server.url);
            tracing::warn!(identity, url, "signing keys cannot be fetched: {fault}");
        }
    }
}

/// Ends the task.
impl Drop for KeySource {
    fn drop(&mut self) {
        if let Some(task) = self.schedule.get_mut().task.take() {
            task.abort();
        }
    }
}

/// Fetches at once, and then whenever it is time, or a token asks for it.
async fn fetch_in_time(weak: Weak<KeySource>, wake: Arc<Notify>) {
    while let Some(source) = weak.upgrade() {
        let pause = source.fetch().await;
        let due = Instant::now() + pause;
        drop(source);
        loop {
            tokio::select! {
                () = sleep_until(due) => break,
                () = wake.notified() => {}
            }
            // The call may have been answered by the last fetch.
            let is_wanted = |source: Arc<KeySource>| source.schedule.lock().is_fetching;
            if weak.upgrade().is_none_or(is_wanted) {
                break;
            }
        }
    }
}

/// The names of some keys, as a line of the log shows them.
fn shown(names: &[Option<Box<str>>]) -> String {
    let short = |name: &Option<Box<str>>| match name {
        Some(name) => name.chars().take(LONGEST_SHOWN).collect(),
        None => "(no kid)".to_owned(),
    };
    let shown: Vec<String> = names.iter().take(MOST_SHOWN).map(short).collect();
    match names.len() > MOST_SHOWN {
        true => format!(
            "{} and {} others",
            shown.join(", "),
            names.len() - MOST_SHOWN
        ),
        false => shown.join(", "),
    }
}
