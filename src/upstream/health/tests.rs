//! Promises of the state of servers, on a paused clock.

mod listed;

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use tokio::time::{Instant, advance};

use super::*;
use crate::{
    error::ConnectFailure,
    policy::{Ejection, Failures},
    upstream::tests::failures,
};

const SECOND: Duration = Duration::from_secs(1);

fn servers(count: usize) -> Vec<Arc<Health>> {
    (0..count)
        .map(|index| Arc::new(Health::new("app".into(), format!("http://{index}").into())))
        .collect()
}

/// Two failures in a row eject for 10 s, 20 s, up to 60 s.
fn ejector(servers: &[Arc<Health>], max_percent: u8) -> Ejector {
    ejector_on(failures(), servers, max_percent)
}

/// The same, for these failures.
fn ejector_on(on: Failures, servers: &[Arc<Health>], max_percent: u8) -> Ejector {
    let policy = ejection(on, max_percent);
    let servers = servers.iter().map(|server| (Arc::clone(server), 1));
    Ejector::new(policy, Duration::ZERO, servers)
}

fn ejection(on: Failures, max_percent: u8) -> Ejection {
    Ejection {
        on,
        consecutive_failures: 2.try_into().unwrap(),
        base: 10 * SECOND,
        max: 60 * SECOND,
        max_percent,
    }
}

fn fail(ejector: &Ejector, index: usize) {
    for _ in 0..2 {
        ejector.failed(index, Failing::Status(500), None, Instant::now());
    }
}

fn state(server: &Health) -> HealthState {
    server.view(Instant::now(), Duration::ZERO).state
}

fn states(servers: &[Arc<Health>]) -> Vec<HealthState> {
    servers.iter().map(|server| state(server)).collect()
}

/// Duration of the current ejection of a server.
async fn time_out(server: &Health) -> u64 {
    let begun = Instant::now();
    while state(server) == HealthState::Ejected {
        advance(Duration::from_millis(500)).await;
    }
    (begun.elapsed().as_secs_f64()).round() as u64
}

use HealthState::{CoolingDown, Down, Ejected, SlowStart, Up};

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_eject_and_one_success_in_between_does_not() {
    let servers = servers(2);
    let ejector = ejector(&servers, 50);
    for _ in 0..5 {
        ejector.failed(0, Failing::Reset, None, Instant::now());
        servers[0].succeeded();
    }
    assert_eq!(states(&servers), [Up, Up]);
    fail(&ejector, 0);
    assert_eq!(states(&servers), [Ejected, Up]);
    let view = servers[0].view(Instant::now(), Duration::ZERO);
    assert_eq!(
        (view.cause.as_str(), view.ejections),
        ("2 failures in a row, the last: status 500", 1)
    );
}

