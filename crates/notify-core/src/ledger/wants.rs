//! Which rows a batch names.

use super::rows::Rows;
use crate::delivery::LaneKey;
use crate::endpoint::EndpointUrl;
use crate::id::{EndpointId, IdempotencyKey, JobId};
use crate::store::{Append, Batch, Deletion, Doomed, Operation, Registration, Sweep, Webhook};

/// Rows are asked for in rounds: what the second one asks for is named by rows of
/// the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// What the batch itself names.
    Named,
    /// What those rows name.
    Told,
}

impl Round {
    /// The rounds, in order.
    pub const ALL: [Self; 2] = [Self::Named, Self::Told];
}

/// Rows to fetch, each named once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Jobs.
    pub jobs: Vec<JobId>,
    /// The sequences of the progress events that these jobs' logs keep.
    pub progress: Vec<JobId>,
    /// Idempotency keys.
    pub keys: Vec<(JobId, IdempotencyKey)>,
    /// Endpoints.
    pub endpoints: Vec<EndpointId>,
    /// Endpoints by their URL.
    pub urls: Vec<EndpointUrl>,
    /// Lanes, with their pending deliveries.
    pub lanes: Vec<LaneKey>,
    /// Dead letters: a step of each.
    pub letters: Vec<Sweep>,
    /// What is pending of this: the whole lanes of a [step](Deletion::STEP_MAX).
    pub doomed: Option<Doomed>,
}

/// Which rows of `batch` are to be fetched into `rows` in this round.
pub fn wants(round: Round, batch: &Batch, rows: &mut Rows) -> Wants {
    let mut asking = Asking {
        rows,
        wants: Wants::default(),
    };
    for settle in &batch.settles {
        if round == Round::Named {
            asking.job(&settle.lane.job);
            asking.endpoint(settle.lane.endpoint);
            asking.lane(&settle.lane);
        }
    }
    if round == Round::Named {
        for note in &batch.health {
            asking.endpoint(note.endpoint);
        }
    }
    for operation in &batch.operations {
        match (operation, round) {
            (Operation::Append(append), Round::Named) => asking.append(append),
            (Operation::Append(append), Round::Told) => asking.told(append),
            (Operation::Register(registration), Round::Named) => asking.register(registration),
            (Operation::Register(registration), Round::Told) => {
                let webhook = registration.webhook.as_ref();
                asking.lane_at(&registration.job, webhook.map(|webhook| &webhook.url));
            }
            (Operation::ChangeEndpoint { endpoint, .. }, Round::Named) => {
                asking.endpoint(*endpoint);
            }
            (Operation::Redeliver(sweep) | Operation::DropDeadLetters(sweep), Round::Named) => {
                asking.wants.letters.push(sweep.clone());
            }
            (Operation::Redeliver(sweep), Round::Told) => asking.letters(sweep),
            (Operation::Delete(deletion), Round::Named) => asking.doomed(deletion),
            (Operation::Delete(deletion), Round::Told) => asking.doomed_lanes(deletion),
            (Operation::ChangeEndpoint { .. } | Operation::DropDeadLetters(_), Round::Told) => {}
        }
    }
    asking.wants
}

struct Asking<'a> {
    rows: &'a mut Rows,
    wants: Wants,
}

impl Asking<'_> {
    fn append(&mut self, append: &Append) {
        self.job(&append.job);
        if !self.rows.progress.contains_key(&append.job) {
            self.rows.progress.insert(append.job.clone(), [].into());
            self.wants.progress.push(append.job.clone());
        }
        if let Some((key, _)) = &append.idempotency {
            let name = (append.job.clone(), key.clone());
            if !self.rows.keys.contains_key(&name) {
                self.rows.keys.insert(name.clone(), None.into());
                self.wants.keys.push(name);
            }
        }
        if let Some(Webhook::To(url)) = &append.webhook {
            self.url(url);
        }
    }

    fn register(&mut self, registration: &Registration) {
        self.job(&registration.job);
        if let Some(webhook) = &registration.webhook {
            self.url(&webhook.url);
        }
    }

    /// Whom an event may be told to.
    fn told(&mut self, append: &Append) {
        let job = self.rows.job(&append.job).ok().flatten();
        let standing = job.and_then(|job| job.webhook);
        if let Some(standing) = standing {
            self.endpoint(standing.endpoint);
            self.lane_to(&append.job, standing.endpoint);
        }
        if let Some(Webhook::To(url)) = &append.webhook {
            self.lane_at(&append.job, Some(url));
        }
    }

    /// Whom dead letters are to be sent to after all.
    fn letters(&mut self, sweep: &Sweep) {
        let mut named = Vec::new();
        for (of, letters, _) in &self.rows.letters {
            if of == sweep {
                let letters = letters.iter();
                named.extend(letters.map(|letter| {
                    let of = &letter.of;
                    (of.job.clone(), of.endpoint, of.url.clone())
                }));
            }
        }
        for (job, endpoint, url) in named {
            self.job(&job);
            if let Some(endpoint) = endpoint {
                self.endpoint(endpoint);
            }
            if let Ok(url) = EndpointUrl::parse(&url) {
                self.url(&url);
            }
        }
    }

    /// A batch makes a step of one deletion.
    fn doomed(&mut self, deletion: &Deletion) {
        if self.wants.doomed.is_some() {
            return;
        }
        match deletion.what() {
            Doomed::Job { id, .. } => self.job(id),
            Doomed::Endpoint(id) => self.endpoint(*id),
        }
        self.wants.doomed = Some(deletion.what().clone());
        let letters = Sweep::within(deletion.letters());
        self.wants.letters.push(letters);
    }

    /// Whose pending deliveries are forgotten.
    fn doomed_lanes(&mut self, deletion: &Deletion) {
        let doomed = self.rows.doomed.as_ref();
        let lanes = doomed.filter(|doomed| doomed.what == *deletion.what());
        let lanes = lanes.map_or_else(Vec::new, |doomed| doomed.lanes.clone());
        for LaneKey { job, endpoint, .. } in lanes {
            self.job(&job);
            self.endpoint(endpoint);
        }
    }

    fn lane_at(&mut self, job: &JobId, url: Option<&EndpointUrl>) {
        let endpoint = url.and_then(|url| self.rows.endpoint_at(url).ok().flatten());
        if let Some(id) = endpoint.map(|row| row.endpoint.id) {
            self.lane_to(job, id);
        }
    }

    fn lane_to(&mut self, job: &JobId, endpoint: EndpointId) {
        self.lane(&LaneKey {
            job: job.clone(),
            endpoint,
            redelivery: None,
        });
    }

    fn job(&mut self, id: &JobId) {
        if self.rows.jobs.ask(id) {
            self.wants.jobs.push(id.clone());
        }
    }

    fn endpoint(&mut self, id: EndpointId) {
        if self.rows.endpoints.ask(&id) {
            self.wants.endpoints.push(id);
        }
    }

    fn url(&mut self, url: &EndpointUrl) {
        if !self.rows.urls.contains_key(url) {
            self.rows.urls.insert(url.clone(), None.into());
            self.wants.urls.push(url.clone());
        }
    }

    fn lane(&mut self, key: &LaneKey) {
        if self.rows.ask_lane(key) {
            self.wants.lanes.push(key.clone());
        }
    }
}
