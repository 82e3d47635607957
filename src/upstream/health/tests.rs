//! What the state of servers promises, on a clock that stands still.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, advance};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn servers(count: usize) -> Vec<Arc<Health>> {
    (0..count).map(|index| Arc::new(Health::new("app".into(), format!("http://{index}").into()))).collect()
}

/// Two failures in a row eject for 10 s, 20 s, up to 60 s.
fn ejector(servers: &[Arc<Health>], max_percent: u8) -> Ejector {
    let settings = EjectionSettings {
        consecutive_failures: 2.try_into().unwrap(),
        base: 10 * SECOND,
        max: 60 * SECOND,
        max_percent,
    };
    Ejector::new(settings, Duration::ZERO, servers.to_vec())
}

fn fail(ejector: &Ejector, index: usize) {
    for _ in 0..2 {
        ejector.failed(index, Failing::Status(500), Instant::now());
    }
}

fn state(server: &Health) -> HealthState {
    server.view(Instant::now(), Duration::ZERO).state
}

fn states(servers: &[Arc<Health>]) -> Vec<HealthState> {
    servers.iter().map(|server| state(server)).collect()
}

/// How long a server stays ejected.
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
        ejector.failed(0, Failing::Reset, Instant::now());
        servers[0].succeeded();
    }
    assert_eq!(states(&servers), [Up, Up]);
    fail(&ejector, 0);
    assert_eq!(states(&servers), [Ejected, Up]);
    let view = servers[0].view(Instant::now(), Duration::ZERO);
    assert_eq!((view.cause.as_str(), view.ejections), ("2 failures in a row, the last: status 500", 1));
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
async fn a_doubling_is_forgotten_for_each_base_that_a_server_was_well() {
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
    for (count, percent, expected) in [(1, 100, 0), (2, 10, 1), (2, 100, 1), (5, 50, 2), (4, 0, 0), (3, 100, 2)] {
        let servers = servers(count);
        let ejector = ejector(&servers, percent);
        for index in 0..count {
            fail(&ejector, index);
        }
        let ejected = states(&servers).into_iter().filter(|state| *state == Ejected).count();
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
async fn failures_of_before_an_ejection_do_not_count_after_it() {
    let servers = servers(2);
    let ejector = ejector(&servers, 50);
    fail(&ejector, 0);
    ejector.failed(0, Failing::Reset, Instant::now());
    time_out(&servers[0]).await;
    ejector.failed(0, Failing::Reset, Instant::now());
    assert_eq!(state(&servers[0]), Up);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_came_back_begins_with_a_tenth_of_its_share() {
    let servers = servers(2);
    fail(&ejector(&servers, 50), 0);
    let share = || servers[0].look(Instant::now(), 20 * SECOND).share;
    assert_eq!(servers[0].look(Instant::now(), 20 * SECOND).standing, Standing::Suspect);
    advance(10 * SECOND).await;
    assert!((share() - 0.1).abs() < 0.01);
    assert_eq!(servers[0].view(Instant::now(), 20 * SECOND).state, SlowStart);
    advance(10 * SECOND).await;
    assert!((share() - 0.5).abs() < 0.01);
    advance(10 * SECOND).await;
    assert!((share() - 1.0).abs() < 0.01);
    assert_eq!(servers[0].view(Instant::now(), 20 * SECOND).state, Up);
    assert!(!servers[0].is_troubled.load(Relaxed), "a look costs one load again");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cools_down_is_left_alone_until_then() {
    let server = &servers(1)[0];
    server.cool_down(5 * SECOND, Instant::now(), Duration::ZERO);
    server.cool_down(2 * SECOND, Instant::now(), Duration::ZERO);
    advance(4 * SECOND).await;
    assert_eq!(state(server), CoolingDown);
    assert_eq!(server.look(Instant::now(), Duration::ZERO).standing, Standing::Suspect);
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
    assert_eq!(servers[0].look(Instant::now(), Duration::ZERO).standing, Standing::Down);
}

#[tokio::test(start_paused = true)]
async fn the_first_check_decides_and_then_it_takes_several() {
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
    assert_eq!(server.view(Instant::now(), Duration::ZERO).cause, "3 checks failed, the last: status 500");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_not_checked_any_more_is_up() {
    let server = &servers(1)[0];
    server.test_checked(false, 1);
    server.unchecked(Instant::now());
    assert_eq!(state(server), Up);
    assert!(!server.is_down());
}
