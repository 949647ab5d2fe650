//! Ways to break the sender on purpose: a checker that can't fail is a defect.

use std::sync::Arc;
use std::time::Duration;

use notify_core::commit::Work;
use notify_core::delivery::{DeadReason, Delivery, Outcome, Settle};
use notify_core::schedule::{AttemptEnd, Scheduler};
use notify_core::signing::WEBHOOK_ID;
use notify_core::store::{Batch, Room};
use notify_core::{Keyring, Timestamp, TransportError, WebhookRequest, WebhookResponse};

/// What is broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sabotage {
    /// Nothing.
    #[default]
    None,
    /// What was leased at a crash counts as delivered.
    LoseLeasesAtCrash,
    /// As [`Self::LoseLeasesAtCrash`], for a crash during recovery only.
    LoseLeasesInRecovery,
    /// A failed attempt counts as delivered.
    CallFailureDelivered,
    /// An event is written without its one-off webhook.
    WriteByHalf,
    /// The store numbers an event twice as far on.
    SkipSequence,
    /// The store takes an event after the terminal one.
    AcceptAfterEnd,
    /// New events are sent at once, whatever is ahead of them.
    IgnoreLanes,
    /// Retries are due at once.
    IgnoreDue,
    /// Our own failures count as the receiver's.
    ChargeOwnFailures,
    /// Used-up attempts are followed by more.
    NeverGiveUp,
    /// The store takes any lease for the current one.
    TakeStaleLeases,
    /// A reader that comes back begins at the head.
    SkipOnReconnect,
    /// The store doesn't look at idempotency keys.
    ForgetKeys,
    /// More dead letters are said to be moved than were.
    CountSweepTwice,
    /// A walk over dead letters ends with its first step.
    StopSweepsEarly,
    /// A redelivery has a webhook id of its own.
    RenameRedelivery,
    /// During a rotation only the old secret signs.
    SignWithOldSecret,
    /// Requests carry the time at which their event was accepted.
    SignWithOldTime,
    /// More attempts are in flight than the limits allow.
    WidenWindow,
    /// The store is told that there is room for any number.
    IgnoreRoom,
    /// The store is told that there is room for any size.
    IgnoreBytes,
    /// A settle is not written.
    DropSettle,
    /// What comes back leased from the store is dropped.
    DropLease,
    /// The first claim after a start is left out.
    SkipRecovery,
    /// Scheduling follows the wall clock.
    FollowTheWall,
    /// The store is not told that the clock is another one.
    LeaveWaitsBehind,
    /// What a caller has asked for that has gone is not carried out.
    ForgetTheGone,
    /// A caller is answered twice.
    AnswerTwice,
    /// New heads are leased in passing as if nobody waited.
    PassThoseWhoWait,
    /// An event whose webhook can't be sent is refused.
    RefuseForWebhook,
    /// Whatever waits for an endpoint already, it gets more.
    IgnoreBacklog,
    /// Jobs are forgotten as soon as they have ended.
    ForgetEarly,
    /// A read that fails is taken for one that found nothing.
    TakeFailedReadsForEmpty,
    /// An attempt that panicked counts as the receiver's failure.
    ChargePanics,
    /// The scheduler does not hear that an endpoint was disabled.
    SendToDisabled,
    /// What speaks against an endpoint counts against the message.
    BlameMessages,
    /// A `Retry-After` is heeded for its delivery alone.
    IgnorePacing,
    /// What is ready for an endpoint that falls sick is sent nevertheless.
    SendToTheSick,
    /// The store is not told who is sick.
    KeepSicknessSecret,
    /// The store is told that whoever is sick is well.
    CallTheSickWell,
    /// Endpoints that do not serve take all places.
    TakeAllPlaces,
    /// What is too old is kept.
    NeverExpire,
    /// What waits at a sick endpoint is given up at once.
    ExpireEarly,
    /// A probe's last attempt is used up like any other.
    UseUpProbes,
}

