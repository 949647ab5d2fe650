//! The program `notify`; see the library of the same package.

use std::process::ExitCode;

fn main() -> ExitCode {
    notify_server::run(std::env::args_os(), std::env::vars_os())
}
