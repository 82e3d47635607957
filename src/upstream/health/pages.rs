//! Pages that failed recently, and on which servers: a page that fails on two
//! servers says nothing about either.
//!
//! Without this, one client could have every server of an upstream ejected by
//! asking for a page whose handler crashes. Envoy's outlier detection has that
//! weakness; it is one reason for which its `max_ejection_percent` is small.
//!
//! A page is a route together with the normalised path, without the query. The
//! failures that it has counted against a server are given back once it fails
//! on another one within ten seconds, and an ejection for them is revoked.
//!
//! # Bounds
//!
//! The table has 512 entries, in groups of four, and is allocated at the first
//! failure. Within a group the page that failed longest ago is replaced. A page
//! that is dropped too early counts as if it had failed on one server only. The
//! hash has a secret of the process, so that a client cannot tell which paths
//! share a group.
//!
//! `eject` is the only caller, under one lock for the table, which is taken for
//! failures alone. A success costs nothing here.

use std::{
    hash::{BuildHasher, Hash, Hasher},
    net::IpAddr,
    time::Duration,
};

use foldhash::quality::RandomState;
use http::StatusCode;
use tokio::time::Instant;

use crate::call::Exchange;

/// The longest time between two failures of a page that are compared.
const WINDOW: Duration = Duration::from_secs(10);
/// Groups of entries. A page belongs to one group, by its hash.
const GROUPS: usize = 128;
/// Entries of a group. With 128 groups this makes 512 pages in less than 64
/// KiB: more broken pages than a service has.
const ENTRIES: usize = 4;

/// The key by which failures are compared: route and normalised path, hashed.
///
/// Two pages of one hash, out of 2^64, count as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) struct Page(u64);

impl Page {
    /// The page as one whose responses ask for a cool-down and are no failures.
    /// They say nothing about those that are.
    pub(super) fn that_asks(self) -> Self {
        Self(!self.0)
    }
}

/// A request whose response asked for a cool-down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) struct Provoked {
    /// The page that was requested.
    pub(in crate::upstream) page: Page,
    /// The client that requested it.
    pub(in crate::upstream) client: IpAddr,
    /// The status of the response.
    pub(in crate::upstream) status: StatusCode,
}

impl Provoked {
    /// Whether both requests are of one client. A client that has an IPv6
    /// address usually has the whole /64.
    pub(super) fn is_same_client(&self, other: &Self) -> bool {
        match (self.client, other.client) {
            (IpAddr::V6(one), IpAddr::V6(two)) => one.segments()[..4] == two.segments()[..4],
            (one, two) => one == two,
        }
    }
}

/// Failures that one page has counted against one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Blame {
    /// The server's index.
    pub(super) server: usize,
    /// The number of the run of failures that they belong to.
    pub(super) run: u32,
    pub(super) failures: u32,
}

/// The pages that failed recently on the servers of one upstream.
#[derive(Debug, Default)]
pub(super) struct FailedPages {
    /// Empty until the first failure.
    groups: Vec<[Option<FailedPage>; ENTRIES]>,
    /// Hashes pages, by a secret of the process.
    hasher: RandomState,
}

/// A page that failed.
///
/// Two servers suffice: as soon as the second one fails, the failures of both
/// are given back.
#[derive(Debug, Clone, Copy)]
struct FailedPage {
    page: Page,
    /// The latest failure.
    latest: FailureMark,
    /// The latest failure on another server than that of `latest`.
    elsewhere: Option<FailureMark>,
}

/// Failures on one server, and when the last of them was.
#[derive(Debug, Clone, Copy)]
struct FailureMark {
    blame: Blame,
    /// When the last of these failures was.
    at: Instant,
}

impl FailureMark {
    /// No failures yet, on this server in this run.
    fn new(server: usize, run: u32, at: Instant) -> Self {
        Self {
            blame: Blame {
                server,
                run,
                failures: 0,
            },
            at,
        }
    }
}

impl FailedPages {
    /// The page that a request is for.
    ///
    /// A page of the same path on another route is another page, since its
    /// handler may be another one.
    pub(super) fn page_of(&self, call: &Exchange) -> Page {
        let mut hasher = self.hasher.build_hasher();
        call.route.name.hash(&mut hasher);
        call.target.normal_path().hash(&mut hasher);
        Page(hasher.finish())
    }

