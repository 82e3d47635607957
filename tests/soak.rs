//! A few seconds of the soak test (`soak.py`): everything at once, and nothing
//! of it remains.
//!
//! Run by hand, it takes minutes with the release build and also checks memory,
//! which seconds cannot show.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::{path::Path, process::Command};

#[test]
fn nothing_remains_of_leaving_clients_dying_services_and_reloads() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/soak.py");
    let mut command = Command::new("python3");
    command.arg(script).args([
        "--minutes",
        "0.1",
        "--binary",
        env!("CARGO_BIN_EXE_tidegate"),
    ]);
    let output = command.output().expect("python3, which tests/all installs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}
