//! Regular work of the control thread: closes old connections, drops expired
//! entries, resolves names again.
//!
//! One timer drives all of it, because timers cause most of the wake-ups of an
//! idle gateway.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::time::{Instant, sleep_until};

use crate::{
    build::State,
    limit::{Clock, Swept},
    upstream::CurrentUpstream,
};

/// Time between two sweeps while all servers can be reached: for old and closed
/// connections, for expired entries, and for names that are due. For a longer
/// time tokio's timer wheel wakes up three times instead of twice.
const SWEEP: Duration = Duration::from_secs(4);
/// Time between two sweeps while a server is out of reach or a name is in
/// doubt.
const SOON: Duration = Duration::from_secs(2);

/// Sweeps for ever, always the state of the present configuration. Ends when it
/// is aborted.
pub(super) async fn maintain(state: Arc<ArcSwap<State>>) {
    let mut next = Instant::now();
    loop {
        let is_due = tokio::select! {
            () = sleep_until(next) => true,
            () = CurrentUpstream::wants_a_look() => false,
        };
        let state = state.load_full();
        let now = Instant::now();
        if is_due {
            let is_reached = sweep(&state);
            next = now + if is_reached { SWEEP } else { SOON };
        } else {
            next = next.min(now + SOON);
        }
        // The lookups run by themselves, because a name server may be slow.
        for (_, upstream) in state.upstreams() {
            drop(upstream.resolve());
        }
    }
}

/// Closes and drops old connections and entries. Returns whether all servers
/// can be reached.
fn sweep(state: &State) -> bool {
    let mut is_all_reached = true;
    for (_, upstream) in state.upstreams() {
        is_all_reached &= upstream.sweep();
    }
    let now = Clock.now();
    let rates = state
        .limits()
        .map(|(name, limiter)| (name, limiter.sweep(now)));
    let caps = state.in_flight();
    let caps = caps.map(|(name, in_flight)| (name, in_flight.sweep(now)));
    for (name, ended) in rates.chain(caps) {
        if ended > 0 {
            tracing::info!(limit = %name, keys = ended, "the time of other numbers for keys is over");
        }
    }
    for (name, bans) in state.bans() {
        let Swept { begun, ended } = bans.sweep(now);
        if begun > 0 || ended > 0 {
            let banned = bans.stats().banned;
            tracing::info!(limit = %name, begun, ended, banned, "keys are banned, or are no longer");
        }
    }
    is_all_reached
}
