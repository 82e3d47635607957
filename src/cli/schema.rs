//! `tidegate schema`: the JSON Schema of the configuration, for editors.

use std::process::ExitCode;

use clap::Args;

use super::output::print;
use crate::config::json_schema;

/// Print the JSON Schema of the configuration language
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {}

const EXAMPLES: &str = "\
Examples:
  tidegate schema > tidegate.schema.json

With this first line in tidegate.toml, editors complete and explain every key:
  #:schema ./tidegate.schema.json";

/// Prints the schema.
pub(super) fn run(_: &Arguments) -> ExitCode {
    print(&format!("{:#}\n", json_schema()))
}
