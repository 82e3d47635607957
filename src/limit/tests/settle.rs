//! Requests whose cost is known in the end: what they took too much comes back,
//! and what they took too little is owed.

use proptest::prelude::*;

use super::*;

/// Admits a request that reserves some tokens.
fn reserve(limiter: &Limiter, now: Now, key: Key, tokens: u32) -> Result<Admission, Duration> {
    decide(now, &[Ask::new(limiter, key, tokens)]).map_err(|refusal| refusal.retry_after)
}

/// Settles a request that reserved some tokens and has used others.
fn settle(limiter: &Limiter, now: Now, key: Key, admission: Admission, reserved: u32, used: u64) {
    match used.checked_sub(reserved.into()) {
        Some(more) => admission.owe(now, [Ask::new(limiter, key, 0)], more),
        None => admission.refund_part(now, [limiter], reserved - used as u32),
    }
}

#[test]
fn a_key_in_debt_is_refused_until_it_has_paid_and_not_a_nanosecond_longer() {
    let limiter = limiter(10, SECOND, 20, 10);
    let admission = reserve(&limiter, START, key(1), 5).unwrap();
    settle(&limiter, START, key(1), admission, 5, 70);
    let standing = limiter.standing(START, key(1), None);
    assert_eq!((standing.remaining, standing.reset()), (0, 7 * SECOND));
    assert_eq!((standing.owed(), standing.next()), (50, SECOND * 51 / 10));
    let wait = ask(&limiter, START, key(1), 5).unwrap_err();
    assert_eq!(wait, SECOND * 55 / 10);
    let early = START.after(wait - Duration::from_nanos(1));
    assert!(ask(&limiter, early, key(1), 5).is_err());
    assert!(ask(&limiter, START.after(wait), key(1), 5).is_ok());
    assert!(
        ask(&limiter, START, key(2), 20).is_ok(),
        "others owe nothing"
    );
}

#[test]
fn unused_tokens_come_back_as_far_as_time_has_not_returned_them() {
    let limiter = limiter(10, SECOND, 20, 10);
    let admission = reserve(&limiter, START, key(1), 10).unwrap();
    settle(&limiter, START, key(1), admission, 10, 3);
    assert_eq!(limiter.standing(START, key(1), None).remaining, 17);
    let admission = reserve(&limiter, START, key(2), 10).unwrap();
    // Half of a second later five of the ten are back, and of the three that
    // were used all: nothing is won.
    let later = START.after(SECOND / 2);
    settle(&limiter, later, key(2), admission, 10, 3);
    assert_eq!(drain(&limiter, later, key(2)), 20);
}

#[test]
fn a_debt_ends_at_ten_bursts_whatever_a_server_says() {
    let limiter = limiter(10, SECOND, 20, 10);
    let admission = reserve(&limiter, START, key(1), 1).unwrap();
    for used in [100, u64::MAX, u64::MAX] {
        settle(&limiter, START, key(1), admission.clone(), 1, used);
    }
    assert_eq!(limiter.standing(START, key(1), None).reset(), 20 * SECOND);
    // The slowest bucket that there is: its debt stays far from the end of the
    // clock, also when another quota measures it.
    let slowest = Limiter::new("slow", quota(1, Duration::from_nanos(1 << 61), 1), keys(1));
    let slowest = slowest.unwrap();
    let admission = reserve(&slowest, START, key(1), 1).unwrap();
    settle(&slowest, START, key(1), admission, 1, u64::MAX);
    let debt = slowest.standing(START, key(1), None).reset();
    assert_eq!(debt, Duration::from_nanos(1 << 62));
    assert!(ask(&slowest, START, key(1), 1).is_err());
}

#[test]
fn a_key_without_a_slot_owes_through_its_own_or_the_common_one() {
    let limiter = limiter(1, SECOND, 2, 1);
    let admission = reserve(&limiter, START, key(1), 1).unwrap();
    // Another key takes the only slot once the bucket is full again.
    let later = START.after(SECOND);
    assert!(ask(&limiter, later, key(2), 1).is_ok());
    settle(&limiter, later, key(1), admission.clone(), 1, 3);
    assert!(
        ask(&limiter, later, key(3), 1).is_err(),
        "the common one owes"
    );
    let much_later = later.after(10 * SECOND);
    settle(&limiter, much_later, key(1), admission, 1, 4);
    assert_eq!(ask(&limiter, much_later, key(1), 1), Err(2 * SECOND));
}

#[test]
fn a_debt_is_kept_in_proportion_when_the_quota_changes() {
    let before = limiter(10, SECOND, 20, 10);
    let admission = reserve(&before, START, key(1), 1).unwrap();
    settle(&before, START, key(1), admission, 1, 60);
    let after = before
        .reconfigured(quota(10, SECOND, 40), keys(10), START)
        .unwrap();
    assert_eq!(after.standing(START, key(1), None).reset(), 12 * SECOND);
}

/// One step of a client that tries to get more than its quota.
#[derive(Debug, Clone)]
enum Step {
    /// Asks for a request that reserves some tokens and will have used others.
    Ask { reserve: u32, uses: u64 },
    /// Has the request end that is the nth of those in flight.
    End(usize),
    /// Lets time pass, in nanoseconds.
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1_u32..6, 0_u64..20).prop_map(|(reserve, uses)| Step::Ask { reserve, uses }),
        (0_usize..8).prop_map(Step::End),
        (0_u64..3_000_000_000).prop_map(Step::Wait),
    ]
}

proptest! {
    /// The bound of the module `settle`: of the tokens served from one
    /// admission to another, those of the requests that had ended by then are
    /// within burst and rate; only what requests in flight had reserved too
    /// little is not.
    #[test]
    fn nothing_but_what_is_in_flight_exceeds_burst_and_rate(
        steps in prop::collection::vec(step(), 1..80),
        burst in 5_u32..12,
    ) {
        let limiter = limiter(3, SECOND, burst, 10);
        let gcra = *limiter.gcra();
        let mut now = START;
        // Tokens in the order in which they were served, and the places and
        // times of the admissions among them.
        let (mut served, mut admissions) = (Vec::new(), Vec::new());
        let mut in_flight = Vec::new();
        for step in steps {
            match step {
                Step::Wait(nanoseconds) => now = now.after(Duration::from_nanos(nanoseconds)),
                Step::Ask { reserve: tokens, uses } => {
                    if let Ok(admission) = reserve(&limiter, now, key(1), tokens) {
                        admissions.push((served.len(), now.as_nanos()));
                        served.push(uses.min(tokens.into()));
                        in_flight.push((admission, tokens, uses));
                    }
                }
                Step::End(nth) if !in_flight.is_empty() => {
                    let (admission, tokens, uses) = in_flight.remove(nth % in_flight.len());
                    settle(&limiter, now, key(1), admission, tokens, uses);
                    served.push(uses.saturating_sub(tokens.into()));
                    let (debt, most) = (limiter.standing(now, key(1), None).reset(), 10 * u128::from(gcra.fill()));
                    prop_assert!(debt.as_nanos() <= most);
                    // More than ten bursts are forgiven, and not counted here.
                    prop_assume!(debt.as_nanos() < most);
                }
                Step::End(_) => {}
            }
        }
        for (first, (from, begin)) in admissions.iter().enumerate() {
            for (to, end) in &admissions[first..] {
                let tokens: u64 = served[*from..=*to].iter().sum();
                let most = u64::from(burst) * gcra.emission() + (end - begin);
                prop_assert!(tokens * gcra.emission() <= most, "{tokens} from {from} to {to}");
            }
        }
    }
}
