//! What a history does next.

use std::time::Duration;

use notify_core::delivery::{DeadReason, Outcome};
use notify_core::endpoint::EventFilter;
use notify_core::endpoint::Health;
use notify_core::retention::Retention;
use notify_core::store::{Append, DeadFilter, RegisterWebhook, Registration, Store, Webhook};
use notify_core::{DeliveryId, JobEvent, JobStatus, Secret, Timestamp};

use super::pair::Pair;
use super::step::{OWN_SECRET, PLAIN, RoomFor, Step, everyone};
use crate::Draw;
use crate::rig::{completed, event, job, secs, url};

const JOBS: [&str; 5] = ["one", "two", "three", "four", "five"];

/// Why deliveries are given up: all reasons but that there is no URL to send to, for
/// which none is ever made.
const OF_DELIVERIES: [DeadReason; 8] = [
    DeadReason::Exhausted,
    DeadReason::Gone,
    DeadReason::AddressRefused,
    DeadReason::Expired,
    DeadReason::Overtaken,
    DeadReason::SecretMissing,
    DeadReason::BacklogFull,
    DeadReason::Internal,
];

impl<S: Store> Pair<S> {
    /// Draws the next step.
    pub(super) fn plan(&mut self, draw: &mut Draw) -> Step {
        match draw.below(100) {
            0..50 => self.plan_write(draw),
            50..62 => Step::Claim,
            62..70 => Step::Register(Box::new(self.plan_registration(draw))),
            70..77 => Step::Redeliver(if draw.chance(50) {
                DeadFilter::default()
            } else {
                self.plan_filter(draw)
            }),
            77..79 => Step::Drop(self.plan_filter(draw)),
            79..84 => Step::Trim(Retention {
                jobs: secs(draw.pick(&[30, 300])),
                dead_letters: match self.is_anchored {
                    true => secs(draw.pick(&[60, 3_000])),
                    false => Duration::MAX,
                },
                dead_letters_per_endpoint_max: match self.is_anchored {
                    true => draw.pick(&[1, 3, 10_000]),
                    false => u64::MAX,
                },
                max_age: draw.pick(&[secs(20), secs(300), Duration::MAX]),
                ..Retention::DEFAULT
            }),
            84..87 => {
                let is_sick = draw.chance(50);
                let health = if is_sick { Health::Sick } else { Health::Well };
                Step::Examine(url(draw.pick(&everyone())), health)
            }
            87..90 => Step::Enable(url(draw.pick(&everyone())), draw.chance(65)),
            90..91 => {
                let secret = secret(&draw.number().to_string());
                let expire_old_after = secs(draw.pick(&[0, 30, 300]));
                Step::Rotate(
                    url(draw.pick(&OWN_SECRET)),
                    Box::new(secret),
                    expire_old_after,
                )
            }
            91..93 => Step::Delete(job(draw.pick(&JOBS)), draw.chance(60)),
            // What is left of one that was forgotten is not its successor's.
            93..95 if self.is_anchored => Step::DeleteEndpoint(draw.pick(&everyone())),
            _ => Step::Wait(draw.pick(&[
                Duration::from_millis(200),
                secs(1),
                secs(20),
                secs(61),
                secs(400),
            ])),
        }
    }

    fn plan_write(&mut self, draw: &mut Draw) -> Step {
        let held: Vec<DeliveryId> = self.held.keys().copied().collect();
        let ends = held
            .into_iter()
            .filter(|_| draw.chance(40))
            .collect::<Vec<_>>();
        // Whichever of a sick endpoint's deliveries is due first is its probe, so no two
        // are to fall due at once.
        let ends = (0..).zip(ends).map(|(place, id)| {
            let later = Duration::from_millis(place);
            let outcome = match self.plan_outcome(draw) {
                Outcome::Retry { after } => Outcome::Retry {
                    after: after + later,
                },
                Outcome::Postponed { after } => Outcome::Postponed {
                    after: after + later,
                },
                outcome => outcome,
            };
            (id, outcome)
        });
        let ends = ends.collect();
        let stale = (0..self.ended.len()).filter(|_| draw.chance(2)).collect();
        let appends = (0..draw.below(5)).map(|_| self.plan_append(draw)).collect();
        let room = match draw.below(3) {
            0 => RoomFor::Nobody,
            1 => RoomFor::Everybody,
            _ => RoomFor::AllBut(url(draw.pick(&PLAIN))),
        };
        Step::Write {
            ends,
            stale,
            appends,
            room,
        }
    }

