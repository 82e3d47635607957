//! The task that does one thing after the other: whatever is due longest.
//!
//! # Waits
//!
//! Times are those of the wall clock, as certificates have them. The task looks
//! at the clock at least once in a quarter of an hour, so that one that was set,
//! or a machine that slept, is noticed. Each step has a bound, whatever an
//! authority does.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use zeroize::Zeroizing;

use super::{
    AcmeParts, WantedDomains,
    client::AcmeClient,
    fault::{FaultKind, OrderFault, repeated},
    folder::{Folder, Kept, OrderLock},
    order::{self, OrderJob, blocking},
    renewal,
};
use crate::{
    duration,
    policy::{Acme, KeyedCertificate, UpstreamTls},
};

/// The longest time of an order, from the account to the certificate. An
/// authority that works needs seconds.
const LONGEST_ORDER: Duration = Duration::from_secs(5 * 60);
/// The longest time between two looks at the clock.
const LOOK: Duration = Duration::from_secs(15 * 60);

/// Does what is due, for ever; ends with the handle whose domains it follows.
pub(super) async fn run(shared: Arc<AcmeParts>, mut wanted: watch::Receiver<WantedDomains>) {
    let Some(folder) = shared.folder.clone() else {
        return;
    };
    loop {
        wanted.borrow_and_update();
        let job = match shared.due(SystemTime::now()) {
            Ok(job) => job,
            Err(wait) => {
                tokio::select! {
                    () = sleep(wait) => {}
                    changed = wanted.changed() => if changed.is_err() { return },
                }
                continue;
            }
        };
        let attempt = attempt(&shared, &folder, &job);
        tokio::select! {
            () = attempt => {}
            // Nobody waits for an authority that is no longer wanted.
            () = unwanted(&job, &mut wanted) => {}
        }
    }
}

/// Waits until a job is no longer wanted as it is.
async fn unwanted(job: &OrderJob, wanted: &mut watch::Receiver<WantedDomains>) {
    let is_gone = |wanted: &WantedDomains| wanted.get(&job.domain) != Some(&job.acme);
    // An error is the end of the process.
    let _ = wanted.wait_for(is_gone).await;
}

impl AcmeParts {
    /// The domain that is due for longest at `now`.
    ///
    /// # Errors
    /// None is. Returns the time to wait before the next look.
    fn due(&self, now: SystemTime) -> Result<OrderJob, Duration> {
        let standings = self.standings.lock();
        let first = standings.iter().min_by_key(|(_, one)| one.next);
        let Some((domain, standing)) = first else {
            return Err(LOOK);
        };
        match standing.next.duration_since(now) {
            Ok(left) if !left.is_zero() => Err(left.min(LOOK)),
            _ => Ok(OrderJob {
                domain: domain.clone(),
                acme: Arc::clone(&standing.acme),
            }),
        }
    }

    /// Changes the state of a job's domain, unless a reload has replaced it.
    /// `None` then.
    fn standing<R>(
        &self,
        job: &OrderJob,
        change: impl FnOnce(&mut super::standing::DomainStanding) -> R,
    ) -> Option<R> {
        let mut standings = self.standings.lock();
        let standing = standings.get_mut(&job.domain)?;
        (standing.acme == job.acme).then(|| change(standing))
    }

    /// Counts an order.
    fn count(&self, outcome: &'static str) {
        *self.outcomes.lock().entry(outcome).or_default() += 1;
    }

    /// Shows a certificate to clients from now on.
    fn take(&self, job: &OrderJob, kept: Kept) {
        let noted = self.standing(job, |standing| {
            standing.obtained(&kept.certificate, kept.since);
        });
        if noted.is_some() {
            self.responders.tls.put(&job.domain, kept.certificate);
        }
    }
}

