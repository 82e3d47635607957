//! Pages that failed lately, and on which server: a page that fails on two servers says nothing of either.
//!
//! Bounded: a page that is forgotten too early counts as if it had failed on one server only.

use std::{
    hash::{BuildHasher, Hash, Hasher},
    time::Duration,
};

use foldhash::quality::RandomState;
use tokio::time::Instant;

use crate::call::Exchange;

/// Two failures of a page within this time are alike.
const ALIKE: Duration = Duration::from_secs(10);
/// Groups of places; a page has one group.
const GROUPS: usize = 128;
/// Pages of a group. With 128 groups 512 pages in all, in less than 64 KiB: more broken pages than a service has.
const PLACES: usize = 4;

/// The key by which failures are compared: the route and the path in its normal form, hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) struct Page(u64);

/// Failures in a row that one page has counted against one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Blame {
    /// The server's index.
    pub(super) server: usize,
    /// The row of failures that they belong to.
    pub(super) row: u32,
    pub(super) failures: u32,
}

/// The pages that failed lately in one set of servers.
#[derive(Debug, Default)]
pub(super) struct Pages {
    /// Empty until the first failure.
    groups: Vec<[Option<Failed>; PLACES]>,
    hasher: RandomState,
}

/// A page that failed.
#[derive(Debug, Clone, Copy)]
struct Failed {
    page: Page,
    latest: Mark,
    /// The latest failure on another server than that of `latest`.
    elsewhere: Option<Mark>,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    blame: Blame,
    at: Instant,
}

impl Mark {
    fn new(server: usize, row: u32, at: Instant) -> Self {
        Self {
            blame: Blame {
                server,
                row,
                failures: 0,
            },
            at,
        }
    }
}

impl Pages {
    /// The page that a request asks for.
    pub(super) fn page_of(&self, call: &Exchange) -> Page {
        let mut hasher = self.hasher.build_hasher();
        call.route.name.hash(&mut hasher);
        call.request.target.normal_path().hash(&mut hasher);
        Page(hasher.finish())
    }

    /// Notes that `page` failed on `server`, in this row of its failures. Where it failed on another one within the last ten
    /// seconds, what it has counted against both is returned, once.
    pub(super) fn failed(
        &mut self,
        page: Page,
        server: usize,
        row: u32,
        now: Instant,
    ) -> Option<[Blame; 2]> {
        let failed = self.place(page).get_or_insert_with(|| Failed {
            page,
            latest: Mark::new(server, row, now),
            elsewhere: None,
        });
        if failed.latest.blame.server != server {
            failed.elsewhere = Some(std::mem::replace(
                &mut failed.latest,
                Mark::new(server, row, now),
            ));
        }
        let Failed {
            latest, elsewhere, ..
        } = failed;
        latest.at = now;
        if latest.blame.row != row {
            latest.blame = Blame {
                server,
                row,
                failures: 0,
            };
        }
        latest.blame.failures += 1;
        let other = elsewhere
            .as_mut()
            .filter(|other| now.saturating_duration_since(other.at) <= ALIKE)?;
        let take = |mark: &mut Mark| {
            let blame = mark.blame;
            mark.blame.failures = 0;
            blame
        };
        Some([take(other), take(latest)])
    }

    /// The place of a page: its own, an empty one, or that of the page of its group that has not failed for longest.
    fn place(&mut self, page: Page) -> &mut Option<Failed> {
        if self.groups.is_empty() {
            self.groups = vec![[None; PLACES]; GROUPS];
        }
        let group = &mut self.groups[page.0 as usize % GROUPS];
        let is_own = |place: &Option<Failed>| place.is_some_and(|failed| failed.page == page);
        let oldest = |place: &Option<Failed>| place.map(|failed| failed.latest.at);
        let own = group.iter().position(is_own);
        let chosen = own
            .or_else(|| (0..PLACES).min_by_key(|place| oldest(&group[*place])))
            .unwrap_or_default();
        if own.is_none() {
            group[chosen] = None;
        }
        &mut group[chosen]
    }
}

#[cfg(test)]
impl Page {
    /// One that stands for this number.
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
        let (mut pages, page) = (Pages::default(), Page(7));
        let mut fail = |server, row| pages.failed(page, server, row, Instant::now());
        assert_eq!((fail(0, 3), fail(0, 3)), (None, None));
        advance(ALIKE).await;
        let blame = |server, row, failures| Blame {
            server,
            row,
            failures,
        };
        assert_eq!(fail(1, 9), Some([blame(0, 3, 2), blame(1, 9, 1)]));
        assert_eq!(
            fail(0, 4),
            Some([blame(1, 9, 0), blame(0, 4, 1)]),
            "each failure is given back once"
        );
        advance(ALIKE + Duration::from_millis(1)).await;
        assert_eq!(fail(0, 4), None);
        assert_eq!(fail(2, 1), Some([blame(0, 4, 1), blame(2, 1, 1)]));
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_pages_are_remembered_and_no_more() {
        let mut pages = Pages::default();
        for page in 0..100_000 {
            pages.failed(Page(page), 0, 0, Instant::now());
        }
        let kept = pages.groups.iter().flatten().flatten().count();
        assert_eq!(kept, GROUPS * PLACES);
        assert!(
            size_of_val(pages.groups.as_slice()) <= 64 * 1024,
            "{}",
            size_of_val(pages.groups.as_slice())
        );
    }
}
