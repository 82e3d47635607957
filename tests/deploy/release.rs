//! The parts that are shipped: a stripped binary with its symbols beside it,
//! generated pages and completions, and a workflow that names only what exists.

use std::{fs, path::Path, process::Command};

use super::{find, path, read};

const WORKFLOW: &str = ".github/workflows/release.yml";

#[test]
fn the_shipped_binary_is_stripped_and_names_its_symbols() {
    let folder = tempfile::tempdir().unwrap();
    let split = Command::new(path("deploy/strip"))
        .arg(env!("CARGO_BIN_EXE_tidegate"))
        .arg(folder.path())
        .status();
    assert!(split.unwrap().success());
    let sections = |file: &str| {
        let file = folder.path().join(file);
        let output = Command::new("readelf").arg("-SW").arg(file).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let (shipped, symbols) = (sections("tidegate"), sections("tidegate.debug"));
    assert!(shipped.contains(".gnu_debuglink"), "{shipped}");
    assert!(!shipped.contains(".debug_info") && !shipped.contains(".symtab"));
    assert!(symbols.contains(".debug_line"), "{symbols}");
    let runs = Command::new(folder.path().join("tidegate"))
        .arg("version")
        .status();
    assert!(runs.unwrap().success());
}

/// Run with `UPDATE_PAGES=1` to write them.
#[test]
fn the_pages_and_completions_of_the_package_are_those_of_the_program() {
    let printed = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(arguments)
            .output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let mut files = vec![("man/tidegate.1".to_owned(), printed(&["man"]))];
    let help = printed(&["--help"]);
    let commands = find(&help, r"(?m)^  ([a-z]+)  +[A-Z]");
    assert!(commands.len() > 8, "{help}");
    for command in commands.iter().filter(|command| *command != "help") {
        let page = printed(&["man", command]);
        files.push((format!("man/tidegate-{command}.1"), page));
    }
    for (shell, name) in [
        ("bash", "tidegate.bash"),
        ("zsh", "_tidegate"),
        ("fish", "tidegate.fish"),
    ] {
        files.push((
            format!("completions/{name}"),
            printed(&["completions", shell]),
        ));
    }
    for (name, text) in files {
        let name = format!("deploy/{name}");
        if std::env::var_os("UPDATE_PAGES").is_some() {
            fs::write(path(&name), &text).unwrap();
        }
        let shipped = fs::read_to_string(path(&name)).unwrap_or_default();
        assert!(
            shipped == text,
            "{name} is out of date: UPDATE_PAGES=1 cargo test --test deploy pages"
        );
    }
}

#[test]
fn the_release_workflow_names_only_files_that_exist_and_versions_of_actions() {
    let workflow = read(WORKFLOW);
    let files = find(&workflow, r"((?:deploy|\.ci)/[A-Za-z/]+)");
    assert!(files.len() >= 6, "found only {files:?}");
    for file in files {
        assert!(path(&file).exists(), "{WORKFLOW} names {file}");
    }
    let actions = find(&workflow, r"- uses: (\S+)");
    assert!(actions.len() >= 6, "found only {actions:?}");
    let version = regex::Regex::new("^[a-z-]+/[a-z-]+@(v[0-9]+|[0-9a-f]{40})$").unwrap();
    for action in actions {
        assert!(version.is_match(&action), "{action} has no version");
    }
    let builder = find(&workflow, r"cargo-deb@([0-9.]+)");
    assert_eq!(builder, find(&read("tests/all"), r"cargo-deb@([0-9.]+)"));
    let said = Command::new(std::env::var("TIDEGATE_TEST_PYTHON").expect("run tests/all"))
        .args([
            "-c",
            "import sys, yaml; print(*yaml.safe_load(open(sys.argv[1]))['jobs'])",
        ])
        .arg(path(WORKFLOW))
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&said.stdout),
        "test build image release\n"
    );
}

#[test]
fn the_text_of_a_release_is_its_section_of_the_changelog() {
    let notes = |version: &str| {
        Command::new(path("deploy/notes"))
            .arg(version)
            .output()
            .unwrap()
    };
    let unreleased = String::from_utf8(notes("Unreleased").stdout).unwrap();
    assert!(unreleased.trim_start().starts_with("### "), "{unreleased}");
    assert!(!unreleased.contains("\n## "));
    assert_eq!(notes("0.0.0").status.code(), Some(1));
}

#[test]
fn the_image_has_the_stripped_binary() {
    let dockerfile = read("deploy/docker/Dockerfile");
    assert!(dockerfile.contains("deploy/strip target/release/tidegate /out"));
    assert!(read("deploy/docker/Dockerfile.dockerignore").contains("!deploy/strip\n"));
    assert!(Path::new(&path("deploy/strip")).exists());
}
