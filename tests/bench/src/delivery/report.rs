//! Rounds, and what they come to: medians, and ratios to the floor's.

use std::fmt;

use serde_json::{Value, json};

use super::Measured;

/// Everyone who takes turns in a run, and what each round measured.
#[derive(Debug)]
pub struct Report {
    /// The floor comes first.
    contestants: Vec<Contestant>,
}

/// One who takes turns.
#[derive(Debug)]
pub struct Contestant {
    /// What it is called.
    pub name: String,
    /// What each of its rounds measured.
    pub rounds: Vec<Measured>,
    /// The position of whom it is compared with, besides the floor.
    pub earlier: Option<usize>,
}

impl Report {
    /// With these, of whom the first is the floor. No round has been measured.
    pub fn new(contestants: Vec<Contestant>) -> Self {
        Self { contestants }
    }

    /// Adds what a round of one of them measured.
    pub fn add(&mut self, position: usize, measured: Measured) {
        if let Some(contestant) = self.contestants.get_mut(position) {
            contestant.rounds.push(measured);
        }
    }

    /// All of it, for a program to read.
    pub fn json(&self) -> Value {
        let contestants = self.contestants.iter().map(|one| {
            json!({
                "name": one.name,
                "cpu_us": one.median(Measured::cpu_us),
                "per_second": one.median(Measured::per_second),
                "cpu_of_bare": self.of_floor(one, Measured::cpu_us),
                "rate_of_bare": self.of_floor(one, Measured::per_second),
                "cpu_of_earlier": self.of_earlier(one, Measured::cpu_us),
                "rate_of_earlier": self.of_earlier(one, Measured::per_second),
                "jobs_kept": one.median(jobs_kept),
                "rounds": one.rounds,
            })
        });
        json!({ "contestants": contestants.collect::<Vec<_>>() })
    }

    fn of_floor(&self, one: &Contestant, figure: Figure) -> f64 {
        let floor = self.contestants.first();
        floor.map_or(f64::NAN, |floor| one.ratio(floor, figure))
    }

    fn of_earlier(&self, one: &Contestant, figure: Figure) -> Option<f64> {
        let earlier = self.contestants.get(one.earlier?)?;
        Some(one.ratio(earlier, figure))
    }
}

type Figure = fn(&Measured) -> f64;

impl Contestant {
    /// One that has not had a turn.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            rounds: Vec::new(),
            earlier: None,
        }
    }

    fn median(&self, figure: Figure) -> f64 {
        median(self.rounds.iter().map(figure).collect())
    }

    /// The median over the rounds of this one's figure as a multiple of the
    /// other's in the same round: whatever else the machine did then, it did to
    /// both.
    fn ratio(&self, other: &Self, figure: Figure) -> f64 {
        let rounds = self.rounds.iter().zip(&other.rounds);
        median(
            rounds
                .map(|(one, other)| figure(one) / figure(other))
                .collect(),
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounds = self.contestants.first().map_or(0, |one| one.rounds.len());
        writeln!(
            f,
            "medians of {rounds} rounds; × is of the bare loop's in the same round"
        )?;
        for one in &self.contestants {
            write!(
                f,
                "{:16} {:7.1} µs of CPU a webhook ({:5.2} ×), {:7.0} delivered/s ({:4.2} ×)",
                one.name,
                one.median(Measured::cpu_us),
                self.of_floor(one, Measured::cpu_us),
                one.median(Measured::per_second),
                self.of_floor(one, Measured::per_second),
            )?;
            let earlier = self.of_earlier(one, Measured::cpu_us);
            if let Some((cpu, rate)) = earlier.zip(self.of_earlier(one, Measured::per_second)) {
                write!(f, "; {cpu:.2} × the CPU and {rate:.2} × the rate of before")?;
            }
            let kept = one.median(jobs_kept);
            if kept > 0.0 {
                write!(f, "; {kept:.0} jobs kept")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for a person")]
fn jobs_kept(measured: &Measured) -> f64 {
    measured.jobs_kept as f64
}

/// The middle one, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2);
    let lower = values.get(values.len().saturating_sub(1) / 2);
    upper
        .zip(lower)
        .map_or(f64::NAN, |(a, b)| f64::midpoint(*a, *b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(cpu_s: f64, delivered: u64) -> Measured {
        Measured {
            delivered,
            cpu_s,
            wall_s: 1.0,
            delivered_in_all: delivered,
            jobs_kept: 0,
        }
    }

    #[test]
    fn a_ratio_is_between_figures_of_the_same_round() {
        let mut report = Report::new(vec![Contestant::new("bare"), Contestant::new("memory")]);
        // The machine is three times as slow in the second round.
        for slow in [1.0, 3.0, 1.0] {
            report.add(0, measured(slow, 100));
            report.add(1, measured(2.0 * slow, 100));
        }
        let json = report.json();
        let memory = json.pointer("/contestants/1").unwrap();
        assert_eq!(memory["cpu_of_bare"], 2.0);
        assert_eq!(memory["rate_of_bare"], 1.0);
        assert_eq!(memory["cpu_us"], 20_000.0);
        assert_eq!(memory["cpu_of_earlier"], Value::Null);
        assert!(report.to_string().contains("( 2.00 ×)"), "{report}");
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![9.0, 1.0, 2.0, 4.0]), 3.0);
    }
}