/// Does what is due for a domain: asks whether to renew, or orders.
async fn attempt(shared: &AcmeParts, folder: &Folder, job: &OrderJob) {
    let now = SystemTime::now();
    let state = shared.standing(job, |one| (one.since, one.renew_at, one.is_suggested()));
    let Some((since, renew_at, is_suggested)) = state else {
        return;
    };
    let certificate = since.and_then(|_| shared.responders.tls.get(&job.domain));
    if let Some(certificate) = certificate.as_ref().filter(|_| renew_at > now) {
        return ask_whether_to_renew(shared, folder, job, certificate).await;
    }
    let lock = match locked(folder, job, since).await {
        Ok(Locked::Free(lock)) => lock,
        Ok(Locked::Renewed(kept)) => return shared.take(job, kept),
        Ok(Locked::Busy) => {
            shared.standing(job, |standing| standing.locked(now));
            return;
        }
        Err(fault) => return failed(shared, folder, job, fault, None).await,
    };
    let client = match client(&job.acme).await {
        Ok(client) => client,
        Err(fault) => return failed(shared, folder, job, fault, None).await,
    };
    let replaced = certificate.filter(|_| is_suggested);
    let ordered = timeout(
        LONGEST_ORDER,
        obtain(shared, folder, job, &client, replaced.as_ref()),
    );
    let too_long = || {
        OrderFault::new(
            FaultKind::Timeout,
            "the order took longer than five minutes",
        )
    };
    match ordered.await.unwrap_or_else(|_| Err(too_long())) {
        Ok(kept) => {
            shared.count("success");
            let next = left(kept.certificate.expires);
            shared.take(job, kept);
            tracing::info!(domain = %job.domain, directory = %job.acme.directory, "certificate obtained, valid for {next}");
        }
        Err(fault) => failed(shared, folder, job, fault, client.retry_after()).await,
    }
    drop(lock);
}

/// The outcome of asking for the right to make an order.
enum Locked {
    /// It is there.
    Free(OrderLock),
    /// Another process has it.
    Busy,
    /// Another process has made the order since.
    Renewed(Kept),
}

/// Asks for the right to make an order, and whether another process has made it
/// since this one last looked at the folder.
async fn locked(
    folder: &Folder,
    job: &OrderJob,
    since: Option<SystemTime>,
) -> Result<Locked, OrderFault> {
    let (folder, job) = (folder.clone(), job.clone());
    let asked = blocking(move || {
        let Some(lock) = folder.lock()? else {
            return Ok(Locked::Busy);
        };
        let kept = folder.certificate(&job.domain, &job.acme).ok().flatten();
        let newer = kept.filter(|kept| since.is_none_or(|since| kept.since > since));
        Ok(newer.map_or(Locked::Free(lock), Locked::Renewed))
    });
    let asked: std::io::Result<Locked> = asked.await?;
    asked
        .map_err(|error| OrderFault::local("the folder `acme` in state_dir cannot be used", &error))
}

/// The client for an authority. Reads the system's trusted certificates, which
/// blocks.
async fn client(acme: &Arc<Acme>) -> Result<AcmeClient, OrderFault> {
    let acme = Arc::clone(acme);
    let made = blocking(move || {
        let tls = UpstreamTls {
            ca: acme.ca.clone(),
            ..UpstreamTls::default()
        };
        AcmeClient::new(&tls)
    });
    made.await?
        .map_err(|why| OrderFault::new(FaultKind::Local, why))
}

/// Orders a certificate, checks it and keeps it.
async fn obtain(
    shared: &AcmeParts,
    folder: &Folder,
    job: &OrderJob,
    client: &AcmeClient,
    replaced: Option<&KeyedCertificate>,
) -> Result<Kept, OrderFault> {
    let account = order::account(client, job, folder).await?;
    let replaces = replaced.and_then(renewal::id);
    let pem = order::order(&account, job, replaces, &shared.responders).await?;
    let now = SystemTime::now();
    let certificate = order::check(pem.as_bytes(), job, folder, now)?;
    keep(folder, job, pem).await;
    Ok(Kept {
        certificate,
        since: now,
    })
}

/// Keeps a certificate. One that cannot be written is used all the same, and
/// ordered again by the next process.
async fn keep(folder: &Folder, job: &OrderJob, pem: Zeroizing<String>) {
    let (folder, of) = (folder.clone(), job.clone());
    let kept = blocking(move || folder.keep_certificate(&of.domain, &of.acme, &pem)).await;
    let fault = match kept {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(fault) => fault.to_string(),
    };
    tracing::error!(domain = %job.domain, "the certificate cannot be kept in state_dir, and a restart orders it again: {fault}");
}

/// Notes, counts and logs a failure. The certificate that serves stays.
async fn failed(
    shared: &AcmeParts,
    folder: &Folder,
    job: &OrderJob,
    fault: OrderFault,
    retry_after: Option<SystemTime>,
) {
    shared.count(fault.kind.outcome());
    let now = SystemTime::now();
    let noted = shared.standing(job, |standing| {
        (standing.failed(&fault, retry_after, now), standing.next)
    });
    let Some((kept, next)) = noted else { return };
    let (files, of, kind) = (folder.clone(), job.clone(), fault.kind);
    // A wait that is not kept costs no more than an order that comes too soon.
    let _ = blocking(move || {
        if kind == FaultKind::NoAccount {
            let _ = files.forget_account(&of.acme);
        }
        kept.map(|until| files.keep_wait(&of.domain, &of.acme, until))
    })
    .await;
    tell(shared, job, &fault, next);
}

