//! The dispatcher, the network and the receivers.

use std::time::Duration;

use notify_core::delivery::Delivery;
use notify_core::schedule::AttemptEnd;
use notify_core::store::{Answer, Archive};
use notify_core::transport::{AddressRefused, RetryAfter};
use notify_core::{
    EndpointUrl, Keyring, Secret, Timestamp, TransportError, WebhookRequest, WebhookResponse,
    webhook,
};

use super::World;
use super::process::bytes_of;
use crate::sim::agenda::Step;
use crate::sim::audit::{Invariant, Said};
use crate::sim::sabotage::Sabotage;
use crate::sim::store::{Done, at_once};

type Came = Result<WebhookResponse, TransportError>;

/// How an attempt is to end.
#[derive(Debug)]
enum End {
    Came(Came),
    Panicked,
    NoSecret,
}

impl End {
    /// What it says of the endpoint, by the protocol's words, at this time of the wall.
    fn says(&self, wall: Timestamp) -> Said {
        let Self::Came(came) = self else {
            return Said::NOTHING;
        };
        let answer = match came {
            Ok(answer) => answer,
            Err(TransportError::Refused(_) | TransportError::Internal(_)) => return Said::NOTHING,
            Err(_) => {
                return Said {
                    fails: Some(true),
                    ..Said::NOTHING
                };
            }
        };
        let asks = match answer.retry_after {
            Some(RetryAfter::Delay(time)) => time,
            Some(RetryAfter::At(at)) => at.since(wall),
            None => Duration::ZERO,
        };
        Said {
            fails: Some((500..600).contains(&answer.status)),
            asks: u64::try_from(asks.as_millis()).unwrap_or(u64::MAX),
            succeeds: (200..300).contains(&answer.status),
        }
    }
}

/// A request under way: what its receiver will do was decided when it left.
#[derive(Debug)]
pub(super) struct Attempt {
    delivery: Delivery,
    at: Timestamp,
    began_millis: u64,
    end: Option<End>,
    /// Whether the receiver says 2xx, heard or not.
    takes: bool,
}

impl World {
    pub(super) fn wake_dispatcher(&mut self) {
        let life = self.lives;
        let after = self.rng.between(0, 2);
        self.agenda.plan(after, Step::Dispatch { life });
    }

    pub(super) fn dispatch(&mut self) {
        let now = self.sched_now();
        let mut began = false;
        while let Some(process) = &mut self.process
            && let Some(delivery) = process.scheduler.poll_attempt(now)
        {
            began = true;
            let endpoint = delivery.lane.endpoint;
            if let Some(ready) = process.ready.get_mut(&endpoint) {
                ready.retain(|ready| ready.id != delivery.id);
            }
            let disabled = process.disabled.contains(&endpoint);
            let others = process.in_flight.values();
            let others = others.filter(|(to, ..)| *to == endpoint).count();
            self.audit.check(!disabled, Invariant::I6, || {
                format!("{} is sent, though {endpoint} is disabled", delivery.id)
            });
            let host = delivery.endpoint.url.authority().to_owned();
            let bytes = bytes_of(&delivery);
            process
                .in_flight
                .insert(delivery.id, (endpoint, host, bytes));
            let millis = self.agenda.now();
            self.audit.treats(millis, &delivery, others);
            self.check_limits();
            self.begin(delivery);
        }
        if self.sabotage == Sabotage::TakeAllPlaces {
            self.take_a_place();
        }
        if began {
            // Taking deliveries makes room for more.
            self.wake_committer();
        }
    }

    /// For a sabotage: one that is ready at an endpoint that does not serve is sent
    /// though half of the places are taken by such.
    fn take_a_place(&mut self) {
        let Some(process) = &self.process else { return };
        let most = self.plan.limits.in_flight_max as usize;
        if process.in_flight.len() >= most || !self.audit.no_place_in_doubt() {
            return;
        }
        let mut ready = process.ready.iter();
        let ready = ready.find(|(endpoint, _)| !self.audit.serves(**endpoint));
        if let Some(delivery) = ready.and_then(|(_, ready)| ready.first()).cloned() {
            self.audit.treats(self.agenda.now(), &delivery, 0);
        }
    }

    fn check_limits(&mut self) {
        let Some(process) = &self.process else { return };
        let limits = self.plan.limits;
        let count = |is_like: &dyn Fn(&(_, String, u64)) -> bool| {
            let alike = process.in_flight.values().filter(|&place| is_like(place));
            alike.count()
        };
        let places = process.in_flight.values();
        let most = |wide: usize, most: u32| wide <= most as usize;
        let holds = places.into_iter().all(|place| {
            most(
                count(&|other| other.0 == place.0),
                limits.in_flight_per_endpoint_max,
            ) && most(
                count(&|other| other.1 == place.1),
                limits.in_flight_per_host_max,
            )
        });
        let all = process.in_flight.len();
        let same = all == process.scheduler.in_flight();
        let holds = holds && same && most(all, limits.in_flight_max);
        self.audit.check(holds, Invariant::I13, || {
            format!("{all} in flight, with {limits:?}")
        });
    }

