//! Messages to systemd about the state of the process (`Type=notify`,
//! sd_notify(3)).

use sd_notify::NotifyState;

/// The message for the begin of a reload. `Type=notify-reload` compares its
/// time with that of its own request.
pub(super) fn reloading() -> Vec<NotifyState<'static>> {
    let now = NotifyState::monotonic_usec_now().ok();
    [NotifyState::Reloading].into_iter().chain(now).collect()
}

/// Sends a message, if systemd started the process and asked for messages.
pub(super) fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not notified");
    }
}
