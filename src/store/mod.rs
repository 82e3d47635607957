//! Limits shared by several gateways.

mod ledger;
mod name;
mod share;
#[cfg(test)]
mod tests;

pub use self::{
    name::{Name, NameHasher},
    share::Pace,
};
