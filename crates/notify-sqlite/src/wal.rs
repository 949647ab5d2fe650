//! A look at the log (WAL) that the last process left, before SQLite takes it up.
//!
//! SQLite keeps the log's whole commits up to the first frame that does not
//! check, and silently drops the rest: after a power cut that is a commit that
//! nobody was promised, but on a disk that has gone bad it may be more. This
//! module finds out whether there is such a rest, so that an operator is told.
//! It decides nothing.
//!
//! A log is written from its beginning again and again; what an earlier round
//! left behind its end has other salts and does not count. What a transaction
//! left that was rolled back, of this round, can't be told from damage.
//!
//! Source: "WAL-mode File Format", sections 2 and 3, of SQLite's documentation.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

/// What a log holds. A frame is one page of the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Log {
    /// Frames of whole commits: what SQLite takes up.
    pub(crate) kept: u64,
    /// Frames that were written after those, if one of them does not check; 0 if
    /// the log ends as it should, or in a commit that was only just begun.
    pub(crate) cut: u64,
    /// Whether its header does not check, so that SQLite takes up nothing.
    pub(crate) headless: bool,
}

/// Reads a log; one that is not there holds nothing.
pub(crate) fn look(file: &Path) -> io::Result<Log> {
    let file = match File::open(file) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Log::default()),
        Err(error) => return Err(error),
    };
    let mut file = BufReader::with_capacity(BUFFER_BYTES, file);
    let mut header = [0; HEADER_BYTES];
    match fill(&mut file, &mut header)? {
        0 => return Ok(Log::default()),
        HEADER_BYTES => {}
        _ => return Ok(HEADLESS),
    }
    let Some(mut chain) = Chain::begin(&header) else {
        return Ok(HEADLESS);
    };
    let mut log = Log::default();
    let (mut begun, mut broken) = (0, false);
    let mut frame = vec![0; FRAME_HEADER_BYTES + chain.page_bytes];
    while fill(&mut file, &mut frame)? == frame.len() {
        let Some((head, page)) = frame.split_first_chunk() else {
            break;
        };
        broken |= !chain.goes_on(head, page);
        if broken {
            log.cut += u64::from(chain.is_of_this_round(head));
            continue;
        }
        begun += 1;
        if is_commit(head) {
            log.kept += std::mem::take(&mut begun);
        }
    }
    if log.cut > 0 {
        log.cut += begun;
    }
    Ok(log)
}

const HEADLESS: Log = Log {
    kept: 0,
    cut: 0,
    headless: true,
};

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
const BUFFER_BYTES: usize = 64 * 1024;

/// The lowest bit tells the order of bytes in the words that are summed up.
const MAGIC: u32 = 0x377f_0682;
const FORMAT: u32 = 3_007_000;

type FrameHead = [u8; FRAME_HEADER_BYTES];

/// The sum that runs through a log: each frame's is that of all before it too.
struct Chain {
    big_endian: bool,
    page_bytes: usize,
    salts: [u32; 2],
    sum: [u32; 2],
}

impl Chain {
    /// Begins with the log's header; `None` if that does not check.
    fn begin(header: &[u8; HEADER_BYTES]) -> Option<Self> {
        let [magic, format, page_bytes, _, salt_1, salt_2, sum_1, sum_2] = words(header);
        let page_bytes = usize::try_from(page_bytes).ok()?;
        let sane = magic & !1 == MAGIC
            && format == FORMAT
            && page_bytes.is_power_of_two()
            && (512..=65_536).contains(&page_bytes);
        let mut chain = Self {
            big_endian: magic & 1 == 1,
            page_bytes,
            salts: [salt_1, salt_2],
            sum: [0, 0],
        };
        let (summed, _) = header.split_at(HEADER_BYTES - 8);
        chain.add(summed);
        (sane && chain.sum == [sum_1, sum_2]).then_some(chain)
    }

    /// Whether a frame follows those before it.
    fn goes_on(&mut self, head: &FrameHead, page: &[u8]) -> bool {
        let [number, _, _, _, sum_1, sum_2] = words(head);
        let (summed, _) = head.split_at(8);
        self.add(summed);
        self.add(page);
        number != 0 && self.is_of_this_round(head) && self.sum == [sum_1, sum_2]
    }

    fn is_of_this_round(&self, head: &FrameHead) -> bool {
        let [_, _, salt_1, salt_2, ..]: [u32; 6] = words(head);
        self.salts == [salt_1, salt_2]
    }

    fn add(&mut self, bytes: &[u8]) {
        let (pairs, _) = bytes.as_chunks::<8>();
        for pair in pairs {
            let [mut first, mut second]: [u32; 2] = words(pair);
            if !self.big_endian {
                (first, second) = (first.swap_bytes(), second.swap_bytes());
            }
            let [sum_1, sum_2] = &mut self.sum;
            *sum_1 = sum_1.wrapping_add(first).wrapping_add(*sum_2);
            *sum_2 = sum_2.wrapping_add(second).wrapping_add(*sum_1);
        }
    }
}

/// The last frame of a commit says how many pages the database then has.
fn is_commit(head: &FrameHead) -> bool {
    let [_, pages, ..]: [u32; 6] = words(head);
    pages != 0
}

/// The first words of `bytes`, which are big-endian.
fn words<const WORDS: usize>(bytes: &[u8]) -> [u32; WORDS] {
    let (chunks, _) = bytes.as_chunks::<4>();
    let mut words = [0; WORDS];
    for (word, chunk) in words.iter_mut().zip(chunks) {
        *word = u32::from_be_bytes(*chunk);
    }
    words
}

/// Reads as much as there is room or file; how much it was.
fn fill(file: &mut impl Read, mut room: &mut [u8]) -> io::Result<usize> {
    let wanted = room.len();
    while !room.is_empty() {
        match file.read(room) {
            Ok(0) => break,
            Ok(read) => room = room.get_mut(read..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(wanted - room.len())
}