#[tokio::test(start_paused = true)]
async fn each_ejection_is_twice_as_long_up_to_the_longest() {
    let servers = servers(2);
    let ejector = ejector(&servers, 50);
    for expected in [10, 20, 40, 60, 60] {
        fail(&ejector, 0);
        assert_eq!(time_out(&servers[0]).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_doubling_is_forgotten_for_each_base_without_failure() {
    let servers = servers(2);
    let ejector = ejector(&servers, 50);
    for _ in 0..3 {
        fail(&ejector, 0);
        time_out(&servers[0]).await;
    }
    advance(20 * SECOND).await;
    fail(&ejector, 0);
    assert_eq!(time_out(&servers[0]).await, 20);
    advance(3600 * SECOND).await;
    fail(&ejector, 0);
    assert_eq!(time_out(&servers[0]).await, 10);
}

#[tokio::test(start_paused = true)]
async fn only_a_part_of_the_servers_is_ejected_at_once_but_one_of_two_always_may_be() {
    for (count, percent, expected) in [
        (1, 100, 0),
        (2, 10, 1),
        (2, 100, 1),
        (5, 50, 2),
        (4, 0, 0),
        (3, 100, 2),
    ] {
        let servers = servers(count);
        let ejector = ejector(&servers, percent);
        for index in 0..count {
            fail(&ejector, index);
        }
        let ejected = states(&servers)
            .into_iter()
            .filter(|state| *state == Ejected)
            .count();
        assert_eq!(ejected, expected, "{count} servers, {percent} %");
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_last_server_fails_as_well_the_ejected_come_back() {
    let servers = servers(2);
    let ejector = ejector(&servers, 50);
    fail(&ejector, 0);
    advance(2 * SECOND).await;
    fail(&ejector, 1);
    assert_eq!(states(&servers), [Up, Up]);
    fail(&ejector, 1);
    assert_eq!(states(&servers), [Up, Ejected]);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_all_servers_leaves_no_longer_ejection_behind() {
    let servers = servers(2);
    let ejector = ejector(&servers, 50);
    for tick in 0..300 {
        ejector.failed(tick % 2, Failing::Reset, None, Instant::now());
        advance(Duration::from_millis(100)).await;
    }
    let recovered = Instant::now();
    while states(&servers) != [Up, Up] {
        advance(Duration::from_millis(500)).await;
    }
    assert!(
        recovered.elapsed() <= 10 * SECOND,
        "{:?}",
        recovered.elapsed()
    );
    assert!(
        servers
            .iter()
            .any(|server| server.view(Instant::now(), Duration::ZERO).ejections > 3)
    );
}

fn fail_page(ejector: &Ejector, index: usize, page: u64) -> bool {
    ejector.failed(
        index,
        Failing::Status(500),
        Some(Page::test(page)),
        Instant::now(),
    )
}

#[tokio::test(start_paused = true)]
async fn a_page_that_fails_on_two_servers_counts_for_neither() {
    let servers = servers(3);
    let ejector = ejector(&servers, 50);
    assert!(
        fail_page(&ejector, 0, 1),
        "the page has not failed on other servers yet"
    );
    for turn in 1..30 {
        assert!(!fail_page(&ejector, turn % 3, 1));
    }
    assert_eq!(states(&servers), [Up, Up, Up]);
    // The failures that were counted for this page do not add up with those of
    // another one.
    fail_page(&ejector, 0, 2);
    assert_eq!(states(&servers), [Up, Up, Up]);
    fail_page(&ejector, 0, 3);
    assert_eq!(
        states(&servers),
        [Ejected, Up, Up],
        "other servers respond to these two pages"
    );
}

#[tokio::test(start_paused = true)]
async fn an_ejection_for_a_page_that_then_fails_elsewhere_ends_and_is_forgotten() {
    let servers = servers(2);
    let ejector = ejector(&servers, 50);
    fail_page(&ejector, 0, 1);
    fail_page(&ejector, 0, 2);
    assert_eq!(states(&servers), [Ejected, Up]);
    advance(9 * SECOND).await;
    assert!(!fail_page(&ejector, 1, 2));
    assert_eq!(states(&servers), [Up, Up]);
    fail(&ejector, 0);
    assert_eq!(
        time_out(&servers[0]).await,
        10,
        "the next ejection is as long as the first"
    );
}

#[tokio::test(start_paused = true)]
async fn a_page_that_failed_elsewhere_long_ago_counts() {
    let servers = servers(2);
    let ejector = ejector(&servers, 50);
    fail_page(&ejector, 1, 1);
    advance(11 * SECOND).await;
    assert!(fail_page(&ejector, 0, 1) && fail_page(&ejector, 0, 1));
    assert_eq!(states(&servers), [Ejected, Up]);
}

/// A server responds to a request for this page with `Retry-After`; the
/// client's address ends in this number.
fn cool_down(ejector: &Ejector, index: usize, page: u64, client: u8) {
    if fail_page(ejector, index, page) {
        let by = Provoked {
            page: Page::test(page),
            client: [10, 0, 0, client].into(),
            status: StatusCode::SERVICE_UNAVAILABLE,
        };
        ejector.cool_down(index, 90 * SECOND, by, true, Instant::now());
    }
}

#[tokio::test(start_paused = true)]
async fn one_client_makes_one_server_cool_down_whatever_its_requests() {
    let servers = servers(4);
    let ejector = ejector(&servers, 100);
    for page in 0..8 {
        cool_down(&ejector, page as usize % 4, page, 1);
        servers[page as usize % 4].succeeded();
    }
    assert_eq!(states(&servers), [CoolingDown, Up, Up, Up]);
    cool_down(&ejector, 2, 20, 2);
    assert_eq!(
        states(&servers),
        [CoolingDown, Up, CoolingDown, Up],
        "for another client"
    );
    cool_down(&ejector, 1, 0, 3);
    assert_eq!(
        states(&servers),
        [Up, Up, CoolingDown, Up],
        "the first page fails on another server, too"
    );
}

#[tokio::test(start_paused = true)]
async fn ejections_and_cool_downs_share_the_bound() {
    for (percent, expected) in [(50, 2), (25, 1), (0, 0)] {
        let servers = servers(4);
        let ejector = ejector(&servers, percent);
        for (index, server) in servers.iter().enumerate() {
            cool_down(&ejector, index, index as u64, index as u8);
            server.succeeded();
            fail(&ejector, (index + 1) % 4);
        }
        let out = states(&servers)
            .into_iter()
            .filter(|state| *state != Up)
            .count();
        assert_eq!(out, expected, "{percent} %");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_before_an_ejection_do_not_count_after_it() {
    let servers = servers(2);
    let ejector = ejector(&servers, 50);
    fail(&ejector, 0);
    ejector.failed(0, Failing::Reset, None, Instant::now());
    time_out(&servers[0]).await;
    ejector.failed(0, Failing::Reset, None, Instant::now());
    assert_eq!(state(&servers[0]), Up);
}

#[tokio::test(start_paused = true)]
async fn a_recovered_server_begins_with_a_tenth_of_its_share() {
    let servers = servers(2);
    fail(&ejector(&servers, 50), 0);
    let share = || servers[0].assess(Instant::now(), 20 * SECOND).share;
    assert_eq!(
        servers[0].assess(Instant::now(), 20 * SECOND).fitness,
        Fitness::Suspect
    );
    advance(10 * SECOND).await;
    assert!((share() - 0.1).abs() < 0.01);
    assert_eq!(
        servers[0].view(Instant::now(), 20 * SECOND).state,
        SlowStart
    );
    advance(10 * SECOND).await;
    assert!((share() - 0.5).abs() < 0.01);
    advance(10 * SECOND).await;
    assert!((share() - 1.0).abs() < 0.01);
    assert_eq!(servers[0].view(Instant::now(), 20 * SECOND).state, Up);
    assert!(!servers[0].is_troubled(), "a look costs one load again");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cools_down_is_left_alone_until_then() {
    let server = &servers(1)[0];
    server.test_cooling(5 * SECOND);
    server.test_cooling(2 * SECOND);
    advance(4 * SECOND).await;
    assert_eq!(state(server), CoolingDown);
    assert_eq!(
        server.assess(Instant::now(), Duration::ZERO).fitness,
        Fitness::Suspect
    );
    advance(SECOND).await;
    assert_eq!(state(server), Up);
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_checks_fail_is_down_whatever_else_passes() {
    let servers = servers(2);
    let ejector = ejector(&servers, 50);
    servers[0].test_checked(false, 1);
    fail(&ejector, 0);
    assert_eq!(states(&servers), [Down, Up]);
    advance(100 * SECOND).await;
    assert_eq!(
        servers[0].assess(Instant::now(), Duration::ZERO).fitness,
        Fitness::Down
    );
}

#[tokio::test(start_paused = true)]
async fn the_first_check_decides_and_later_changes_take_several() {
    let server = &servers(1)[0];
    server.test_checked(false, 1);
    assert_eq!(state(server), Down);
    server.test_checked(true, 1);
    assert_eq!(state(server), Down);
    server.test_checked(false, 1);
    server.test_checked(true, 1);
    assert_eq!(state(server), Down);
    server.test_checked(true, 1);
    assert_eq!(state(server), Up);
    server.test_checked(false, 2);
    server.test_checked(true, 1);
    server.test_checked(false, 2);
    assert_eq!(state(server), Up);
    server.test_checked(false, 1);
    assert_eq!(state(server), Down);
    assert_eq!(
        server.view(Instant::now(), Duration::ZERO).cause,
        "3 checks failed, the last: the connection broke"
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_without_checks_is_up() {
    let server = &servers(1)[0];
    server.test_checked(false, 1);
    server.end_checks(Instant::now());
    assert_eq!(state(server), Up);
    assert!(!server.is_down());
}
