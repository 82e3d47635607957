//! The paused clock.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_limits_follow_tokios_clock() {
    let limiter = limiter(1, SECOND, 1, 10);
    assert_eq!(ask(&limiter, Clock.now(), key(1), 1), Ok(()));
    assert_eq!(ask(&limiter, Clock.now(), key(1), 1), Err(SECOND));
    tokio::time::advance(SECOND).await;
    assert_eq!(ask(&limiter, Clock.now(), key(1), 1), Ok(()));
}

#[test]
fn a_reading_is_never_zero() {
    assert_eq!(Now::from_nanos(0).as_nanos(), 1);
    assert!(Clock.now().as_nanos() > 0);
}
