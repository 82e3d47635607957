//! Watching the files of a configuration: a look twice a second, a reload once they have stopped changing.
//!
//! Looking instead of being notified is deliberate. Editors rename, Kubernetes swaps a link two folders up, network file
//! systems tell nobody, and a watcher that dies is silent; a look at a few files sees all of it and cannot die.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::config::Watched;

/// Time between two looks; a change that is the same for two looks is complete.
pub const LOOK: Duration = Duration::from_millis(500);

/// Waits until what is watched differs from what it looked like when it was read, and has stopped changing.
pub async fn changed(read: Watched) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = read.clone();
    loop {
        ticks.tick().await;
        let looked = last.clone();
        // A file system that hangs must not stop signals and scrapes.
        let Ok(now) = tokio::task::spawn_blocking(move || looked.look_again()).await else { continue };
        if now != read && now == last {
            return;
        }
        last = now;
    }
}
