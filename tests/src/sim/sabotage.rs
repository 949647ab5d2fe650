//! Ways to break the sender on purpose: a checker that can't fail is a defect.

use notify_core::delivery::{DeadReason, Delivery, Outcome, Settle};
use notify_core::schedule::AttemptEnd;
use notify_core::signing::WEBHOOK_ID;
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
    /// A redelivery is counted though none began.
    CountRedeliveryTwice,
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
    /// A settle is not written.
    DropSettle,
    /// What comes back leased from the store is dropped.
    DropLease,
    /// The first claim after a start is left out.
    SkipRecovery,
    /// Scheduling follows the wall clock.
    FollowTheWall,
}

impl Sabotage {
    /// Falsifies what the process writes.
    pub(super) fn settle(self, settle: &mut Settle, now: Timestamp) {
        settle.outcome = match (self, settle.outcome) {
            (Self::IgnoreDue, Outcome::Retry { .. }) => Outcome::Retry { due_at: now },
            (
                Self::NeverGiveUp,
                Outcome::Dead {
                    reason: DeadReason::Exhausted,
                },
            ) => Outcome::Retry { due_at: now },
            (_, outcome) => outcome,
        };
    }

    /// Falsifies how an attempt ended.
    pub(super) fn outcome(self, end: AttemptEnd) -> AttemptEnd {
        match end {
            AttemptEnd::Sent { at, .. } if self == Self::CallFailureDelivered => {
                let outcome = Ok(WebhookResponse {
                    status: 200,
                    ..WebhookResponse::default()
                });
                AttemptEnd::Sent { at, outcome }
            }
            AttemptEnd::Sent {
                at,
                outcome: Err(TransportError::Internal(_)),
            } if self == Self::ChargeOwnFailures => {
                let outcome = Err(TransportError::Connect);
                AttemptEnd::Sent { at, outcome }
            }
            end => end,
        }
    }

    /// Falsifies what a request is signed with.
    pub(super) fn keyring(self, keyring: Keyring) -> Keyring {
        if self == Self::SignWithOldSecret {
            Keyring::new(keyring.oldest().clone())
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
}
