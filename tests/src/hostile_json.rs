//! JSON that is made to hurt whoever reads it, and processes that it is sent to.
//!
//! [`generate`] makes a text from a seed: deep, wide, full of `serde_json`'s
//! private tokens, of long numbers or of escapes. [`place`] puts it where a door
//! expects something else. [`process`] runs a program with little stack and watches
//! how much memory it takes. The same seed makes the same text, so a failure is
//! replayed by its seed.

pub mod generate;
pub mod place;
pub mod process;

/// A text made to hurt, and its name or seed.
#[derive(Clone, Debug)]
pub struct Hostile {
    /// What it is called.
    pub name: String,
    /// The text, which may be no JSON.
    pub body: Vec<u8>,
}

/// No text is longer, whatever its place adds.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
