//! `[limits.NAME]`.

use std::num::NonZeroU32;

use http::StatusCode;

use super::{
    super::{
        model::{Limit, Rate},
        problem::{Code, Problem, Problems},
        syntax::{self, key},
        units,
    },
    reader::Reader,
};

/// Longest time in which an empty bucket is full again, in years: times are kept in 64 bits of nanoseconds.
const LONGEST_REFILL_YEARS: u128 = 100;
const NANOSECONDS_A_YEAR: u128 = units::LONGEST.as_nanos();

pub(super) fn limit(name: &str, limit: Reader<'_>, problems: &mut Problems) -> Option<Limit> {
    let rate = limit.parsed("rate", units::rate)?;
    let burst = if limit.given("burst").is_some() { limit.at_least_one_u32("burst")? } else { rate.count };
    if refill(rate, burst) > LONGEST_REFILL_YEARS * NANOSECONDS_A_YEAR {
        let message =
            format!("a burst of {burst} at this rate takes more than {LONGEST_REFILL_YEARS} years to come back");
        let problem = Problem::new(Code::Conflict, limit.place("burst"), message);
        problems.report(problem.help("lower `burst` or raise `rate`"));
    }
    if limit.is_broken("key") {
        return None;
    }
    Some(Limit {
        name: syntax::name(name).ok()?,
        key: limit.list("key", key::part),
        missing: limit.parsed("missing", key::missing)?,
        rate,
        burst,
        max_keys: limit.at_least_one("max_keys")?,
        persist: limit.flag("persist")?,
        status: StatusCode::from_u16(u16::try_from(limit.whole("status")?).ok()?).ok()?,
    })
}

/// What outlives the process is written somewhere.
pub(super) fn need_a_place(limits: &[(&str, Reader<'_>)], server: Reader<'_>, problems: &mut Problems) {
    if problems.incomplete || server.is_broken("state_dir") || server.given("state_dir").is_some() {
        return;
    }
    for (_, limit) in limits.iter().filter(|(_, limit)| limit.flag("persist") == Some(true)) {
        let message = "`persist = true` has nowhere to write: `[server]` has no `state_dir`";
        let problem = Problem::new(Code::Conflict, limit.place("persist"), message);
        problems
            .report(problem.help("name a folder for it, such as `state_dir = \"/var/lib/tidegate\"` in `[server]`"));
    }
}

/// Nanoseconds in which a whole burst comes back.
fn refill(rate: Rate, burst: NonZeroU32) -> u128 {
    rate.period.as_nanos() * u128::from(burst.get()) / u128::from(rate.count.get())
}
