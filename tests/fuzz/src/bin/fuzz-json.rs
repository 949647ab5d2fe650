//! The target `json` as a program.

#![cfg_attr(fuzzing, no_main)]

notify_fuzz::program!(json);
