//! Random histories: the same long run on a store and on the model.
//!
//! A seed decides a history: batches of settles and appends, leases that are out
//! of date, registrations, claims, redeliveries, trims, disabled endpoints, time
//! that passes and, for durable stores, restarts. Every answer is compared with
//! the model's, and everything that can be read every few steps. At the end all
//! is well again, and what is pending must drain.
//!
//! A history that fails says its seed; `STORE_HISTORY=<seed>` replays it alone.
//! `STORE_HISTORIES=<count>` runs more of them than usual.
//!
//! **What is kept out**, because the port leaves it open. Room is for all of an
//! endpoint's deliveries or for none: which of several goes first is the store's
//! choice. An endpoint has a secret of its own either from its first mention or
//! never, and is compared only while someone names it: a store may forget it
//! then. Dead letters are over or have to make room where no endpoint is ever forgotten,
//! since what is known of one goes when they do, and another one may come to its URL.
//! They never make room for their bytes: which of two that are equally large goes first
//! is the store's choice. Progress keeps no distance after a restart: when the last one was sent
//! need not be kept.

mod pair;
mod plan;
mod step;
mod witness;

use std::fmt::Write as _;

use super::{Bounds, Draw, DurableFactory, Restart, StoreFactory};
use pair::Pair;

/// How many histories are run, and how long each is.
const HISTORIES: u64 = 10;
const STEPS: u32 = 160;

/// After so many steps everything that can be read is compared.
const STEPS_PER_SNAPSHOT: u32 = 8;

pub async fn random_histories_agree_with_the_model(factory: &impl StoreFactory) {
    for seed in seeds() {
        play(factory, seed, 0, async |store, _| store).await;
    }
}

pub async fn random_histories_with_restarts_agree_with_the_model(factory: &impl DurableFactory) {
    for seed in seeds() {
        play(factory, seed, 8, async |store, how| {
            factory.restart(store, how).await
        })
        .await;
    }
}

async fn play<F: StoreFactory>(
    factory: &F,
    seed: u64,
    restart_percent: u64,
    restart: impl AsyncFn(F::Store, Restart) -> F::Store,
) {
    let bounds = Bounds::default();
    let mut replay = Replay {
        seed,
        steps: String::new(),
    };
    let mut draw = Draw::new(seed);
    let mut pair = Pair::new(factory.fresh(bounds).await, bounds);
    if draw.chance(50) {
        replay.note(0, "no endpoint is forgotten");
        pair.anchor().await;
    }
    for step in 0..STEPS {
        if draw.chance(restart_percent) {
            let how = draw.pick(&Restart::ALL);
            replay.note(step, &format!("{how:?} restart"));
            pair.store = restart(pair.store, how).await;
            pair.after_restart().await;
        } else {
            let what = pair.plan(&mut draw);
            replay.note(step, &format!("{:?} {what:?}", pair.now));
            pair.carry_out(what).await;
        }
        if step % STEPS_PER_SNAPSHOT == 0 {
            pair.compare_all().await;
        }
    }
    replay.note(STEPS, "drain");
    pair.drain().await;
}

/// The seeds of the histories to run.
fn seeds() -> Vec<u64> {
    let set = |name| std::env::var(name).ok().map(|text| text.parse().unwrap());
    match set("STORE_HISTORY") {
        Some(seed) => vec![seed],
        None => (0..set("STORE_HISTORIES").unwrap_or(HISTORIES)).collect(),
    }
}

/// Says how to replay a history if it fails, and what its last steps were.
struct Replay {
    seed: u64,
    steps: String,
}

impl Replay {
    fn note(&mut self, step: u32, what: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.steps, "step {step}: {what}");
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let steps: Vec<&str> = self.steps.lines().rev().take(12).collect();
            let steps = steps.join("\n");
            let seed = self.seed;
            eprintln!("the last steps, newest first:\n{steps}\nreplay with STORE_HISTORY={seed}");
        }
    }
}
