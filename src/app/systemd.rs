//! Telling systemd how far the process is (`Type=notify`).

/// What systemd wants to hear when a reload begins (`Type=notify-reload` compares the time).
pub(super) fn reloading() -> Vec<sd_notify::NotifyState<'static>> {
    let now = sd_notify::NotifyState::monotonic_usec_now().ok();
    [sd_notify::NotifyState::Reloading]
        .into_iter()
        .chain(now)
        .collect()
}

/// Tells systemd, if it asked.
pub(super) fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not notified");
    }
}
