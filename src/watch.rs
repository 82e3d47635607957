//! Watching the files of a configuration: the kernel tells of changes in their folders, and they are looked at all the same
//! every few seconds.
//!
//! Only looking finds what no notification tells: network file systems tell nobody. And only looking at the files, again and
//! again, says what there is: editors rename, Kubernetes swaps a link two folders up. So a notification only says when to look.

use std::{io, os::fd::OwnedFd, time::Duration};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::{
    net::unix::pipe::Receiver,
    task::spawn_blocking,
    time::{Instant, sleep, timeout},
};

use crate::config::Watched;

/// Time between two looks at files that are changing; a change that is the same for two looks is complete.
pub const LOOK: Duration = Duration::from_millis(500);
/// Files that never stop changing are complete after so long: read too early, they are read again.
const LONGEST: Duration = Duration::from_secs(5);
/// Time between two looks while nobody tells of a change.
const SLOW: Duration = Duration::from_secs(10);

/// Waits until what is watched differs from what it looked like when it was read, and has stopped changing, or has been
/// changing for five seconds.
pub async fn changed(read: Watched) {
    loop {
        let watched = read.clone();
        // A file system that hangs must not stop signals and scrapes. Told before the look: nothing falls in between.
        let looked = spawn_blocking(move || (tell(&watched), watched.look_again())).await;
        let Ok((told, now)) = looked else { continue };
        if now != read && has_settled(&read, now).await {
            return;
        }
        if is_told(told).await {
            // Much that changes beside the files costs two looks a second.
            sleep(LOOK).await;
        }
    }
}

/// Waits until two looks are alike. False when they are as what was read.
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

/// Has the kernel tell of what happens where the files are. Made anew for each look, as links may lead elsewhere by then.
/// Blocks.
fn tell(watched: &Watched) -> io::Result<OwnedFd> {
    let told = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    let kinds = WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO
        | WatchFlags::MODIFY
        | WatchFlags::ATTRIB
        | WatchFlags::ONLYDIR;
    for folder in watched.places() {
        // A folder that cannot be watched is looked at.
        let _ = inotify::add_watch(&told, &folder, kinds);
    }
    Ok(told)
}

/// Waits until the kernel tells something, or it is time to look all the same; which it was.
async fn is_told(told: io::Result<OwnedFd>) -> bool {
    // Like a pipe it is readable when there is something to read, and that is all that is asked of it.
    match told.and_then(Receiver::from_owned_fd_unchecked) {
        Ok(told) => matches!(timeout(SLOW, told.readable()).await, Ok(Ok(_))),
        Err(_) => {
            sleep(SLOW).await;
            false
        }
    }
}
