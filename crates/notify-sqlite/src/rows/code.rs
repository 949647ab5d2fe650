//! Statuses, kinds and states as numbers ([`crate::schema`] says which).

use notify_core::JobStatus;
use notify_core::delivery::DeliveryState;
use notify_core::job::EventKind;

use crate::error::Fault;

pub(crate) fn status_code(status: JobStatus) -> i64 {
    match status {
        JobStatus::Queued => 0,
        JobStatus::Processing => 1,
        JobStatus::Completed => 2,
        JobStatus::Failed => 3,
        JobStatus::Cancelled => 4,
    }
}

pub(super) fn status_of(code: i64) -> Result<JobStatus, Fault> {
    let position = usize::try_from(code).unwrap_or(usize::MAX);
    let status = JobStatus::ALL.get(position).copied();
    status.ok_or_else(|| Fault::damaged("a status that there is not"))
}

pub(super) const fn kind_code(kind: EventKind) -> i64 {
    match kind {
        EventKind::Progress => 0,
        EventKind::Lifecycle => 1,
        EventKind::Terminal => 2,
    }
}

pub(super) fn kind_of(code: i64) -> Result<EventKind, Fault> {
    match code {
        0 => Ok(EventKind::Progress),
        1 => Ok(EventKind::Lifecycle),
        2 => Ok(EventKind::Terminal),
        _ => Err(Fault::damaged("a kind of event that there is not")),
    }
}

pub(super) const fn state_code(state: DeliveryState) -> i64 {
    match state {
        DeliveryState::Pending => 0,
        DeliveryState::Delivered => 1,
        DeliveryState::Dead => 2,
        DeliveryState::Superseded => 3,
    }
}

pub(super) fn state_of(code: i64) -> Result<DeliveryState, Fault> {
    match code {
        0 => Ok(DeliveryState::Pending),
        1 => Ok(DeliveryState::Delivered),
        2 => Ok(DeliveryState::Dead),
        3 => Ok(DeliveryState::Superseded),
        _ => Err(Fault::damaged("a state that there is not")),
    }
}
