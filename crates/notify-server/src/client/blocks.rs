//! A stream's bytes, taken apart into blocks as the HTML standard says (9.2.6).

use std::mem;

/// What a stream says at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) id: Option<String>,
    /// The event's name; empty if it has none.
    pub(crate) event: String,
    pub(crate) data: String,
}

/// Collects bytes and gives out whole blocks.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// What came and has not been looked at.
    bytes: Vec<u8>,
    /// The block in the making.
    block: Block,
}

impl Blocks {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole block with data.
    pub(super) fn next(&mut self) -> Option<Block> {
        while let Some(end) = self.bytes.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                let block = mem::take(&mut self.block);
                if !block.data.is_empty() {
                    return Some(block);
                }
            } else {
                self.take(line);
            }
        }
        None
    }

    fn take(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.block.id = Some(value.to_owned()),
            "event" => self.block.event = value.to_owned(),
            "data" => {
                if !self.block.data.is_empty() {
                    self.block.data.push('\n');
                }
                self.block.data.push_str(value);
            }
            // A comment, `retry:`, or something newer.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(text: &str, piece_bytes: usize) -> Vec<Block> {
        let mut blocks = Blocks::default();
        let mut whole = Vec::new();
        for piece in text.as_bytes().chunks(piece_bytes) {
            blocks.push(piece);
            whole.extend(std::iter::from_fn(|| blocks.next()));
        }
        whole
    }

    #[test]
    fn blocks_are_whole_however_their_bytes_come() {
        let text = ":\nretry: 2000\nid: a-1\nevent: queued\ndata: {\"é\":1}\n\n:\nid: a-2\r\nevent: completed\r\ndata: {}\r\n\r\ndata: cut";
        let expected = [("a-1", "queued", "{\"é\":1}"), ("a-2", "completed", "{}")].map(
            |(id, event, data)| Block {
                id: Some(id.to_owned()),
                event: event.to_owned(),
                data: data.to_owned(),
            },
        );
        for piece_bytes in 1..text.len() {
            assert_eq!(blocks(text, piece_bytes), expected, "{piece_bytes}");
        }
    }

    #[test]
    fn a_block_without_an_id_has_none() {
        let gap = blocks("event: notify.gap\ndata:x\ndata: y\n\n", 7);
        let expected = Block {
            id: None,
            event: "notify.gap".to_owned(),
            data: "x\ny".to_owned(),
        };
        assert_eq!(gap, [expected]);
    }
}