    fn plan_outcome(&self, draw: &mut Draw) -> Outcome {
        let spans = [
            Duration::ZERO,
            Duration::from_millis(700),
            secs(15),
            secs(55),
            secs(120),
        ];
        match draw.below(14) {
            0..4 => Outcome::Delivered,
            4..9 => Outcome::Retry {
                after: draw.pick(&spans),
            },
            9 => Outcome::Released,
            10 => Outcome::Superseded,
            11 => Outcome::Postponed {
                after: draw.pick(&spans),
            },
            _ => {
                // Not often all, since one of them disables the endpoint.
                let reasons = if draw.chance(40) {
                    &OF_DELIVERIES[..]
                } else {
                    &[DeadReason::Exhausted]
                };
                Outcome::Dead {
                    reason: draw.pick(reasons),
                }
            }
        }
    }

    fn plan_append(&mut self, draw: &mut Draw) -> Append {
        let of = draw.pick(&JOBS);
        let event = match draw.below(20) {
            0..4 => event(JobStatus::Queued),
            4..17 => JobEvent::processing(u8::try_from(draw.below(100)).unwrap()),
            17 => JobEvent::failed("it broke"),
            18 => JobEvent::cancelled(),
            _ => completed(),
        };
        let mut append = if draw.chance(15) {
            // Few keys, so that some are repeated with the same content or other.
            let event = event.clone();
            self.desk
                .append_once(&format!("key-{}", draw.below(3)), of, event)
        } else {
            self.desk.append(of, event)
        };
        append.webhook = draw.chance(50).then(|| Webhook::To(url(draw.pick(&PLAIN))));
        let spaced = !self.restarted && draw.chance(70);
        append.progress_min_interval = if spaced {
            Duration::from_millis(500)
        } else {
            Duration::ZERO
        };
        append
    }

    /// A job that never ends for an endpoint, so that it is not forgotten.
    pub(super) fn plan_anchor(&self, name: &str) -> Registration {
        let own = OWN_SECRET.contains(&name);
        let webhook = RegisterWebhook {
            url: url(name),
            filter: EventFilter::ALL,
            secret: None,
            secret_if_new: own.then(|| secret("new")),
        };
        Registration {
            webhook: Some(webhook),
            replace_token: true,
            ..self.desk.registration(&format!("anchor-{name}"))
        }
    }

    fn plan_registration(&self, draw: &mut Draw) -> Registration {
        let own = draw.chance(30);
        let name = if own {
            draw.pick(&OWN_SECRET)
        } else {
            draw.pick(&PLAIN)
        };
        let webhook = RegisterWebhook {
            url: url(name),
            filter: draw.pick(&[
                EventFilter::ALL,
                EventFilter::only([JobStatus::Queued]),
                EventFilter::only([]),
            ]),
            secret: (own && draw.chance(50)).then(|| secret(draw.pick(&["first", "second"]))),
            secret_if_new: own.then(|| secret("new")),
        };
        Registration {
            replace_token: draw.chance(70),
            webhook: draw.chance(80).then_some(webhook),
            ..self.desk.registration(draw.pick(&JOBS))
        }
    }

    fn plan_filter(&self, draw: &mut Draw) -> DeadFilter {
        let since = self.now.as_millis() - draw.below(200_000);
        DeadFilter {
            delivery: None,
            job: draw.chance(30).then(|| job(draw.pick(&JOBS))),
            endpoint: None,
            event: None,
            reason: draw.chance(30).then(|| draw.pick(&DeadReason::ALL)),
            since: draw.chance(30).then(|| Timestamp::from_millis(since)),
            until: draw
                .chance(30)
                .then(|| Timestamp::from_millis(since + 50_000)),
        }
    }
}

fn secret(text: &str) -> Secret {
    Secret::parse(text).unwrap()
}