    /// Notes that `page` failed on `server`, whose run of failures has the
    /// number `run` and was made longer by `counted`, which is 1, or 0 for a
    /// response that asks for a cool-down and is no failure.
    ///
    /// If it failed on another server within the last ten seconds, returns the
    /// failures that it has counted against both. Each failure is returned
    /// once.
    pub(super) fn failed(
        &mut self,
        page: Page,
        server: usize,
        run: u32,
        counted: u32,
        now: Instant,
    ) -> Option<[Blame; 2]> {
        let failed = self.entry(page).get_or_insert_with(|| FailedPage {
            page,
            latest: FailureMark::new(server, run, now),
            elsewhere: None,
        });
        if failed.latest.blame.server != server {
            failed.elsewhere = Some(std::mem::replace(
                &mut failed.latest,
                FailureMark::new(server, run, now),
            ));
        }
        let FailedPage {
            latest, elsewhere, ..
        } = failed;
        latest.at = now;
        if latest.blame.run != run {
            latest.blame = Blame {
                server,
                run,
                failures: 0,
            };
        }
        latest.blame.failures += counted;
        let other = elsewhere
            .as_mut()
            .filter(|other| now.saturating_duration_since(other.at) <= WINDOW)?;
        let take = |mark: &mut FailureMark| {
            let blame = mark.blame;
            mark.blame.failures = 0;
            blame
        };
        Some([take(other), take(latest)])
    }

    /// The entry of a page: its own, an empty one, or that of the page in its
    /// group whose last failure is the oldest.
    ///
    /// The page that is replaced is forgotten. Never fails, as the oldest entry
    /// always makes room.
    fn entry(&mut self, page: Page) -> &mut Option<FailedPage> {
        if self.groups.is_empty() {
            self.groups = vec![[None; ENTRIES]; GROUPS];
        }
        let group = &mut self.groups[page.0 as usize % GROUPS];
        let is_own = |entry: &Option<FailedPage>| entry.is_some_and(|failed| failed.page == page);
        let oldest = |entry: &Option<FailedPage>| entry.map(|failed| failed.latest.at);
        let own = group.iter().position(is_own);
        let chosen = own
            .or_else(|| (0..ENTRIES).min_by_key(|entry| oldest(&group[*entry])))
            .unwrap_or_default();
        if own.is_none() {
            group[chosen] = None;
        }
        &mut group[chosen]
    }
}

#[cfg(test)]
impl Page {
    /// A page that stands for `number`.
    pub(super) fn test(number: u64) -> Self {
        Self(number)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_page_that_failed_elsewhere_within_ten_seconds_gives_back_what_it_counted() {
        let (mut pages, page) = (FailedPages::default(), Page(7));
        let mut fail = |server, run| pages.failed(page, server, run, 1, Instant::now());
        assert_eq!((fail(0, 3), fail(0, 3)), (None, None));
        advance(WINDOW).await;
        let blame = |server, run, failures| Blame {
            server,
            run,
            failures,
        };
        assert_eq!(fail(1, 9), Some([blame(0, 3, 2), blame(1, 9, 1)]));
        assert_eq!(
            fail(0, 4),
            Some([blame(1, 9, 0), blame(0, 4, 1)]),
            "each failure is given back once"
        );
        advance(WINDOW + Duration::from_millis(1)).await;
        assert_eq!(fail(0, 4), None);
        assert_eq!(fail(2, 1), Some([blame(0, 4, 1), blame(2, 1, 1)]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_bounded_number_of_pages_is_remembered() {
        let mut pages = FailedPages::default();
        for page in 0..100_000 {
            pages.failed(Page(page), 0, 0, 1, Instant::now());
        }
        let kept = pages.groups.iter().flatten().flatten().count();
        assert_eq!(kept, GROUPS * ENTRIES);
        assert!(
            size_of_val(pages.groups.as_slice()) <= 64 * 1024,
            "{}",
            size_of_val(pages.groups.as_slice())
        );
    }
}
