//! The container of everything that a reload carries over by name.

use std::{collections::BTreeMap, sync::Arc};

/// Things by the names that the configuration gives them, in the order of the
/// names.
pub(super) type Named<T> = BTreeMap<Arc<str>, T>;
