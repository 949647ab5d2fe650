//! The target `secret` as a program.

#![cfg_attr(fuzzing, no_main)]

notify_fuzz::program!(secret);
