//! Certificates that the gateway orders itself, from an ACME authority (RFC
//! 8555), and renews in time.
//!
//! Each domain of the configuration has one certificate. It is read from
//! `state_dir` at the start, ordered if it is not there, and renewed when its
//! authority suggests (RFC 9773) or two thirds of its life are over. A failure
//! leaves everything as it is and is tried again, less and less often.
//!
//! * `order`: one order, from the account to the certificate.
//! * `client`: HTTP with an authority, within bounds.
//! * `schedule`: when something is to be done, as arithmetic.
//! * `renewal`: what an authority suggests about it.
//! * `folder`: the files.
//! * `standing`: the state of each domain.
//! * `runner`: the task that does one thing after the other.
//! * `http_challenges`: responses to authorities by HTTP; those by TLS are in
//!   [`tls`](crate::tls).
//! * `fault`: why there is no certificate.
//!
//! # Which orders are made
//!
//! Domains come from the configuration alone. No handshake and no request
//! causes an order or makes one come sooner, whatever name it asks for. There is
//! at most one order at a time, and one for each domain: several processes with
//! one folder, such as two during a takeover, exclude each other by a lock.
//!
//! # Threads
//!
//! The task runs on the control thread, and its files are read and written on
//! the blocking pool of it. Workers only look at the two maps that it changes.

mod client;
mod fault;
mod folder;
mod http_challenges;
mod order;
mod renewal;
mod runner;
mod schedule;
mod standing;

