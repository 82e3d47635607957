//! Tasks of the control thread every few seconds, whatever comes in: old connections, expired entries, names to look up.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::time::{Instant, sleep_until};

use crate::{build::State, limit::Clock, upstream::Upstream};

/// How often the control thread looks for old and closed connections, for entries that have expired, and for names that are
/// due, while all servers are within reach. One timer for all: it is most of the wake-ups of a gateway with nothing to do. Of
/// a longer time tokio's wheel of timers wakes up three times instead of twice.
const SWEEP: Duration = Duration::from_secs(4);
/// The same while a server is out of reach, or a name is in doubt.
const SOON: Duration = Duration::from_secs(2);

/// Keeps pools and names fresh.
pub(super) async fn maintain(state: Arc<ArcSwap<State>>) {
    let mut next = Instant::now();
    loop {
        let is_due = tokio::select! {
            () = sleep_until(next) => true,
            () = Upstream::wants_a_look() => false,
        };
        let state = state.load_full();
        let now = Instant::now();
        if is_due {
            let is_reached = sweep(&state);
            next = now + if is_reached { SWEEP } else { SOON };
        } else {
            next = next.min(now + SOON);
        }
        // Nobody waits for them here: a name server may be slow.
        state
            .upstreams()
            .for_each(|(_, upstream)| drop(upstream.resolve()));
    }
}

/// Clears away what is over. Tells whether all servers are within reach.
fn sweep(state: &State) -> bool {
    let out_of_reach = state
        .upstreams()
        .filter(|(_, upstream)| !upstream.sweep())
        .count();
    for (name, limiter) in state.limits() {
        let ended = limiter.sweep(Clock.now());
        if ended > 0 {
            tracing::info!(limit = %name, keys = ended, "the time of other numbers for keys is over");
        }
    }
    out_of_reach == 0
}
