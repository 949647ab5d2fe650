//! What was seen at each door, and whether the doors agree.

use std::collections::BTreeMap;

use super::error::DemoError;
use super::sight::Sight;
use crate::client::Block;
use crate::print;
use crate::receiver::{Answer, Verdict, Webhook};

/// Everything that was seen so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The ids that the service was given, and whether each is mere progress.
    accepted: Vec<(String, bool)>,
    said: bool,
    streamed: Vec<String>,
    stream_ended: bool,
    /// The ids of webhooks that were verified and taken.
    taken: Vec<String>,
    attempts: BTreeMap<String, u32>,
    unproven: u32,
}

impl Tally {
    /// Notes it, and puts it into words.
    pub(super) fn note(&mut self, sight: Sight) -> Option<String> {
        match sight {
            Sight::Saying(words) => return Some(format!("job      says {words}")),
            Sight::Accepted { id, is_progress } => self.accepted.push((id, is_progress)),
            Sight::Said => self.said = true,
            Sight::Streamed(block) => return Some(self.note_block(block)),
            Sight::StreamEnded => {
                self.stream_ended = true;
                return Some("stream   ended, as the job has".to_owned());
            }
            Sight::Received(webhook) => return Some(self.note_webhook(webhook)),
        }
        None
    }

    fn note_block(&mut self, block: Block) -> String {
        let id = block.id.unwrap_or_default();
        let (shown, event) = (print::escaped(&id), print::escaped(&block.event));
        let data = print::escaped(&block.data);
        self.streamed.push(id);
        format!("stream   {shown:<15} {event:<15} {data}")
    }

    fn note_webhook(&mut self, webhook: Webhook) -> String {
        let attempt = self.attempts.entry(webhook.id.clone()).or_default();
        *attempt += 1;
        let again = match attempt {
            1 => String::new(),
            attempt => format!(", attempt {attempt}"),
        };
        let line = format!(
            "webhook  {:<15} {:<15} {}{again}",
            webhook.id,
            webhook.kind,
            webhook.outcome()
        );
        match (webhook.verdict, webhook.answer) {
            (Verdict::Verified(_), Answer::Taken) => self.taken.push(webhook.id),
            (Verdict::Verified(_), _) => {}
            _ => self.unproven += 1,
        }
        line
    }

    /// Whether the last event has come through every door.
    pub(super) fn is_complete(&self) -> bool {
        let last = self.accepted.last();
        let taken = last.is_some_and(|(id, _)| self.taken.contains(id));
        self.said && self.stream_ended && taken
    }

    /// One line on what came through the doors.
    ///
    /// Progress may be passed over at either door when something newer is there;
    /// everything else must come through both, in order and under its one id.
    pub(super) fn verdict(&self) -> Result<String, DemoError> {
        let lifecycle = self.accepted.iter().filter(|(_, is_progress)| !is_progress);
        let lifecycle: Vec<&String> = lifecycle.map(|(id, _)| id).collect();
        for (door, ids) in [("stream", &self.streamed), ("webhooks", &self.taken)] {
            let mut rest = self.accepted.iter();
            if !ids
                .iter()
                .all(|id| rest.any(|(accepted, _)| accepted == id))
            {
                let what = format!("{door}: out of order, twice or unknown: {}", ids.join(" "));
                return Err(DemoError::Mismatch(what));
            }
            if let Some(missing) = lifecycle.iter().find(|id| !ids.contains(id)) {
                return Err(DemoError::Mismatch(format!("{door}: {missing} is missing")));
            }
        }
        if self.unproven > 0 {
            let what = format!("{} webhooks could not be verified", self.unproven);
            return Err(DemoError::Mismatch(what));
        }
        let again = self.attempts.values().filter(|&&attempts| attempts > 1);
        Ok(format!(
            "{} events accepted, {} on the stream, {} as webhooks ({} after a retry): \
             the same ids at both doors",
            self.accepted.len(),
            self.streamed.len(),
            self.taken.len(),
            again.count(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(streamed: &[&str], taken: &[&str]) -> Tally {
        let ids = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect();
        Tally {
            accepted: [("1", false), ("2", false), ("3", true), ("4", false)]
                .map(|(id, is_progress)| (id.to_owned(), is_progress))
                .into(),
            streamed: ids(streamed),
            taken: ids(taken),
            ..Tally::default()
        }
    }

    #[test]
    fn progress_may_be_passed_over_and_nothing_else() {
        let all = ["1", "2", "3", "4"];
        assert!(tally(&all, &all).verdict().is_ok());
        assert!(tally(&all, &["1", "2", "4"]).verdict().is_ok());
        assert!(tally(&["1", "2", "4"], &all).verdict().is_ok());
        for wrong in [&["1", "3", "4"][..], &["1", "2", "3"], &[]] {
            assert!(tally(wrong, &all).verdict().is_err(), "{wrong:?}");
            assert!(tally(&all, wrong).verdict().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_out_of_order_twice_or_unknown_is_told() {
        let all = ["1", "2", "3", "4"];
        for wrong in [
            &["2", "1", "4"][..],
            &["1", "2", "2", "4"],
            &["1", "2", "4", "5"],
        ] {
            assert!(tally(wrong, &all).verdict().is_err(), "{wrong:?}");
        }
    }
}