/// Logs a failure, and when the next attempt is made.
fn tell(shared: &AcmeParts, job: &OrderJob, fault: &OrderFault, next: SystemTime) {
    let next = left(next);
    let (domain, directory) = (&job.domain, &job.acme.directory);
    let outcome = fault.kind.outcome();
    match shared.responders.tls.get(domain) {
        Some(_) => {
            tracing::warn!(%domain, %directory, outcome, "certificate not renewed, the previous certificate stays in use; next attempt in {next}: {fault}");
        }
        None => {
            tracing::error!(%domain, %directory, outcome, "certificate not obtained, handshakes for this domain fail; next attempt in {next}: {fault}");
        }
    }
}

/// Asks the authority of a certificate when it wants it to be renewed. Without
/// an answer, the lifetime decides.
async fn ask_whether_to_renew(
    shared: &AcmeParts,
    folder: &Folder,
    job: &OrderJob,
    certificate: &KeyedCertificate,
) {
    let asked = async {
        let Some(id) = renewal::id(certificate) else {
            return Ok(None);
        };
        let client = client(&job.acme).await?;
        let account = order::account(&client, job, folder).await?;
        renewal::ask(&account, &id).await
    };
    let suggestion = asked.await.unwrap_or_else(|fault: OrderFault| {
        tracing::debug!(domain = %job.domain, "the authority does not say when to renew: {}", repeated(&fault.to_string()));
        None
    });
    let now = SystemTime::now();
    let before = shared.standing(job, |standing| {
        let before = standing.renew_at;
        standing.suggested(certificate, suggestion, now);
        (before != standing.renew_at).then_some(standing.renew_at)
    });
    if let Some(Some(at)) = before {
        let left = left(at);
        tracing::info!(domain = %job.domain, "the authority suggests a renewal, which is made in {left}");
    }
}

/// The time until `at` in words, in the unit that people would choose; "0s" if
/// it is past.
fn left(at: SystemTime) -> String {
    let left = at.duration_since(SystemTime::now()).unwrap_or_default();
    let seconds = left.as_secs();
    let units = [24 * 60 * 60, 60 * 60, 60];
    let unit = units.into_iter().find(|unit| seconds >= 2 * unit);
    let unit = unit.unwrap_or(1);
    duration::text(Duration::from_secs(seconds / unit * unit))
}

#[cfg(test)]
mod tests {
    use tokio::{net::TcpListener, time::Instant};

    use super::{
        super::{Acme as Orders, standing::DomainStanding},
        *,
    };
    use crate::{
        policy::{AcmeChallenge, Authorities},
        tls::tests::identity,
    };

    /// How a certificate is ordered from an authority at this port.
    fn acme(domain: &str, port: u16) -> Arc<Acme> {
        Arc::new(Acme {
            domains: [domain.into()].into(),
            email: None,
            directory: format!("https://127.0.0.1:{port}/dir").into(),
            ca: Some(Authorities {
                certificates: identity(&["127.0.0.1"]).certified.cert.clone(),
            }),
            challenge: AcmeChallenge::default(),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn an_authority_that_hangs_is_left_and_other_domains_go_on() {
        let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ports = [&hanging, &closed].map(|one| one.local_addr().unwrap().port());
        drop(closed);
        let state = tempfile::tempdir().unwrap();
        let orders = Orders::new(Some(state.path()));
        let mut wanted = WantedDomains::new();
        for (domain, port) in [("a.example", ports[0]), ("b.example", ports[1])] {
            let acme = acme(domain, port);
            let standing = DomainStanding::new(Arc::clone(&acme), None, None);
            let mut standings = orders.shared.standings.lock();
            standings.insert(domain.into(), standing);
            wanted.insert(domain.into(), acme);
        }
        orders.wanted.send_replace(wanted);
        let since = Instant::now();
        let running = tokio::spawn(orders.run());
        // It takes the connection, and says nothing.
        let taken = hanging.accept().await.unwrap();
        let problem = |at: usize| orders.state().domains[at].problem.clone();
        while problem(1).is_none() {
            sleep(Duration::from_secs(1)).await;
        }
        assert!(since.elapsed() < Duration::from_secs(30));
        let hung = problem(0).unwrap();
        assert!(hung.contains("no complete response within 20s"), "{hung}");
        let refused = problem(1).unwrap();
        assert!(refused.contains("connection refused"), "{refused}");
        running.abort();
        drop(taken);
    }
}