impl Sabotage {
    /// Falsifies what the process writes.
    pub(super) fn settle(self, settle: &mut Settle) {
        let at_once = Outcome::Retry {
            after: Duration::ZERO,
        };
        settle.outcome = match (self, settle.outcome) {
            (Self::IgnoreDue, Outcome::Retry { .. }) => at_once,
            (
                Self::NeverGiveUp,
                Outcome::Dead {
                    reason: DeadReason::Exhausted,
                },
            ) => at_once,
            (Self::UseUpProbes, Outcome::Postponed { after })
                if after >= Duration::from_secs(30) =>
            {
                Outcome::Dead {
                    reason: DeadReason::Exhausted,
                }
            }
            (_, outcome) => outcome,
        };
    }

    /// Falsifies how an attempt ended.
    pub(super) fn outcome(self, end: AttemptEnd, at: Timestamp) -> AttemptEnd {
        let outcome = match (self, &end) {
            (Self::CallFailureDelivered, AttemptEnd::Sent { .. }) => Ok(WebhookResponse {
                status: 200,
                ..WebhookResponse::default()
            }),
            (
                Self::ChargeOwnFailures,
                AttemptEnd::Sent {
                    outcome: Err(TransportError::Internal(_)),
                    ..
                },
            )
            | (Self::ChargePanics, AttemptEnd::OwnFailure) => Err(TransportError::Connect),
            (Self::BlameMessages, AttemptEnd::Sent { outcome, .. }) if speaks_against(outcome) => {
                Ok(WebhookResponse {
                    status: 404,
                    ..WebhookResponse::default()
                })
            }
            (Self::IgnorePacing, AttemptEnd::Sent { outcome, .. }) => {
                let outcome = outcome.clone();
                outcome.map(|answer| WebhookResponse {
                    retry_after: None,
                    ..answer
                })
            }
            _ => return end,
        };
        AttemptEnd::Sent { at, outcome }
    }

    /// Falsifies what a request is signed with.
    pub(super) fn keyring(self, keyring: Keyring) -> Keyring {
        if self == Self::SignWithOldSecret {
            let oldest = keyring.previous().map(|(previous, _)| previous);
            Keyring::new(oldest.unwrap_or(keyring.newest()).clone())
        } else {
            keyring
        }
    }

    /// Falsifies a request.
    pub(super) fn request(self, delivery: &Delivery, request: &mut WebhookRequest) {
        if self == Self::RenameRedelivery && delivery.generation > 0 {
            for (name, value) in &mut request.headers {
                if *name == WEBHOOK_ID {
                    value.push('0');
                }
            }
        }
    }

    /// Falsifies what the store is told.
    pub(super) fn work(self, work: Work, scheduler: &Scheduler) -> Work {
        if let (Self::KeepSicknessSecret, Work::Write(batch)) = (self, &work) {
            return Work::Write(Arc::new(Batch {
                health: Vec::new(),
                ..Batch::clone(batch)
            }));
        }
        if self == Self::IgnoreBytes {
            return match work {
                Work::Claim { mut room, limit } => {
                    room.bytes = u64::MAX;
                    Work::Claim { room, limit }
                }
                Work::Write(batch) => {
                    let mut batch = Batch::clone(&batch);
                    batch.may_lease.bytes = u64::MAX;
                    Work::Write(Arc::new(batch))
                }
                work => work,
            };
        }
        let room = match self {
            Self::IgnoreRoom => Room {
                each: u32::MAX,
                ..Room::default()
            },
            Self::PassThoseWhoWait => scheduler.room(),
            _ => return work,
        };
        match work {
            Work::Write(batch) => Work::Write(Arc::new(Batch {
                may_lease: room,
                ..Batch::clone(&batch)
            })),
            Work::Claim { limit, .. } if self == Self::IgnoreRoom => Work::Claim { room, limit },
            work => work,
        }
    }
}

/// Whether an attempt that ended so speaks against its endpoint, and asks for nothing.
fn speaks_against(outcome: &Result<WebhookResponse, TransportError>) -> bool {
    match outcome {
        Ok(answer) => answer.status >= 500 && answer.retry_after.is_none(),
        Err(TransportError::Refused(_) | TransportError::Internal(_)) => false,
        Err(_) => true,
    }
}
