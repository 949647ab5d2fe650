//! What a target is as a program.
//!
//! Under `cargo fuzz` it is what the fuzzer drives. Built as anything else it
//! replays: `fuzz-url FILE...` puts each file through the target, and
//! `fuzz-url --seeds FOLDER --dictionary FILE` writes the target's seeds to begin a
//! campaign from, and the parts to put in.

use std::ffi::OsString;
use std::path::Path;
use std::{fs, io};

use crate::Target;

/// The program of a target, given its module.
#[macro_export]
macro_rules! program {
    ($target:ident) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| $crate::$target::check(bytes));

        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            $crate::program::run($crate::$target::TARGET, std::env::args_os().skip(1))
        }
    };
}

/// Does what the arguments ask for.
///
/// # Errors
/// If a file or the folder can't be read or written.
///
/// # Panics
/// If the property does not hold for a file.
pub fn run(target: Target, mut arguments: impl Iterator<Item = OsString>) -> io::Result<()> {
    while let Some(argument) = arguments.next() {
        if argument == "--seeds" {
            let folder = arguments.next().ok_or(io::ErrorKind::InvalidInput)?;
            write_seeds(target, Path::new(&folder))?;
        } else if argument == "--dictionary" {
            let file = arguments.next().ok_or(io::ErrorKind::InvalidInput)?;
            fs::write(file, crate::dictionary::file())?;
        } else {
            (target.check)(&fs::read(argument)?);
        }
    }
    Ok(())
}

fn write_seeds(target: Target, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (seed, number) in (target.seeds)().iter().zip(0..) {
        fs::write(folder.join(format!("{number:03}")), seed)?;
    }
    Ok(())
}
