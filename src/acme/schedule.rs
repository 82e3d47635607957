//! When a certificate is renewed, and when a failed order is tried again.
//!
//! All functions take the present time and a random number, and none has a
//! state. A random number is at least 0 and below 1.

use std::{
    ops::Range,
    time::{Duration, SystemTime},
};

use crate::policy::KeyedCertificate;

/// The wait after the first order that an authority refused. Authorities count
/// failures by the hour: Let's Encrypt permits five for a name.
const FIRST_WAIT: Duration = Duration::from_secs(80);
/// The wait after the first attempt of which the authority has counted nothing,
/// as it was not reached, or looked at no more than a nonce. A machine that has
/// just started is soon connected.
const FIRST_WAIT_UNCOUNTED: Duration = Duration::from_secs(2);
/// The longest wait after a failure.
const LONGEST_WAIT: Duration = Duration::from_secs(6 * 60 * 60);
/// The shortest time from an order that succeeded to the next one for its
/// domain: a tenth of the certificate's life, within these bounds. An authority is
/// not asked in a loop, whatever it issues or suggests.
const BETWEEN_ORDERS: Range<Duration> = Duration::from_secs(60)..Duration::from_secs(60 * 60);
/// The shortest time between two requests for renewal information (RFC 9773,
/// 4.3.2).
const SHORTEST_ASK: Duration = Duration::from_secs(60);
/// The longest time between two of them.
const LONGEST_ASK: Duration = Duration::from_secs(24 * 60 * 60);

/// The wait after so many failures in a row, at least one: doubled with each,
/// at most six hours, and shortened at random by up to a quarter, so that
/// gateways that failed together do not come back together.
pub(super) fn wait(failures: u32, is_counted: bool, random: f64) -> Duration {
    let first = match is_counted {
        true => FIRST_WAIT,
        false => FIRST_WAIT_UNCOUNTED,
    };
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    let longest = first.saturating_mul(doubled).min(LONGEST_WAIT);
    longest.mul_f64(1.0 - random / 4.0)
}

/// The time at which a certificate is renewed that was obtained at `since`, if
/// its authority has no opinion: at two thirds of its life, or earlier by up to
/// a twentieth of it.
pub(super) fn by_lifetime(
    certificate: &KeyedCertificate,
    since: SystemTime,
    random: f64,
) -> SystemTime {
    let life = between(certificate.begins, certificate.expires);
    let chosen = certificate.begins + life.mul_f64(2.0 / 3.0 - random / 20.0);
    chosen.max(soonest(certificate, since))
}

/// The time at which a certificate is renewed that was obtained at `since`, if
/// its authority suggests this `window`: at random within it.
///
/// It is never later than after nine tenths of the certificate's life.
pub(super) fn by_window(
    certificate: &KeyedCertificate,
    window: &Range<SystemTime>,
    since: SystemTime,
    random: f64,
) -> SystemTime {
    let life = between(certificate.begins, certificate.expires);
    let chosen = window.start + between(window.start, window.end).mul_f64(random);
    let latest = certificate.begins + life.mul_f64(0.9);
    chosen.min(latest).max(soonest(certificate, since))
}

/// The earliest time of the next order, after one that succeeded at `since`.
fn soonest(certificate: &KeyedCertificate, since: SystemTime) -> SystemTime {
    let left = between(since.max(certificate.begins), certificate.expires);
    since + (left / 10).clamp(BETWEEN_ORDERS.start, BETWEEN_ORDERS.end)
}

/// The time until renewal information is asked for again, if the authority says
/// `after`.
pub(super) fn ask_again(after: Duration) -> Duration {
    after.clamp(SHORTEST_ASK, LONGEST_ASK)
}

