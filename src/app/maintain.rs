//! Tasks of the control thread every two seconds, whatever comes in: old connections, expired entries, names to look up.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::time::{MissedTickBehavior, interval};

use crate::{gateway::State, limit::Clock, upstream::Upstream};

/// How often it is looked for old and closed connections, for what is over, and for names that are due. One timer for all:
/// a gateway with nothing to do wakes up as rarely as that.
const SWEEP: Duration = Duration::from_secs(2);

/// Keeps pools and names fresh.
pub(super) async fn maintain(state: Arc<ArcSwap<State>>) {
    let mut ticks = interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_tick = tokio::select! {
            _ = ticks.tick() => true,
            () = Upstream::wants_names() => false,
        };
        let state = state.load_full();
        if is_tick {
            sweep(&state);
        }
        // Nobody waits for them here: a name server may be slow.
        state.upstreams().for_each(|(_, upstream)| drop(upstream.resolve()));
    }
}

/// Clears away what is over.
fn sweep(state: &State) {
    state.upstreams().for_each(|(_, upstream)| upstream.sweep());
    for (name, limiter) in state.limits() {
        let ended = limiter.sweep(Clock.now());
        if ended > 0 {
            tracing::info!(limit = %name, keys = ended, "the time of other numbers for keys is over");
        }
    }
}
