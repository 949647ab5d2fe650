//! The target `url` as a program.

#![cfg_attr(fuzzing, no_main)]

notify_fuzz::program!(url);
