//! The state of one domain: when something is done for it, and what went wrong.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    fault::OrderFault,
    folder::Kept,
    renewal::Suggestion,
    schedule::{ask_again, by_lifetime, by_window, wait},
};
use crate::policy::{Acme, KeyedCertificate};

/// The shortest wait after a failure that outlives the process, so that one
/// which starts again and again does not order each time. People who
/// restart it by hand, after a repair, do not want to wait for longer.
const LEAST_KEPT: Duration = Duration::from_secs(60);
/// The wait before another look while another process makes an order.
const WHILE_LOCKED: Duration = Duration::from_secs(10);

/// The state of one domain.
#[derive(Debug)]
pub(super) struct DomainStanding {
    /// How its certificate is ordered.
    pub(super) acme: Arc<Acme>,
    /// When its certificate was obtained; `None` if it has none from this
    /// authority.
    pub(super) since: Option<SystemTime>,
    /// When its certificate is to be renewed; in the past without one.
    pub(super) renew_at: SystemTime,
    /// When something is done next.
    pub(super) next: SystemTime,
    /// Attempts in a row that failed.
    pub(super) failures: u32,
    /// Why the last one failed.
    pub(super) problem: Option<String>,
    /// The last suggestion of the authority, from which `renew_at` was chosen.
    window: Option<Range<SystemTime>>,
}

impl DomainStanding {
    /// The state of a domain with the certificate that is kept for it. Without
    /// one it is due at once, or after a `wait` that is kept.
    pub(super) fn new(acme: Arc<Acme>, kept: Option<&Kept>, wait: Option<SystemTime>) -> Self {
        let now = SystemTime::now();
        let mut standing = Self {
            acme,
            since: None,
            renew_at: now,
            next: wait.unwrap_or(now).max(now),
            failures: 0,
            problem: None,
            window: None,
        };
        if let Some(kept) = kept {
            standing.obtained(&kept.certificate, kept.since);
            // A renewal that is due waits as long as an order would.
            if let Some(wait) = wait.filter(|_| standing.renew_at <= now) {
                standing.next = wait.max(now);
            }
        }
        standing
    }

    /// Notes a certificate that was obtained at `since`. The authority is asked
    /// soon when it wants it to be renewed.
    pub(super) fn obtained(&mut self, certificate: &KeyedCertificate, since: SystemTime) {
        self.since = Some(since);
        self.renew_at = by_lifetime(certificate, since, rand::random());
        self.next = SystemTime::now();
        self.failures = 0;
        self.problem = None;
        self.window = None;
    }

    /// Notes when the authority wants `certificate` to be renewed; `None` if it
    /// has no opinion, or does not tell.
    pub(super) fn suggested(
        &mut self,
        certificate: &KeyedCertificate,
        suggestion: Option<Suggestion>,
        now: SystemTime,
    ) {
        let Some((window, after)) = suggestion else {
            self.next = self.renew_at.min(now + ask_again(Duration::MAX));
            return;
        };
        // The choice stays while the window does: to choose again and again
        // would be to choose the earliest.
        if let Some(since) = self.since
            && self.window.as_ref() != Some(&window)
        {
            self.renew_at = by_window(certificate, &window, since, rand::random());
            self.window = Some(window);
        }
        self.next = self.renew_at.min(now + ask_again(after));
    }

    /// Whether the authority makes suggestions, so that it wants to know which
    /// certificate an order replaces.
    pub(super) fn is_suggested(&self) -> bool {
        self.window.is_some()
    }

    /// Notes that another process makes an order.
    pub(super) fn locked(&mut self, now: SystemTime) {
        self.next = now + WHILE_LOCKED;
    }

    /// Notes a failure, after which the authority wants to be left alone until
    /// `retry_after`. Returns the time that is to be kept.
    pub(super) fn failed(
        &mut self,
        fault: &OrderFault,
        retry_after: Option<SystemTime>,
        now: SystemTime,
    ) -> Option<SystemTime> {
        self.failures = self.failures.saturating_add(1);
        self.problem = Some(fault.to_string());
        let is_counted = fault.may_be_counted();
        let own = now + wait(self.failures, is_counted, rand::random());
        self.next = retry_after.map_or(own, |asked| asked.max(own));
        let least = now + LEAST_KEPT;
        is_counted.then(|| retry_after.map_or(least, |asked| asked.max(least)))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fault::FaultKind, *};
    use crate::{policy::AcmeChallenge, tls::tests::identity};

