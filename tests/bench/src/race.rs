//! Several ways to do one thing, side by side.
//!
//! A machine's speed changes while one looks: other programs, heat, a clock that
//! rises. So the ways take turns, each turn is far shorter than what an operating
//! system gives a program at a time, and what counts is the fastest turn of each:
//! whatever else ran made the others slower, and none faster. The median beside
//! it tells how much of that there was.

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// How often the ways take turns.
const ROUNDS: usize = 2_000;

/// How long a turn of the floor is, about. The others do the thing as often.
const TURN: Duration = Duration::from_micros(50);

/// A floor and those who are compared with it.
pub struct Race<'a> {
    ways: Vec<Way<'a>>,
}

struct Way<'a> {
    name: &'static str,
    /// Does the thing so often.
    turn: Box<dyn FnMut(u32) + 'a>,
    /// How long each turn took, for each time.
    took: Vec<Duration>,
}

impl<'a> Race<'a> {
    /// Compares with `floor`.
    pub fn against<T>(name: &'static str, floor: impl FnMut() -> T + 'a) -> Self {
        Self { ways: Vec::new() }.with(name, floor)
    }

    /// Lets one more take part. What `work` returns counts as needed.
    #[must_use]
    pub fn with<T>(mut self, name: &'static str, mut work: impl FnMut() -> T + 'a) -> Self {
        let turn = move |times| {
            for _ in 0..times {
                black_box(work());
            }
        };
        self.ways.push(Way {
            name,
            turn: Box::new(turn),
            took: Vec::with_capacity(ROUNDS),
        });
        self
    }

    /// Runs all rounds.
    #[must_use]
    pub fn run(mut self) -> Standings {
        let times = self.times_a_turn();
        for _ in 0..ROUNDS {
            for way in &mut self.ways {
                let started = Instant::now();
                (way.turn)(times);
                way.took.push(started.elapsed() / times);
            }
        }
        Standings(self.ways.into_iter().map(Standing::of).collect())
    }

    /// How often the floor does it in one turn.
    fn times_a_turn(&mut self) -> u32 {
        let Some(floor) = self.ways.first_mut() else {
            return 1;
        };
        let mut times = 1;
        loop {
            let started = Instant::now();
            (floor.turn)(times);
            if started.elapsed() >= TURN {
                return times;
            }
            times *= 2;
        }
    }
}

/// How all did, the floor first.
pub struct Standings(pub Vec<Standing>);

/// How one did.
pub struct Standing {
    /// Its name.
    pub name: &'static str,
    /// Its fastest turn, for each time.
    pub fastest: Duration,
    /// The turn in the middle.
    pub median: Duration,
}

impl Standing {
    fn of(mut way: Way<'_>) -> Self {
        way.took.sort_unstable();
        let middle = way.took.len() / 2;
        Self {
            name: way.name,
            fastest: way.took.first().copied().unwrap_or_default(),
            median: way.took.get(middle).copied().unwrap_or_default(),
        }
    }
}

impl fmt::Display for Standings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {:>7} {:>9} {:>9}", "ratio", "fastest", "median")?;
        let floor = self.0.first().map_or(Duration::ZERO, |it| it.fastest);
        for Standing {
            name,
            fastest,
            median,
        } in &self.0
        {
            let ratio = fastest.as_secs_f64() / floor.as_secs_f64();
            let (fastest, median) = (fastest.as_nanos(), median.as_nanos());
            writeln!(f, "  {ratio:7.2} {fastest:6} ns {median:6} ns  {name}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_takes_every_turn() {
        let (mut floor, mut other) = (0, 0);
        let standings = Race::against("floor", || floor += 1)
            .with("other", || other += 1)
            .run();
        let names: Vec<&str> = standings.0.iter().map(|it| it.name).collect();
        assert_eq!(names, ["floor", "other"]);
        assert!(standings.0.iter().all(|it| it.fastest <= it.median));
        assert!(other > 0 && floor > other);
    }
}
