//! What the model holds, as the port shows it.

use std::sync::Arc;

use notify_core::delivery::{DeadLetter, Delivery, DeliveryView, LaneKey, Undelivered};
use notify_core::job::JobHead;
use notify_core::store::{JobView, List, Listed};
use notify_core::{EndpointId, EndpointUrl};

use crate::model::{self, Job, Letter, Model};

pub(super) fn head(job: &Job) -> JobHead {
    JobHead {
        epoch: job.epoch,
        sequence: job.events.len() as u64,
        status: job.status(),
        lifecycle_events: u32::try_from(job.lifecycle_events()).unwrap_or(u32::MAX),
    }
}

pub(super) fn job_view(job: &Job) -> JobView {
    JobView {
        id: job.id.clone(),
        head: head(job),
        last: job.events.last().cloned(),
        created_at: job.created_at,
        updated_at: job.updated_at,
        registered: job.token.is_some(),
        webhook: job.webhook.clone(),
    }
}

fn endpoint_id(model: &Model, url: &EndpointUrl) -> EndpointId {
    model.endpoint_at(url).unwrap().id
}

pub(super) fn lane_key(model: &Model, delivery: &model::Delivery) -> LaneKey {
    LaneKey {
        job: delivery.job.clone(),
        endpoint: endpoint_id(model, &delivery.url),
        redelivery: delivery.is_redelivery().then_some(delivery.id),
    }
}

pub(super) fn delivery(model: &Model, delivery: &model::Delivery) -> Delivery {
    Delivery {
        id: delivery.id,
        lane: lane_key(model, delivery),
        generation: delivery.generation,
        record: delivery.record.clone(),
        endpoint: Arc::new(model.endpoint_at(&delivery.url).unwrap().clone()),
        accepted_at: delivery.accepted_at,
        due_at: delivery.due_at,
        attempts_made: u32::try_from(delivery.attempts_failed()).unwrap_or(u32::MAX),
    }
}

pub(super) fn delivery_view(model: &Model, delivery: &model::Delivery) -> DeliveryView {
    DeliveryView {
        id: delivery.id,
        job_id: delivery.job.clone(),
        event_id: delivery.record.id(),
        endpoint_id: endpoint_id(model, &delivery.url),
        url: delivery.url.clone(),
        state: delivery.state,
        generation: delivery.generation,
        attempts: delivery.attempts.clone(),
    }
}

pub(super) fn dead_letter(model: &Model, letter: &Letter) -> DeadLetter {
    let history = letter.delivery.attempts.clone();
    let delivery = delivery(model, &letter.delivery);
    DeadLetter::new(
        &Undelivered::of(&delivery),
        letter.reason,
        history,
        letter.died_at,
    )
}

/// Cuts a page out of items that come oldest first, each with its number.
pub(super) fn page<T>(items: impl Iterator<Item = (u64, T)>, list: &List) -> Listed<T> {
    let cursor = list.cursor.as_ref().map(|cursor| cursor.parse());
    let mut left: Vec<(u64, T)> = match cursor {
        None => items.collect(),
        Some(Ok(before)) => items.filter(|(number, _)| *number < before).collect(),
        Some(Err(_)) => Vec::new(),
    };
    left.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    let rest = left.split_off(list.limit.min(left.len()));
    let last = left.last().map(|(number, _)| number.to_string());
    Listed {
        items: left.into_iter().map(|(_, item)| item).collect(),
        next: last.filter(|_| !rest.is_empty()),
    }
}
