//! Messages to systemd about the state of the process (`Type=notify` and
//! `Type=notify-reload`, sd_notify(3)): ready, reloading, stopping, and the id
//! of the process that has taken over.

use sd_notify::NotifyState;

/// The message for the beginning of a reload. `Type=notify-reload` compares its
/// time, by the monotonic clock, with that of its own request.
pub(super) fn reloading() -> Vec<NotifyState<'static>> {
    let now = NotifyState::monotonic_usec_now().ok();
    [NotifyState::Reloading].into_iter().chain(now).collect()
}

/// Sends a message if systemd started the process and asked for messages. A
/// failure is only logged: nothing depends on these messages but systemd
/// itself.
pub(super) fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not notified");
    }
}
