//! A decoder of event streams by the book: the HTML standard, 9.2.6.

/// One dispatched event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SseEvent {
    /// The last event id as of this event; empty if there was none yet.
    pub id: String,
    /// Its name, `message` if it had none.
    pub event: String,
    /// Its data.
    pub data: String,
}

/// Takes bytes in pieces of any size and gives the events that are complete.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    line: Vec<u8>,
    /// The last byte ended a line as CR; an LF now belongs to it.
    after_cr: bool,
    /// A byte order mark can only be at the beginning.
    begun: bool,
    id: String,
    event: String,
    data: Option<String>,
    last_event_id: String,
    retry_ms: Option<u64>,
    comments: usize,
    vain_blank_lines: usize,
}

impl Decoder {
    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<SseEvent> {
        let mut events = Vec::new();
        for &byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => {
                    let line = std::mem::take(&mut self.line);
                    events.extend(self.line_ended(&String::from_utf8_lossy(&line)));
                }
                _ => self.line.push(byte),
            }
        }
        events
    }

    /// What a reconnect would present; empty for nothing.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// When to come back, as last said.
    pub fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    /// How many comments there were.
    pub fn comments(&self) -> usize {
        self.comments
    }

    /// How many blank lines ended no data. By the book they mean nothing, but
    /// some widespread clients dispatch an empty event for each.
    pub fn vain_blank_lines(&self) -> usize {
        self.vain_blank_lines
    }

    fn line_ended(&mut self, line: &str) -> Option<SseEvent> {
        let first = !std::mem::replace(&mut self.begun, true);
        let line = match line.strip_prefix('\u{feff}') {
            Some(rest) if first => rest,
            _ => line,
        };
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => self.comments += 1,
            "event" => value.clone_into(&mut self.event),
            "data" => {
                let data = self.data.get_or_insert_default();
                data.push_str(value);
                data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry_ms = value.parse().ok();
            }
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<SseEvent> {
        self.id.clone_into(&mut self.last_event_id);
        let event = std::mem::take(&mut self.event);
        let Some(mut data) = self.data.take() else {
            self.vain_blank_lines += 1;
            return None;
        };
        data.pop();
        Some(SseEvent {
            id: self.last_event_id.clone(),
            event: if event.is_empty() {
                "message".into()
            } else {
                event
            },
            data,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes in pieces of every size, and each time to the same events.
    #[track_caller]
    fn check(stream: &str, expected: &[(&str, &str, &str)]) -> Decoder {
        let mut whole = Decoder::default();
        let events = whole.feed(stream.as_bytes());
        let seen: Vec<_> = events
            .iter()
            .map(|event| (&*event.id, &*event.event, &*event.data))
            .collect();
        assert_eq!(seen, expected);
        for size in 1..stream.len() {
            let mut decoder = Decoder::default();
            let pieces = stream.as_bytes().chunks(size);
            let in_pieces: Vec<_> = pieces.flat_map(|piece| decoder.feed(piece)).collect();
            assert_eq!(in_pieces, events, "in pieces of {size}");
        }
        whole
    }

    // The cases below are those of the web platform tests, `eventsource/format-*`.

    #[test]
    fn lines_end_in_any_of_three_ways() {
        check(
            "data:test\r\ndata\ndata:test\r\n\r",
            &[("", "message", "test\n\ntest")],
        );
        check(
            "data:1\r\rdata:2\n\n",
            &[("", "message", "1"), ("", "message", "2")],
        );
    }

    #[test]
    fn one_mark_at_the_beginning_is_skipped() {
        check(
            "\u{feff}data:1\n\n\u{feff}data:2\n\ndata:3\n\n",
            &[("", "message", "1"), ("", "message", "3")],
        );
        check(
            "\u{feff}\u{feff}data:1\n\ndata:2\n\n",
            &[("", "message", "2")],
        );
    }

    #[test]
    fn comments_are_counted_and_mean_nothing() {
        let decoder = check(
            "data:1\n:\0\n:\ndata:2\n:x\ndata:3\n\n",
            &[("", "message", "1\n2\n3")],
        );
        assert_eq!(decoder.comments(), 3);
    }

    #[test]
    fn fields_are_known_by_their_exact_name() {
        check(
            "data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\ndata:3\rdata:\r\n data:32\ndata:4\n\n",
            &[("", "message", "\0\n 2\n1\n3\n\n4")],
        );
        check("data: \ndata\n\n", &[("", "message", "\n")]);
        check(
            "data\n\ndata:\n\n",
            &[("", "message", ""), ("", "message", "")],
        );
        check(
            "data:\ttest\rdata: \ndata:test\n\n",
            &[("", "message", "\ttest\n\ntest")],
        );
    }

    #[test]
    fn a_name_lasts_for_one_event() {
        check(
            "event:test\ndata:x\n\ndata:x\n\nevent:\ndata:y\n\n",
            &[
                ("", "test", "x"),
                ("", "message", "x"),
                ("", "message", "y"),
            ],
        );
    }

    #[test]
    fn an_id_lasts_until_another_and_is_taken_even_without_data() {
        let decoder = check(
            "id: 1\ndata:x\n\ndata:y\n\nid: 2\n\ndata:z\n\nid\ndata:w\n\n",
            &[
                ("1", "message", "x"),
                ("1", "message", "y"),
                ("2", "message", "z"),
                ("", "message", "w"),
            ],
        );
        assert_eq!(decoder.vain_blank_lines(), 1);
        check("id: 1\0\ndata:x\n\n", &[("", "message", "x")]);
    }

    #[test]
    fn a_block_that_is_cut_off_is_dropped_with_its_id() {
        let decoder = check("id: 1\ndata:x\n\nid: 2\ndata:y\n", &[("1", "message", "x")]);
        assert_eq!(decoder.last_event_id(), "1");
    }

    #[test]
    fn only_digits_say_when_to_come_back() {
        let decoder = check("retry:03000\ndata:x\n\n", &[("", "message", "x")]);
        assert_eq!(decoder.retry_ms(), Some(3_000));
        let decoder = check("retry:3000\nretry:1000x\nretry:-1\nretry\n", &[]);
        assert_eq!(decoder.retry_ms(), Some(3_000));
    }
}
