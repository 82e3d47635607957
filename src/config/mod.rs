//! The configuration: a TOML file in, a checked [`model::Config`] or diagnostics out. A leaf.

pub mod model;
