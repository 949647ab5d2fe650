//! Jobs and endpoints that were deleted: what is ready of them is not sent any more.

use super::Scheduler;
use crate::delivery::Delivery;
use crate::store::{Answer, Doomed, Refusal};

impl Scheduler {
    /// A store has answered a step of a deletion. Once it is through, what is ready of
    /// the job or the endpoint is dropped, and settled by nobody: its leases are void.
    /// An attempt that is in flight may finish, and comes to nothing.
    pub fn handle_deleted(&mut self, what: &Doomed, answer: &Result<Answer, Refusal>) {
        match answer {
            Ok(Answer::Deleted { rest: None }) => {}
            // It may have gone in a batch whose answer was lost.
            Err(Refusal::NoJob | Refusal::NoEndpoint) => {}
            _ => return,
        }
        if let Doomed::Endpoint(id) = what {
            self.healths.forget(*id);
        }
        let is_gone = |delivery: &Delivery| match what {
            Doomed::Job { id, .. } => delivery.lane.job == *id,
            Doomed::Endpoint(id) => delivery.lane.endpoint == *id,
        };
        let mut shrunk = Vec::new();
        for (&id, endpoint) in &mut self.endpoints {
            let before = endpoint.ready.len();
            endpoint.ready.retain(|leased| {
                let delivery = leased.delivery();
                let stays = !is_gone(delivery);
                if !stays {
                    self.bytes = self.bytes.saturating_sub(delivery.bytes());
                    self.own_failures.forget(delivery.id);
                }
                stays
            });
            if endpoint.ready.len() < before {
                shrunk.push(id);
            }
        }
        for id in shrunk {
            self.after_ready_shrank(id);
        }
    }
}
