//! Watches the files of a configuration: by notifications of the kernel
//! (inotify(7)) and, all the same, by looking at them every few seconds.
//!
//! A notification only says when to look. Looking is needed anyway: network
//! file systems send no notifications, editors rename files, and Kubernetes
//! swaps a link two folders up.
//!
//! A change counts when two looks half a second apart see the same, so that a
//! file that is being written is not read in the middle. Files are compared by
//! [`Watched`], which knows the state in which they were read.

use std::{io, os::fd::OwnedFd, time::Duration};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::{
    net::unix::pipe::Receiver,
    task::spawn_blocking,
    time::{Instant, sleep, timeout},
};

use crate::config::Watched;

/// Time between two looks at files that are changing. A change that is the same
/// in two looks is complete.
pub const LOOK: Duration = Duration::from_millis(500);
/// Time after which files that do not stop changing are read all the same. If
/// that was too early, they are read again.
const LONGEST: Duration = Duration::from_secs(5);
/// Time between two looks without a notification.
const SLOW: Duration = Duration::from_secs(10);

/// Waits until the watched files differ from the state in which they were
/// `read`, and have stopped changing or have been changing for five seconds.
/// Cancel safe.
pub async fn changed(read: Watched) {
    loop {
        let watched = read.clone();
        // On a thread of its own, since a file system may hang. The
        // notifications are set up before the look, so that no change falls in
        // between.
        let looked = spawn_blocking(move || (notifications(&watched), watched.look_again())).await;
        let Ok((notifications, now)) = looked else {
            continue;
        };
        if now != read && has_settled(&read, now).await {
            return;
        }
        if is_notified(notifications).await {
            // Bounds the cost of other files that change in these folders to
            // two looks a second.
            sleep(LOOK).await;
        }
    }
}

/// Waits until two looks are alike, at most about five seconds. Returns false
/// if the files are as they were `read`.
async fn has_settled(read: &Watched, first: Watched) -> bool {
    let (since, mut last) = (Instant::now(), first);
    loop {
        sleep(LOOK).await;
        let looked = last.clone();
        let Ok(now) = spawn_blocking(move || looked.look_again()).await else {
            continue;
        };
        if now == last || since.elapsed() >= LONGEST {
            return now != *read;
        }
        last = now;
    }
}

/// Sets up notifications for the folders of the files. They are set up anew for
/// each look, as links may have changed. Blocks.
fn notifications(watched: &Watched) -> io::Result<OwnedFd> {
    let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    let kinds = WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO
        | WatchFlags::MODIFY
        | WatchFlags::ATTRIB
        | WatchFlags::ONLYDIR;
    for folder in watched.places() {
        // A folder without notifications is still looked at.
        let _ = inotify::add_watch(&events, &folder, kinds);
    }
    Ok(events)
}

/// Waits for a notification, or until it is time to look all the same. Returns
/// whether there was one.
async fn is_notified(notifications: io::Result<OwnedFd>) -> bool {
    // An inotify descriptor becomes readable like a pipe, and nothing is read
    // from it.
    match notifications.and_then(Receiver::from_owned_fd_unchecked) {
        Ok(events) => matches!(timeout(SLOW, events.readable()).await, Ok(Ok(_))),
        Err(_) => {
            sleep(SLOW).await;
            false
        }
    }
}
