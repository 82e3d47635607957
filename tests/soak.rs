//! A few seconds of the soak (`soak.py`): everything at once, and nothing of it is left. By hand it goes on for minutes, with
//! the release build, and looks at memory too, of which seconds tell nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::{path::Path, process::Command};

#[test]
fn nothing_is_left_of_clients_that_leave_services_that_die_and_reloads_at_once() {
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