    fn begin(&mut self, delivery: Delivery) {
        let (number, life) = (self.number(), self.lives);
        let wall = self.agenda.wall();
        let mut attempt = Attempt {
            delivery,
            at: wall,
            began_millis: self.agenda.now(),
            end: None,
            takes: false,
        };
        let own = attempt.delivery.endpoint.keyring.clone();
        let operators = || self.plan.operator_secret.clone().map(Keyring::new);
        if let Some(keyring) = own.or_else(operators) {
            let mut signed_at = wall;
            let keyring = self.sabotage.keyring(keyring);
            if self.sabotage == Sabotage::SignWithOldTime {
                signed_at = attempt.delivery.accepted_at;
            }
            let delivery = &attempt.delivery;
            let mut request = webhook::request(delivery, &keyring, signed_at, self.plan.timeout);
            self.sabotage.request(delivery, &mut request);
            let active = self.active_secrets(&attempt.delivery.endpoint.url, wall);
            let most = self.plan.limits.ready_per_endpoint_max;
            self.audit
                .begins(self.moment(), &attempt.delivery, &request);
            self.audit.goes_first(&attempt.delivery, most);
            self.audit.verifies(wall, &request, &active);
            self.deliver(number, &mut attempt, &request);
        } else {
            attempt.end = Some(End::NoSecret);
            self.agenda.plan(
                1,
                Step::Ends {
                    life,
                    attempt: number,
                },
            );
        }
        self.attempts.insert(number, attempt);
    }

    /// Decides what becomes of a request: when the receiver has it, what it says,
    /// and what the sender hears.
    fn deliver(&mut self, number: u64, attempt: &mut Attempt, request: &WebhookRequest) {
        let life = self.lives;
        let timeout = u64::try_from(request.timeout.as_millis()).unwrap_or(u64::MAX);
        let mut travels = self.rng.between(1, 40);
        let mut ends = travels + self.rng.between(1, 40);
        let status = |status| {
            Some(WebhookResponse {
                status,
                ..WebhookResponse::default()
            })
        };
        let mut came: Came = Err(TransportError::Timeout);
        let mut answer = status(204);
        let mut panics = false;
        if self.fails(&attempt.delivery.endpoint.url) {
            // In a slow world one that is sick fails as those do that are down.
            let most = if self.plan.slowness > 1 && self.rng.percent(80) {
                3
            } else {
                14
            };
            match self.rng.between(0, most) {
                0..=2 if most == 3 => answer = status(503),
                0..=3 => answer = status(*self.rng.pick(&[500, 502, 404, 302]).unwrap_or(&500)),
                4 => answer = status(410),
                5 | 6 => {
                    answer = status(*self.rng.pick(&[429, 503]).unwrap_or(&429));
                    if let Some(answer) = &mut answer {
                        answer.retry_after = Some(self.draw_retry_after());
                    }
                }
                // The receiver has it, and the answer is lost.
                7 | 8 => {
                    ends = timeout.max(travels);
                    came = Err(TransportError::Http);
                }
                // The receiver has it only after the sender has given up.
                9 => {
                    ends = timeout;
                    travels = timeout + self.rng.between(1, 3_000);
                }
                10 => ends = self.rng.between(ends, timeout.max(ends)),
                11 => {
                    let all = [
                        TransportError::Connect,
                        TransportError::Dns,
                        TransportError::Tls,
                    ];
                    came = Err(self
                        .rng
                        .pick(&all)
                        .cloned()
                        .unwrap_or(TransportError::Connect));
                    answer = None;
                }
                12 => {
                    ends = timeout;
                    answer = None;
                }
                13 => panics = true,
                _ => {
                    came = Err(match self.rng.percent(30) {
                        true => TransportError::Refused(AddressRefused { rule: "simulated" }),
                        false => TransportError::Internal("simulated".to_owned()),
                    });
                    answer = None;
                }
            }
        }
        let heard = travels < ends && ends <= timeout && came != Err(TransportError::Http);
        attempt.takes = answer
            .as_ref()
            .is_some_and(|answer| (200..300).contains(&answer.status));
        if answer.is_some() {
            self.agenda.plan(travels, Step::Arrives { attempt: number });
            if !self.healing && self.rng.percent(4) {
                self.agenda.plan(travels, Step::Arrives { attempt: number });
            }
        }
        if let Some(answer) = answer.filter(|_| heard) {
            came = Ok(answer);
        }
        self.trace.note(self.agenda.now(), || {
            let Delivery {
                id,
                record,
                endpoint,
                ..
            } = &attempt.delivery;
            let url = &endpoint.url;
            let panics = if panics { ", and panics" } else { "" };
            format!("attempt {number}: {id} {record:?} to {url}; {ends} ms, {came:?}{panics}")
        });
        self.figures.panics += u64::from(panics);
        attempt.end = Some(match panics {
            true => End::Panicked,
            false => End::Came(came),
        });
        self.agenda.plan(
            ends,
            Step::Ends {
                life,
                attempt: number,
            },
        );
    }