/// The time from `start` to `end`; zero if the end is not behind the start.
fn between(start: SystemTime, end: SystemTime) -> Duration {
    end.duration_since(start).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tls::tests::identity;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn certificate(begins: Duration, life: Duration) -> KeyedCertificate {
        let mut certificate = identity(&["a.example"]);
        certificate.begins = SystemTime::UNIX_EPOCH + begins;
        certificate.expires = certificate.begins + life;
        certificate
    }

    #[test]
    fn waits_double_from_a_minute_to_six_hours() {
        let minutes = [1, 2, 3, 4, 5, 8, 9, 20, u32::MAX]
            .map(|failures| wait(failures, true, 0.0).as_secs_f64() / 60.0);
        for pair in minutes.windows(2) {
            assert!(pair[0] <= pair[1], "{minutes:?}");
        }
        assert_eq!(wait(1, true, 0.0), FIRST_WAIT);
        assert!(wait(1, true, 0.999_999).as_secs_f64() >= 60.0);
        assert_eq!(wait(2, true, 0.0), FIRST_WAIT * 2);
        assert_eq!(wait(u32::MAX, true, 0.0), LONGEST_WAIT);
        assert_eq!(wait(1, false, 0.0), FIRST_WAIT_UNCOUNTED);
        assert_eq!(wait(u32::MAX, false, 0.0), LONGEST_WAIT);
    }

    #[test]
    fn a_certificate_for_ninety_days_is_renewed_after_fifty_five_to_sixty() {
        let certificate = certificate(DAY, 90 * DAY);
        let after = |random| {
            let at = by_lifetime(&certificate, certificate.begins, random);
            at.duration_since(certificate.begins).unwrap().as_secs_f64() / DAY.as_secs_f64()
        };
        assert!((after(0.0) - 60.0).abs() < 0.01 && (after(1.0) - 55.5).abs() < 0.01);
    }

    #[test]
    fn a_window_in_the_past_does_not_renew_again_and_again() {
        let certificate = certificate(DAY, 90 * DAY);
        let past = SystemTime::UNIX_EPOCH..SystemTime::UNIX_EPOCH + DAY;
        let obtained = certificate.begins + Duration::from_secs(5);
        assert_eq!(
            by_window(&certificate, &past, obtained, 0.5),
            obtained + BETWEEN_ORDERS.end
        );
    }

    #[test]
    fn a_certificate_that_is_old_when_it_is_issued_does_not_renew_again_and_again() {
        let certificate = certificate(DAY, 90 * DAY);
        for left in [10 * DAY, Duration::from_secs(1)] {
            let obtained = certificate.expires - left;
            let at = by_lifetime(&certificate, obtained, 0.5);
            assert!(at >= obtained + BETWEEN_ORDERS.start, "{left:?}");
        }
    }

    #[test]
    fn a_window_that_never_comes_does_not_keep_a_certificate_until_its_end() {
        let certificate = certificate(DAY, 90 * DAY);
        let never = SystemTime::UNIX_EPOCH + 100_000 * DAY..SystemTime::UNIX_EPOCH + 200_000 * DAY;
        let at = by_window(&certificate, &never, certificate.begins, 0.5);
        assert_eq!(at, certificate.begins + 81 * DAY);
    }

    proptest! {
        #[test]
        fn a_renewal_is_before_the_end(
            life in 601_u64..10_000_000, start in 0_u64..20_000_000, length in 0_u64..20_000_000, random in 0.0..1.0_f64,
        ) {
            let certificate = certificate(DAY, Duration::from_secs(life));
            let start = SystemTime::UNIX_EPOCH + Duration::from_secs(start);
            let window = start..start + Duration::from_secs(length);
            let by_window = by_window(&certificate, &window, certificate.begins, random);
            let by_lifetime = by_lifetime(&certificate, certificate.begins, random);
            for at in [by_window, by_lifetime] {
                prop_assert!(certificate.begins < at && at < certificate.expires);
            }
        }

        #[test]
        fn a_wait_is_never_longer_than_six_hours(failures in any::<u32>(), is_counted in any::<bool>(), random in 0.0..1.0_f64) {
            let wait = wait(failures, is_counted, random);
            prop_assert!(wait <= LONGEST_WAIT && wait >= Duration::from_millis(1500));
        }
    }
}
