//! Failures that the policy lists and others, servers that are counted and
//! others, and responses that ask for rest and are no failures.

use super::*;

/// A server responds to a request for this page with 429 and `Retry-After`,
/// which is no failure.
fn too_many(ejector: &Ejector, index: usize, page: u64, client: u8) {
    let by = Provoked {
        page: Page::test(page),
        client: [10, 0, 0, client].into(),
        status: StatusCode::TOO_MANY_REQUESTS,
    };
    ejector.cool_down(index, 10 * SECOND, by, false, Instant::now());
}

#[tokio::test(start_paused = true)]
async fn a_response_that_asks_for_rest_cools_down_without_being_a_failure() {
    let servers = servers(3);
    let ejector = ejector(&servers, 50);
    for _ in 0..5 {
        too_many(&ejector, 0, 1, 1);
    }
    assert_eq!(states(&servers), [CoolingDown, Up, Up]);
    let view = servers[0].view(Instant::now(), Duration::ZERO);
    assert_eq!(view.cause, "it answered 429 with Retry-After for 10 s");
    advance(10 * SECOND).await;
    assert_eq!(states(&servers), [Up, Up, Up], "no failure was counted");
}

#[tokio::test(start_paused = true)]
async fn a_page_that_every_server_answers_so_cools_none_down() {
    let servers = servers(4);
    let ejector = ejector(&servers, 50);
    too_many(&ejector, 0, 1, 1);
    assert_eq!(states(&servers), [CoolingDown, Up, Up, Up]);
    too_many(&ejector, 1, 1, 2);
    assert_eq!(states(&servers), [Up, Up, Up, Up]);
}

/// A client that is refused by one server could otherwise hide the failures of
/// another one.
#[tokio::test(start_paused = true)]
async fn a_response_that_asks_for_rest_says_nothing_about_failures_elsewhere() {
    let servers = servers(2);
    let ejector = ejector(&servers, 50);
    too_many(&ejector, 0, 1, 1);
    advance(SECOND).await;
    assert!(fail_page(&ejector, 1, 1), "it counts");
}

#[tokio::test(start_paused = true)]
async fn failures_that_the_policy_does_not_list_count_neither_way() {
    let servers = servers(2);
    let on = Failures {
        connect: true,
        ..Failures::default()
    };
    let ejector = ejector_on(on, &servers, 50);
    let refused = Failing::Connect(ConnectFailure::Refused);
    let now = Instant::now();
    assert!(ejector.failed(0, refused, None, now));
    for failing in [
        Failing::Reset,
        Failing::Cut,
        Failing::BadResponse,
        Failing::Timeout,
        Failing::Status(500),
    ] {
        assert!(!ejector.failed(0, failing, None, now), "{failing}");
    }
    assert_eq!(states(&servers), [Up, Up]);
    assert!(ejector.failed(0, refused, None, now));
    assert_eq!(states(&servers), [Ejected, Up], "the second in a row");
}

#[tokio::test(start_paused = true)]
async fn servers_without_weight_are_no_part_of_those_that_may_be_ejected() {
    // Half of two may be ejected, however many get no requests.
    let all = servers(6);
    let weights = [1, 1, 0, 0, 0, 0];
    let servers = all.iter().cloned().zip(weights);
    let one_fails = Ejector::new(ejection(failures(), 50), Duration::ZERO, servers);
    fail(&one_fails, 0);
    assert_eq!(states(&all[..2]), [Ejected, Up]);
    // Nor is one of them the server that is left.
    advance(2 * SECOND).await;
    fail(&one_fails, 1);
    assert_eq!(states(&all[..2]), [Up, Up]);
    fail(&one_fails, 1);
    assert_eq!(states(&all[..2]), [Up, Ejected]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_down_shows_why_its_last_check_failed() {
    let server = &servers(1)[0];
    server.test_checked(true, 1);
    server.test_checked(false, 3);
    let view = || server.view(Instant::now(), Duration::ZERO);
    let since = view().since;
    server.test_status(404);
    assert_eq!(view().cause, "3 checks failed, the last: status 404");
    // A check that passes does not bring it back alone, and is no reason.
    server.test_status(200);
    server.test_status(503);
    let now = view();
    assert_eq!(now.cause, "3 checks failed, the last: status 503");
    assert_eq!((now.state, now.since), (Down, since));
}
