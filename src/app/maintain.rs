//! What is done every second on the control thread, whatever comes in: old connections, what is over, names to look up.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::time::{interval, sleep};

use crate::{gateway::State, limit::Clock, reload::resolve};

/// How often kept connections are looked through for old and closed ones.
const SWEEP: Duration = Duration::from_secs(1);
/// How often it is looked whether names have to be looked up again.
const NAMES: Duration = Duration::from_secs(1);
/// Longest wait for a name, when nobody waits for it: as long as common resolvers take to give up.
const LOOKUP: Duration = Duration::from_secs(10);

/// Keeps pools and names fresh.
pub(super) async fn maintain(state: Arc<ArcSwap<State>>) {
    let sweeping = async {
        let mut ticks = interval(SWEEP);
        loop {
            ticks.tick().await;
            sweep(&state.load());
        }
    };
    // Beside the sweeps: a name server may be slow.
    let resolving = async {
        loop {
            sleep(NAMES).await;
            resolve(&state.load_full(), LOOKUP).await;
        }
    };
    let ((), ()) = tokio::join!(sweeping, resolving);
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
