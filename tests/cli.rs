//! The command line: transcripts of every command, and gateways that really
//! run.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "cli/process.rs"]
mod process;

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

#[test]
fn every_command_matches_its_transcript() {
    trycmd::TestCases::new()
        .env("NO_COLOR", "1")
        .case("tests/cli/*.md");
}

#[test]
fn the_committed_schema_is_the_printed_one() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/tidegate.schema.json");
    assert_eq!(
        printed(&["schema"]),
        std::fs::read_to_string(committed).unwrap()
    );
}

#[test]
fn there_are_completions_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = printed(&["completions", shell]);
        assert!(
            script.contains("tidegate") && script.contains("max-in-flight"),
            "{shell}: {script}"
        );
    }
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    for command in [
        "run",
        "check",
        "demo",
        "proxy",
        "schema",
        "import",
        "reload",
        "version",
        "completions",
        "man",
    ] {
        let page = printed(&["man", command]);
        assert!(
            page.contains(&format!(".TH tidegate-{command} 1")),
            "{page}"
        );
    }
    let page = printed(&["man"]);
    assert!(
        page.contains("\n\\&tidegate run \\-\\-config tidegate.toml "),
        "not one example on each line\n{page}"
    );
    for section in ["EXAMPLES", "FILES", "SIGNALS", "EXIT STATUS"] {
        assert!(
            page.contains(&format!("\n.SH {section}\n")),
            "{section}\n{page}"
        );
    }
}

#[test]
fn the_configuration_of_the_demo_is_a_valid_start() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("tidegate.toml"),
        printed(&["demo", "--print-config"]),
    )
    .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["check", "--strict"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "./tidegate.toml: ok: 8 routes, 5 limits, 1 upstream\n"
    );
}

#[test]
fn check_reads_stdin_when_its_file_is_a_dash() {
    let check = |text: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["check", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        (
            output.status.success(),
            String::from_utf8([output.stdout, output.stderr].concat()).unwrap(),
        )
    };
    let (is_fine, said) = check("[[routes]]\nname = \"a\"\nrespond = {}\n");
    assert!(
        is_fine && said == "stdin: ok: 1 route, 0 limits, 0 upstreams\n",
        "{said}"
    );
    let (is_fine, said) = check("[[routes]]\nname = \"a\"\nupstream = \"b\"\n");
    assert!(!is_fine && said.contains("--> stdin:3:12"), "{said}");
}

#[test]
fn check_finds_its_file_as_run_does() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("tidegate.toml"),
        "[[routes]]\nname = \"a\"\nrespond = {}\n",
    )
    .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .arg("check")
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "./tidegate.toml: ok: 1 route, 0 limits, 0 upstreams\n"
    );
}

fn printed(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    String::from_utf8(output.stdout).unwrap()
}