    const HOUR: Duration = Duration::from_secs(60 * 60);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn acme() -> Arc<Acme> {
        Arc::new(Acme {
            domains: ["a.example".into()].into(),
            email: None,
            directory: "https://acme.example".into(),
            ca: None,
            challenge: AcmeChallenge::default(),
        })
    }

    /// A domain with a certificate for ninety days that was obtained now.
    fn fresh(now: SystemTime) -> (DomainStanding, KeyedCertificate) {
        let mut certificate = identity(&["a.example"]);
        certificate.begins = now;
        certificate.expires = now + 90 * DAY;
        let kept = Kept {
            certificate: certificate.clone(),
            since: now,
        };
        (DomainStanding::new(acme(), Some(&kept), None), certificate)
    }

    #[test]
    fn a_window_is_chosen_from_once() {
        let now = SystemTime::now();
        let (mut standing, certificate) = fresh(now);
        let window = now + 10 * DAY..now + 20 * DAY;
        standing.suggested(&certificate, Some((window.clone(), 6 * HOUR)), now);
        let chosen = standing.renew_at;
        assert!(window.contains(&chosen));
        assert_eq!(standing.next, now + 6 * HOUR);
        for _ in 0..20 {
            standing.suggested(&certificate, Some((window.clone(), 6 * HOUR)), now);
            assert_eq!(standing.renew_at, chosen);
        }
        let sooner = now + 2 * HOUR..now + 3 * HOUR;
        standing.suggested(&certificate, Some((sooner.clone(), 6 * HOUR)), now);
        assert!(sooner.contains(&standing.renew_at) && standing.next == standing.renew_at);
    }

    #[test]
    fn without_a_suggestion_the_lifetime_decides() {
        let now = SystemTime::now();
        let (mut standing, certificate) = fresh(now);
        standing.suggested(&certificate, None, now);
        assert_eq!(standing.next, now + DAY);
        assert!((now + 55 * DAY..=now + 60 * DAY).contains(&standing.renew_at));
    }

    #[test]
    fn an_authority_that_asks_to_be_left_alone_is_left_alone_also_after_a_restart() {
        let now = SystemTime::now();
        let mut standing = DomainStanding::new(acme(), None, None);
        let fault = OrderFault::new(FaultKind::RateLimited, "too many");
        let kept = standing.failed(&fault, Some(now + 30 * HOUR), now).unwrap();
        assert_eq!((standing.next, kept), (now + 30 * HOUR, now + 30 * HOUR));
        let restarted = DomainStanding::new(acme(), None, Some(kept));
        assert_eq!(restarted.next, now + 30 * HOUR);
    }

    #[test]
    fn a_failure_is_waited_for_and_a_restart_for_a_minute_of_it() {
        let now = SystemTime::now();
        let mut standing = DomainStanding::new(acme(), None, None);
        let fault = OrderFault::new(FaultKind::Refused, "no");
        for _ in 0..20 {
            let kept = standing.failed(&fault, None, now).unwrap();
            assert_eq!(kept, now + LEAST_KEPT);
        }
        assert!(standing.next > now + 4 * HOUR && standing.next <= now + 6 * HOUR);
        let unreachable = OrderFault::new(FaultKind::Unreachable, "away");
        assert_eq!(standing.failed(&unreachable, None, now), None);
    }

    #[test]
    fn an_order_that_was_made_is_counted_whatever_failed_afterwards() {
        let now = SystemTime::now();
        for kind in [
            FaultKind::Unreachable,
            FaultKind::BadNonce,
            FaultKind::Local,
        ] {
            let before = OrderFault::new(kind, "no");
            let mut standing = DomainStanding::new(acme(), None, None);
            assert_eq!(standing.failed(&before, None, now), None);
            assert!(standing.next <= now + Duration::from_secs(2));
            let mut standing = DomainStanding::new(acme(), None, None);
            let kept = standing.failed(&before.after_order(), None, now);
            assert_eq!(kept, Some(now + LEAST_KEPT));
            assert!(standing.next >= now + Duration::from_secs(60));
        }
    }
}
