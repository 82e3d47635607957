//! `tidegate schema`: the JSON Schema of the configuration, for editors.
//!
//! The schema is derived from the same types that the parser fills, so that an
//! editor completes each key that this version knows and no other one. It goes
//! to stdout, indented, and depends on nothing but the version: neither a file
//! nor the environment is read.
//!
//! A schema describes shapes. Rules between several keys, such as a route whose
//! upstream does not exist, are the business of `tidegate check`.

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