    fn fails(&mut self, url: &EndpointUrl) -> bool {
        let known = self.plan.urls.iter().position(|known| known == url);
        let chance = known
            .and_then(|index| self.plan.failing.get(index))
            .copied();
        !self.healing && self.rng.percent(chance.unwrap_or_default())
    }

    fn draw_retry_after(&mut self) -> RetryAfter {
        let secs = match self.rng.between(0, 9) {
            0 => 200_000,
            1 => 3_600,
            _ => self.rng.between(0, 15),
        };
        match self.rng.percent(30) {
            true => RetryAfter::At(self.agenda.wall().plus(Duration::from_secs(secs))),
            false => RetryAfter::Delay(Duration::from_secs(secs)),
        }
    }

    pub(super) fn arrives(&mut self, number: u64) {
        if let Some(attempt) = self.attempts.get(&number)
            && attempt.takes
        {
            let Delivery { id, generation, .. } = attempt.delivery;
            self.note(|| format!("attempt {number} arrives and is taken"));
            self.audit.receiver_took(id, generation);
        }
    }

    /// The sender knows how the attempt ended, if there is a sender.
    pub(super) fn ends(&mut self, life: u64, number: u64) {
        let at = self.moment();
        if !self.lives_on(life) {
            return;
        }
        let Some(attempt) = self.attempts.get_mut(&number) else {
            return;
        };
        let id = attempt.delivery.id;
        let passed = Duration::from_millis(at.millis - attempt.began_millis);
        let wall = attempt.at.plus(passed);
        let said = attempt.end.as_ref().map(|end| end.says(wall));
        let said = said.unwrap_or(Said::NOTHING);
        let fell_sick = self.audit.hears(at.millis, &attempt.delivery, said);
        let endpoint = attempt.delivery.lane.endpoint;
        let end = match attempt.end.take() {
            None => AttemptEnd::Abandoned,
            Some(End::NoSecret) => AttemptEnd::SecretMissing,
            Some(End::Panicked) => {
                let delivery = &attempt.delivery;
                self.audit.ends(delivery, false, Duration::ZERO, true);
                self.sabotage.outcome(AttemptEnd::OwnFailure, attempt.at)
            }
            Some(End::Came(outcome)) => {
                let ok = outcome.as_ref().ok();
                let completed = ok.is_some_and(|answer| (200..300).contains(&answer.status));
                let began = attempt.at;
                let wish = ok.and_then(|answer| answer.retry_after);
                // The wall is read when an attempt begins; from there time is counted.
                let passed = Duration::from_millis(at.millis - attempt.began_millis);
                let asked = match wish {
                    None => Duration::ZERO,
                    Some(RetryAfter::Delay(delay)) => delay,
                    Some(RetryAfter::At(until)) => until.since(began.plus(passed)),
                };
                let asked = asked.min(Duration::from_secs(24 * 3_600));
                if self.sabotage == Sabotage::IgnorePacing && !asked.is_zero() {
                    self.unpaced.insert(id, asked);
                }
                let ours = matches!(outcome, Err(TransportError::Internal(_)));
                self.audit.ends(&attempt.delivery, completed, asked, ours);
                self.sabotage
                    .outcome(AttemptEnd::Sent { at: began, outcome }, began)
            }
        };
        if let Some(process) = &mut self.process {
            process.in_flight.remove(&id);
            let given_back = match fell_sick {
                true => process.ready.remove(&endpoint),
                false => None,
            };
            process.scheduler.handle_attempt_finished(at.now, id, end);
            if self.sabotage == Sabotage::SendToTheSick
                && let Some(delivery) = given_back.and_then(|ready| ready.into_iter().next())
            {
                self.audit.treats(at.millis, &delivery, 0);
            }
        }
        self.wake_committer();
        self.wake_dispatcher();
    }

    /// For a sabotage: sends what was just accepted, whatever is ahead of it.
    pub(super) fn send_at_once(&mut self, done: &Done) {
        let now = self.sched_now();
        for answer in done.answers.iter().flatten() {
            let Answer::Appended(appended) = answer else {
                continue;
            };
            for (id, lane) in self.audit.behind_another(appended) {
                let endpoint = at_once(self.store.memory().endpoint(lane.endpoint));
                let Some(endpoint) = endpoint.ok().flatten() else {
                    continue;
                };
                self.begin(Delivery {
                    id,
                    lane,
                    generation: 0,
                    record: appended.record.clone(),
                    endpoint,
                    accepted_at: now,
                    due_at: now,
                    attempts_made: 0,
                });
            }
        }
    }

    fn active_secrets(&self, url: &EndpointUrl, wall: Timestamp) -> Vec<Secret> {
        let own = self.secrets.iter().find(|known| known.url == *url);
        let operators = || self.plan.operator_secret.iter().cloned().collect();
        own.map_or_else(operators, |own| {
            let known = own.known.iter();
            let active = known.filter(|(_, until)| until.is_none_or(|until| wall < until));
            active.map(|(secret, _)| secret.clone()).collect()
        })
    }
}
