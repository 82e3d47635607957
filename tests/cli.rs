//! The command line: transcripts of what each command says, and gateways that really run.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "cli/process.rs"]
mod process;

use std::{path::Path, process::Command};

#[test]
fn every_command_says_what_its_transcript_says() {
    trycmd::TestCases::new().env("NO_COLOR", "1").case("tests/cli/*.md");
}

#[test]
fn the_committed_schema_is_the_one_that_is_printed() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/tidegate.schema.json");
    assert_eq!(printed(&["schema"]), std::fs::read_to_string(committed).unwrap());
}

#[test]
fn there_are_completions_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = printed(&["completions", shell]);
        assert!(script.contains("tidegate") && script.contains("max-in-flight"), "{shell}: {script}");
    }
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    for command in ["run", "check", "demo", "proxy", "schema", "reload", "version", "completions", "man"] {
        let page = printed(&["man", command]);
        assert!(page.contains(&format!(".TH tidegate-{command} 1")), "{page}");
    }
}

fn printed(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate")).args(arguments).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
