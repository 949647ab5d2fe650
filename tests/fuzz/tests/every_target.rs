//! Every target, on its seeds and on mutations of them: what a campaign does at
//! length, in a second or two, on any toolchain.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use std::time::{Duration, Instant};

use notify_fuzz::{TARGETS, Target, dictionary};

/// How long a target is mutated for; an unoptimised build gets less far.
const TIME_MAX: Duration = Duration::from_millis(300);

/// How many mutations a target gets at most.
const MUTATIONS_MAX: u64 = 20_000;

#[test]
fn every_target_has_a_program_and_seeds() {
    let programs = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin")).unwrap();
    let programs: BTreeSet<_> = programs
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let named = TARGETS
        .iter()
        .map(|target| format!("fuzz-{}.rs", target.name));
    assert_eq!(programs, named.collect());
    for target in TARGETS {
        assert!(!(target.seeds)().is_empty(), "{}", target.name);
    }
}

#[test]
fn every_target_holds_for_its_seeds() {
    for target in TARGETS {
        for seed in (target.seeds)() {
            check(target, &seed);
        }
    }
}

#[test]
fn every_target_holds_for_mutations_of_its_seeds() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        let started = Instant::now();
        let mut random = Random(0x5eed);
        for _ in 0..MUTATIONS_MAX {
            let mut bytes = random.pick(&seeds).clone();
            for _ in 0..=random.below(4) {
                random.mutate(&mut bytes, &seeds);
            }
            check(target, &bytes);
            if started.elapsed() > TIME_MAX {
                break;
            }
        }
    }
}

#[test]
fn every_target_holds_for_nothing_and_for_every_byte() {
    for target in TARGETS {
        check(target, &[]);
        for byte in 0..=u8::MAX {
            check(target, &[byte]);
        }
    }
}

/// Keeps what breaks a target in a file, from which its program replays it.
#[track_caller]
fn check(target: &Target, bytes: &[u8]) {
    if catch_unwind(|| (target.check)(bytes)).is_err() {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("broke-{}", target.name));
        fs::write(&file, bytes).unwrap();
        panic!(
            "replay with: cargo run --package notify-fuzz --bin fuzz-{} {}\n{}",
            target.name,
            file.display(),
            bytes.escape_ascii(),
        );
    }
}

/// SplitMix64: the same numbers in every run. How many are drawn is a matter of
/// time, so what fails is kept in a file.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let start = self.below(bytes.len() + 1);
        let end = (start + self.below(9)).min(bytes.len());
        match self.below(7) {
            0 => bytes.truncate(start),
            1 => drop(bytes.drain(start..end)),
            2 => bytes
                .splice(start..start, bytes[start..end].to_vec())
                .for_each(drop),
            3 => {
                let telling = b"\0\t\n\r \"%./:0?@[\\]{}\x7f\x80\xff";
                bytes.insert(start, *self.pick(telling));
            }
            4 => {
                let part = self.pick(dictionary::PARTS).bytes();
                bytes.splice(start..start, part).for_each(drop);
            }
            5 => {
                let other = self.pick(seeds);
                let from = self.below(other.len() + 1);
                bytes.truncate(start);
                bytes.extend(&other[from..]);
            }
            _ => {
                let bit = self.below(8);
                if let Some(byte) = bytes.get_mut(start) {
                    *byte ^= 1 << bit;
                }
            }
        }
    }
}
