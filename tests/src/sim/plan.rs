//! What one seed's world is like: drawn once, before anything happens.

use std::time::Duration;

use notify_core::commit::CommitLimits;
use notify_core::retention::Retention;
use notify_core::schedule::Limits;
use notify_core::{EndpointUrl, JobId, RetryPolicy, Secret};
use notify_hub::MemoryLimits;

use super::rng::Rng;

/// The settings and the cast. All limits are small, so that a short run meets
/// them.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) limits: Limits,
    /// The waits between attempts, as [`Self::policy`] has them.
    pub(super) schedule: Vec<Duration>,
    pub(super) policy: RetryPolicy,
    pub(super) timeout: Duration,
    pub(super) progress_min_interval: Duration,
    pub(super) commit: CommitLimits,
    pub(super) memory: MemoryLimits,
    pub(super) retention: Retention,
    /// What a call of the store takes, in milliseconds, at most.
    pub(super) store_millis_max: u64,
    pub(super) jobs: Vec<JobId>,
    pub(super) urls: Vec<EndpointUrl>,
    /// How often each of [`Self::urls`] fails, in percent.
    pub(super) failing: Vec<u64>,
    /// What signs for endpoints without secrets of their own, if anything does.
    pub(super) operator_secret: Option<Secret>,
    /// Jobs that have something to say only when there is a rush.
    pub(super) crowd: Vec<JobId>,
    /// How often an event names a webhook that can't be sent to, in percent.
    pub(super) unsendable: u64,
    /// How often so many webhooks of a job can't be sent to that their dead letters
    /// take several steps to move, in percent of what is said.
    pub(super) many_letters: u64,
    /// How often the clock is wrong by days when the process starts, in percent.
    pub(super) clock_wrong: u64,
    /// How many times the services of the operator have something to say.
    pub(super) productions: u64,
    /// Breaks come so far apart, in milliseconds, on average.
    pub(super) break_millis: u64,
    pub(super) fault_phase_millis: u64,
    /// How many times slower than in other worlds things happen: so slow that breakers
    /// open, probes are made and what waits grows too old.
    pub(super) slowness: u64,
}

impl Plan {
    /// `None` only if a constant here broke a rule of the core.
    pub(super) fn draw(rng: &mut Rng) -> Option<Self> {
        let max_age = Duration::from_secs(*rng.pick(&[20, 60, 200, 86_400])?);
        let limits = Limits {
            in_flight_per_endpoint_max: rng.small(1, 3),
            in_flight_per_host_max: rng.small(1, 4),
            in_flight_max: rng.small(2, 6),
            ready_per_endpoint_max: *rng.pick(&[1, 2, 3, 4, 16])?,
            sick_endpoints_max: 64,
            max_age,
            ready_bytes_max: *rng.pick(&[1, 2_000, 5_000, u64::MAX, u64::MAX])?,
        };
        let retries = rng.between(0, 4);
        let base = rng.between(20, 3_000);
        let waits = (0..retries).map(|retry| Duration::from_millis(base << retry));
        let schedule: Vec<Duration> = waits.collect();
        let hosts = rng.between(1, 3);
        let urls = (0..rng.between(1, 5)).map(|number| {
            let host = rng.between(1, hosts);
            EndpointUrl::parse(&format!("https://h{host}.example/{number}")).ok()
        });
        let urls = urls.collect::<Option<Vec<_>>>()?;
        let slowness = *rng.pick(&[1, 1, 1, 40])?;
        let is_slow = slowness > 1;
        let failing = urls.iter().map(|_| {
            let sick = rng.percent(if is_slow { 60 } else { 30 });
            match sick && is_slow {
                true => *rng.pick(&[95, 100]).unwrap_or(&100),
                false => rng.between(0, if sick { 95 } else { 40 }),
            }
        });
        let failing = failing.collect();
        let jobs = (0..rng.between(1, 8)).map(|number| JobId::parse(&format!("job-{number}")).ok());
        let crowd = if rng.percent(20) {
            rng.between(10, 40)
        } else {
            0
        };
        let crowd = (0..crowd).map(|number| JobId::parse(&format!("crowd-{number}")).ok());
        let memory = MemoryLimits {
            pending_deliveries_max: if rng.percent(20) { 12 } else { 10_000 },
            pending_per_endpoint_max: match rng.percent(15) {
                true => usize::try_from(rng.between(2, 6)).ok()?,
                false => 10_000,
            },
            dead_letters_max: 10_000,
            progress_events_max: usize::try_from(rng.between(1, 4)).ok()?,
            ..MemoryLimits::default()
        };
        Some(Self {
            limits,
            policy: RetryPolicy::new(schedule.clone()).ok()?,
            schedule,
            timeout: Duration::from_millis(rng.between(200, 5_000)),
            progress_min_interval: Duration::from_millis(*rng.pick(&[0, 100, 500])?),
            commit: CommitLimits {
                batch_operations_max: usize::try_from(rng.between(1, 24)).ok()?,
                claim_deliveries_max: usize::try_from(rng.between(1, 8)).ok()?,
                trim_rows_max: *rng.pick(&[1, 20, 512])?,
            },
            memory,
            retention: Retention {
                jobs: Duration::from_secs(*rng.pick(&[1, 20, 86_400])?),
                dead_letters: Duration::from_secs(30 * 86_400),
                max_age,
                ..Retention::DEFAULT
            },
            store_millis_max: *rng.pick(&[0, 3, 40])?,
            jobs: jobs.collect::<Option<Vec<_>>>()?,
            urls,
            failing,
            operator_secret: match rng.percent(85) {
                true => Some(Secret::parse("the-operators-own-secret").ok()?),
                false => None,
            },
            crowd: crowd.collect::<Option<Vec<_>>>()?,
            unsendable: *rng.pick(&[0, 10])?,
            many_letters: *rng.pick(&[0, 0, 0, 0, 15])?,
            clock_wrong: *rng.pick(&[0, 0, 30])?,
            productions: rng.between(3, 14) * if is_slow { 3 } else { 1 },
            break_millis: *rng.pick(&[300, 1_500, 6_000])? * slowness,
            fault_phase_millis: rng.between(2_000, 20_000) * slowness,
            slowness,
        })
    }
}
