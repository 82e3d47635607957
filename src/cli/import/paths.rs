//! Files that a configuration names, such as certificates.

use std::path::{Path, PathBuf};

/// Where relative names of files start.
#[derive(Debug)]
pub(super) struct Paths {
    /// As the file that is written has to name it.
    folder: PathBuf,
}

impl Paths {
    /// For a source in `folder`, and a file that is written to `output`, or to
    /// the present folder.
    ///
    /// Names stay relative where both start in the present folder.
    pub(super) fn new(folder: &Path, output: Option<&Path>) -> Self {
        let is_here = |output: &Path| output.parent().is_none_or(|to| to.as_os_str().is_empty());
        let folder = match output.is_none_or(is_here) {
            true => folder.to_owned(),
            false => std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()),
        };
        Self { folder }
    }

    /// The name of a file from the source.
    pub(super) fn name(&self, file: &str) -> String {
        self.folder.join(file).to_string_lossy().into_owned()
    }
}
