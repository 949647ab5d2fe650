//! What a suite needs from outside the workspace.

use std::fmt;

/// Something that can be looked for, and perhaps installed.
pub(crate) trait Need: Sync {
    /// Makes sure that it is there, installing it where that takes no password.
    ///
    /// # Errors
    ///
    /// What is missing and how to install it.
    fn ensure(&self) -> Result<(), Missing>;
}

/// A sentence that says what could not be had and how to install it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Missing(pub(crate) String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
