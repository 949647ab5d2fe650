//! JSON's grammar, byte by byte.

/// A position in bytes that may be JSON.
#[derive(Clone, Copy)]
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
}

/// It is no JSON from here on.
pub(super) struct Wrong;

impl<'a> Scanner<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Passes `byte` if it comes next.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Passes white space.
    pub(super) fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Passes the one value that all of the bytes are to be.
    pub(super) fn document(&mut self) -> Result<(), Wrong> {
        let mut open = Levels::default();
        self.space();
        loop {
            self.value_or_opening(&mut open)?;
            if self.after_value(&mut open)? {
                return Ok(());
            }
        }
    }

    /// Passes a value, or all of it up to the first value inside.
    fn value_or_opening(&mut self, open: &mut Levels) -> Result<(), Wrong> {
        loop {
            match self.peek().ok_or(Wrong)? {
                b'{' => {
                    self.at += 1;
                    self.space();
                    if self.take(b'}') {
                        return Ok(());
                    }
                    open.push(true);
                    self.key()?;
                }
                b'[' => {
                    self.at += 1;
                    self.space();
                    if self.take(b']') {
                        return Ok(());
                    }
                    open.push(false);
                }
                b'"' => return self.string(),
                b't' => return self.word(b"true"),
                b'f' => return self.word(b"false"),
                b'n' => return self.word(b"null"),
                _ => return self.number(),
            }
        }
    }

    /// Passes what stands between a value and the next one; `true` at the end.
    fn after_value(&mut self, open: &mut Levels) -> Result<bool, Wrong> {
        loop {
            self.space();
            let Some(in_object) = open.last() else {
                return match self.peek() {
                    None => Ok(true),
                    Some(_) => Err(Wrong),
                };
            };
            if self.take(b',') {
                self.space();
                if in_object {
                    self.key()?;
                }
                return Ok(false);
            }
            if !self.take(if in_object { b'}' } else { b']' }) {
                return Err(Wrong);
            }
            open.pop();
        }
    }

    fn key(&mut self) -> Result<(), Wrong> {
        self.string()?;
        self.space();
        if !self.take(b':') {
            return Err(Wrong);
        }
        self.space();
        Ok(())
    }

    fn string(&mut self) -> Result<(), Wrong> {
        if !self.take(b'"') {
            return Err(Wrong);
        }
        loop {
            match self.peek().ok_or(Wrong)? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => {
                    self.at += 1;
                    self.escape()?;
                }
                0..=0x1f => return Err(Wrong),
                _ => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<(), Wrong> {
        let escape = self.peek().ok_or(Wrong)?;
        match escape {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => {
                self.at += 1;
                for _ in 0..4 {
                    let digit = self.peek().ok_or(Wrong)?;
                    if !digit.is_ascii_hexdigit() {
                        return Err(Wrong);
                    }
                    self.at += 1;
                }
            }
            _ => return Err(Wrong),
        }
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Wrong> {
        for &byte in word {
            if !self.take(byte) {
                return Err(Wrong);
            }
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Wrong> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Wrong> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(Wrong) } else { Ok(()) }
    }

    /// Passes a string of valid JSON, quotes included.
    pub(super) fn pass_string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += 1 + usize::from(byte == b'\\');
            if byte == b'"' {
                return;
            }
        }
    }

    /// Passes a value of valid JSON, whatever is inside.
    pub(super) fn pass_value(&mut self) {
        let mut depth = 0usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => self.pass_string(),
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    self.at += 1;
                }
                b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                _ => self.pass_word(),
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// Passes a number or one of the three words of valid JSON.
    pub(super) fn pass_word(&mut self) {
        while self
            .peek()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
        {
            self.at += 1;
        }
    }
}

/// Which of the open levels are objects: a bit each, so that a mebibyte of
/// brackets costs 128 KiB.
#[derive(Default)]
struct Levels {
    bits: Vec<u64>,
    depth: usize,
}

impl Levels {
    fn push(&mut self, object: bool) {
        if self.depth.is_multiple_of(64) {
            self.bits.push(0);
        }
        self.depth += 1;
        let bit = 1 << ((self.depth - 1) % 64);
        if let Some(word) = self.bits.last_mut() {
            *word = if object { *word | bit } else { *word & !bit };
        }
    }

    fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if self.depth.is_multiple_of(64) {
            self.bits.pop();
        }
    }

    fn last(&self) -> Option<bool> {
        let at = self.depth.checked_sub(1)? % 64;
        Some(self.bits.last()? >> at & 1 == 1)
    }
}