use std::{
    collections::BTreeMap,
    future::Future,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use tokio::sync::watch;

pub use self::http_challenges::HttpChallenges;
use self::{
    folder::{Folder, Kept},
    order::Responders,
    standing::DomainStanding,
};
use crate::{
    policy::{self, Listener},
    tls::Obtained,
};

/// The domains of the configuration, each with how its certificate is ordered.
type WantedDomains = BTreeMap<Box<str>, Arc<policy::Acme>>;

/// The certificates that the gateway orders: the handle by which a reload
/// changes them, and scrapes see them.
#[derive(Debug)]
pub struct Acme {
    shared: Arc<AcmeParts>,
    /// The domains of the present configuration, for the task.
    wanted: watch::Sender<WantedDomains>,
}

/// The parts that the task and its handle share.
#[derive(Debug)]
struct AcmeParts {
    /// `None` without a `state_dir`: nothing is ordered then.
    folder: Option<Folder>,
    responders: Responders,
    /// The state of each domain that is wanted.
    standings: Mutex<BTreeMap<Box<str>, DomainStanding>>,
    /// Orders so far, by outcome.
    outcomes: Mutex<BTreeMap<&'static str, u64>>,
}

/// The state of the orders, for metrics and views.
#[derive(Debug, Default)]
pub struct AcmeState {
    /// Orders since the start, by outcome.
    pub outcomes: Vec<(&'static str, u64)>,
    /// The domains of the configuration, by name.
    pub domains: Vec<AcmeDomain>,
}

/// The state of one domain.
#[derive(Debug)]
pub struct AcmeDomain {
    /// The domain.
    pub domain: Box<str>,
    /// How its certificate is ordered.
    pub acme: Arc<policy::Acme>,
    /// The end of the validity of its certificate; `None` while it has none.
    pub expires: Option<SystemTime>,
    /// When something is done for it next: a renewal, another attempt, or a
    /// question whether to renew.
    pub next: SystemTime,
    /// Attempts in a row that failed.
    pub failures: u32,
    /// Why the last one failed, for people; `None` after a success.
    pub problem: Option<String>,
}

impl Acme {
    /// Orders nothing yet. Keys and certificates are kept in a folder of
    /// `state_dir`; without one, nothing will be ordered.
    pub fn new(state_dir: Option<&Path>) -> Self {
        Self {
            shared: Arc::new(AcmeParts {
                folder: state_dir.map(Folder::in_state_dir),
                responders: Responders::default(),
                standings: Mutex::default(),
                outcomes: Mutex::default(),
            }),
            wanted: watch::Sender::default(),
        }
    }

    /// The certificates, as handshakes look at them.
    pub fn obtained(&self) -> Arc<Obtained> {
        Arc::clone(&self.shared.responders.tls)
    }

    /// The challenges that are responded to by HTTP.
    pub fn http_challenges(&self) -> Arc<HttpChallenges> {
        Arc::clone(&self.shared.responders.http)
    }

    /// Checks that this process can order what a configuration wants.
    ///
    /// # Errors
    /// It was started without a `state_dir`, which only a restart changes. The
    /// text is a sentence for people.
    pub fn check(&self, listeners: &[Listener]) -> Result<(), String> {
        match self.shared.folder.is_none() && !wanted(listeners).is_empty() {
            true => Err("`acme` needs `[server] state_dir`, and the process was started without it: it takes effect with a restart".to_owned()),
            false => Ok(()),
        }
    }

    /// Takes over the domains of a configuration. Certificates that are kept are
    /// read, so that handshakes find them when this returns. Domains with the
    /// settings that they had go on as they were; those that are gone are
    /// forgotten, but their files are kept.
    pub async fn follow(&self, listeners: &[Listener]) {
        let Some(folder) = &self.shared.folder else {
            return;
        };
        let wanted = wanted(listeners);
        let mut new = wanted.clone();
        new.retain(|domain, acme| {
            let standings = self.shared.standings.lock();
            standings.get(domain).is_none_or(|one| one.acme != *acme)
        });
        let folder = folder.clone();
        let read = tokio::task::spawn_blocking(move || read_kept(&folder, new)).await;
        let obtained = &self.shared.responders.tls;
        obtained.retain(|domain| wanted.contains_key(domain));
        let mut standings = self.shared.standings.lock();
        standings.retain(|domain, _| wanted.contains_key(domain));
        for (domain, acme, kept, wait) in read.unwrap_or_default() {
            let standing = DomainStanding::new(acme, kept.as_ref(), wait);
            if let Some(kept) = kept {
                obtained.put(&domain, kept.certificate);
            }
            standings.insert(domain, standing);
        }
        drop(standings);
        self.wanted.send_replace(wanted);
    }

    /// Orders and renews the certificates of the configuration that
    /// [`follow`](Self::follow) was told last, for ever. One task at a time may
    /// run this.
    ///
    /// Cancel safe: an order that is dropped is made anew by the next task.
    pub fn run(&self) -> impl Future<Output = ()> + Send + use<> {
        let (shared, wanted) = (Arc::clone(&self.shared), self.wanted.subscribe());
        runner::run(shared, wanted)
    }

    /// The state of the orders.
    pub fn state(&self) -> AcmeState {
        let outcomes = self.shared.outcomes.lock();
        let outcomes = outcomes.iter().map(|(name, count)| (*name, *count));
        let standings = self.shared.standings.lock();
        AcmeState {
            outcomes: outcomes.collect(),
            domains: standings
                .iter()
                .map(|(domain, one)| self.domain(domain, one))
                .collect(),
        }
    }

    fn domain(&self, domain: &str, standing: &DomainStanding) -> AcmeDomain {
        let certificate = self.shared.responders.tls.get(domain);
        AcmeDomain {
            domain: domain.into(),
            acme: Arc::clone(&standing.acme),
            expires: certificate.map(|certificate| certificate.expires),
            next: standing.next,
            failures: standing.failures,
            problem: standing.problem.clone(),
        }
    }
}

/// The domains that listeners want certificates for. A domain that two of them
/// want has equal settings in both.
fn wanted(listeners: &[Listener]) -> WantedDomains {
    let mut wanted = WantedDomains::new();
    for listener in listeners {
        let Some(acme) = listener.tls.as_ref().and_then(|tls| tls.acme.as_ref()) else {
            continue;
        };
        let acme = Arc::new(acme.clone());
        for domain in &*acme.domains {
            wanted
                .entry(domain.clone())
                .or_insert_with(|| Arc::clone(&acme));
        }
    }
    wanted
}

/// A domain with its certificate and its wait, as they are kept.
type FoundDomain = (
    Box<str>,
    Arc<policy::Acme>,
    Option<Kept>,
    Option<SystemTime>,
);

/// Reads what is kept of these domains. A file that cannot be used is logged,
/// and counts as absent: it will be replaced.
fn read_kept(folder: &Folder, domains: WantedDomains) -> Vec<FoundDomain> {
    let mut found = Vec::new();
    for (domain, acme) in domains {
        let kept = folder.certificate(&domain, &acme).unwrap_or_else(|why| {
            let file = folder.certificate_file(&domain, &acme);
            let file = file.display();
            tracing::warn!(%domain, "{file} {why}: another certificate is ordered in its place");
            None
        });
        let wait = folder.wait(&domain, &acme).filter(is_near);
        found.push((domain, acme, kept, wait));
    }
    found
}

/// Whether a wait that is kept can be one of ours: a clock that was wrong must
/// not stop orders for years.
fn is_near(until: &SystemTime) -> bool {
    const LONGEST: Duration = Duration::from_secs(8 * 24 * 60 * 60);
    *until < SystemTime::now() + LONGEST
}
