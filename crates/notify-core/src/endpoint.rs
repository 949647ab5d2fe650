//! Receivers: their URLs, what they ask for, and what is known of them.

mod url;

use crate::id::EndpointId;
use crate::job::JobStatus;
use crate::signing::Keyring;
use crate::time::Timestamp;

pub use url::{EndpointUrl, UrlInvalid};

/// One receiver: everything that belongs to it rather than to one delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// The endpoint's id.
    pub id: EndpointId,
    /// Where it is; this is its identity.
    pub url: EndpointUrl,
    /// Its own secrets; without any it is signed for with the operator's.
    pub keyring: Option<Keyring>,
    /// Whether deliveries are attempted.
    pub enabled: bool,
    /// Since when it is sick: its breaker is open, it asked for time, or it is
    /// disabled. Cleared by the attempt that shows that it lives.
    pub sick_since: Option<Timestamp>,
    /// When it was last found to be well again.
    pub well_since: Option<Timestamp>,
}

impl Endpoint {
    /// A new one, about which nothing is known yet.
    pub fn new(id: EndpointId, url: EndpointUrl) -> Self {
        Self {
            id,
            url,
            keyring: None,
            enabled: true,
            sick_since: None,
            well_since: None,
        }
    }

    /// Nothing more is attempted, until it is enabled again; even then it is sick
    /// until an attempt shows that it lives.
    pub fn disable(&mut self, now: Timestamp) {
        self.enabled = false;
        self.sick_since.get_or_insert(now);
    }

    /// It is sick from now on, unless it is already, or well. One that is disabled
    /// stays sick.
    pub fn note_health(&mut self, health: Health, now: Timestamp) {
        match health {
            // A time to come is of a clock that was set back since.
            Health::Sick => self.sick_since = Some(self.sick_since.map_or(now, |at| at.min(now))),
            Health::Well if self.enabled && self.sick_since.take().is_some() => {
                self.well_since = Some(now);
            }
            Health::Well => {}
        }
    }

    /// The same with its times brought to another clock by `carry`; `None` if that
    /// changes none of them.
    pub fn with_times(&self, carry: impl Fn(Timestamp) -> Timestamp) -> Option<Self> {
        let (sick_since, well_since) = (self.sick_since.map(&carry), self.well_since.map(&carry));
        let is_same = (sick_since, well_since) == (self.sick_since, self.well_since);
        (!is_same).then(|| Self {
            sick_since,
            well_since,
            ..self.clone()
        })
    }

    /// Whether nothing is to be remembered of it once nothing names it: it has no
    /// secret of its own and was not disabled.
    pub fn may_be_forgotten(&self) -> bool {
        self.keyring.is_none() && self.enabled
    }
}

/// How an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing is attempted there but a probe now and then.
    Sick,
    /// The last attempt that says anything of it found it alive.
    Well,
}

/// Which statuses a receiver asks for. Terminal ones can't be filtered out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventFilter {
    queued: bool,
    processing: bool,
}

impl EventFilter {
    /// Everything.
    pub const ALL: Self = Self {
        queued: true,
        processing: true,
    };

    /// Only these statuses, and the terminal ones.
    pub fn only(statuses: impl IntoIterator<Item = JobStatus>) -> Self {
        let mut filter = Self {
            queued: false,
            processing: false,
        };
        for status in statuses {
            filter.queued |= status == JobStatus::Queued;
            filter.processing |= status == JobStatus::Processing;
        }
        filter
    }

    /// Whether an event with this status is asked for.
    pub fn wants(self, status: JobStatus) -> bool {
        match status {
            JobStatus::Queued => self.queued,
            JobStatus::Processing => self.processing,
            JobStatus::Completed | JobStatus::Failed | JobStatus::Cancelled => true,
        }
    }
}

impl Default for EventFilter {
    fn default() -> Self {
        Self::ALL
    }
}

/// A job's standing wish to tell one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// Whom to tell.
    pub endpoint: EndpointId,
    /// What about.
    pub filter: EventFilter,
}

/// Which endpoints an event is delivered to: the job's own, if it wants the
/// event, and the one that this event names, which is always told. One endpoint
/// gets one delivery.
pub fn fan_out(
    job: Option<Subscriber>,
    named: Option<EndpointId>,
    status: JobStatus,
) -> impl Iterator<Item = EndpointId> {
    let standing = job
        .filter(|subscriber| subscriber.filter.wants(status))
        .map(|subscriber| subscriber.endpoint)
        .filter(|&endpoint| Some(endpoint) != named);
    standing.into_iter().chain(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_disabled_is_sick_until_it_is_enabled_and_lives() {
        let at = Timestamp::from_secs;
        let url = EndpointUrl::parse("https://a.example/").unwrap();
        let mut endpoint = Endpoint::new(EndpointId::from_random(1), url);
        endpoint.note_health(Health::Well, at(1));
        assert_eq!((endpoint.sick_since, endpoint.well_since), (None, None));
        endpoint.note_health(Health::Sick, at(2));
        endpoint.disable(at(3));
        endpoint.note_health(Health::Well, at(4));
        assert_eq!(
            (endpoint.sick_since, endpoint.well_since),
            (Some(at(2)), None)
        );
        endpoint.enabled = true;
        endpoint.note_health(Health::Sick, at(5));
        assert_eq!(endpoint.sick_since, Some(at(2)));
        endpoint.note_health(Health::Well, at(6));
        assert_eq!(
            (endpoint.sick_since, endpoint.well_since),
            (None, Some(at(6)))
        );
    }

    #[test]
    fn terminal_events_pass_every_filter() {
        let none = EventFilter::only([]);
        assert!(!none.wants(JobStatus::Queued) && !none.wants(JobStatus::Processing));
        for status in JobStatus::ALL {
            assert!(EventFilter::ALL.wants(status));
            assert!(none.wants(status) || !status.is_terminal());
        }
        assert!(EventFilter::only([JobStatus::Processing]).wants(JobStatus::Processing));
    }

    #[test]
    fn one_endpoint_gets_one_delivery() {
        let (a, b) = (EndpointId::from_random(1), EndpointId::from_random(2));
        let told = |filter, named| -> Vec<EndpointId> {
            let job = Some(Subscriber {
                endpoint: a,
                filter,
            });
            fan_out(job, named, JobStatus::Queued).collect()
        };
        assert_eq!(told(EventFilter::ALL, None), [a]);
        assert_eq!(told(EventFilter::ALL, Some(b)), [a, b]);
        assert_eq!(told(EventFilter::ALL, Some(a)), [a]);
        assert_eq!(told(EventFilter::only([]), Some(a)), [a]);
        assert!(told(EventFilter::only([]), None).is_empty());
        assert_eq!(
            fan_out(None, Some(b), JobStatus::Queued).collect::<Vec<_>>(),
            [b]
        );
    }
}
