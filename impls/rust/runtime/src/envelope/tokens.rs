//! Single JSON tokens: words, numbers and strings by the grammar of RFC 8259.
//!
//! The rule: a token is accepted exactly as written there, and one that input cuts off is [`Stop::End`]. A number at
//! the very end counts as cut off: more digits could follow.

use super::cursor::{Cursor, Stop};
use super::{Fault, Span};

impl Cursor<'_> {
    pub(super) fn scalar(&mut self, first: u8) -> Result<(), Stop> {
        match first {
            b'"' => self.string().map(|_| ()),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            b'-' | b'0'..=b'9' => self.number(),
            _ => self.bad(),
        }
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), Stop> {
        let rest = &self.input[self.at..];
        if rest.starts_with(word) {
            self.at += word.len();
            Ok(())
        } else if word.starts_with(rest) {
            Err(Stop::End)
        } else {
            self.bad()
        }
    }

    fn number(&mut self) -> Result<(), Stop> {
        if self.input[self.at] == b'-' {
            self.at += 1;
        }
        match self.byte()? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits()?,
            _ => return self.bad(),
        }
        if self.byte()? == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte()?, b'e' | b'E') {
            self.at += 1;
            if matches!(self.byte()?, b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Stop> {
        if !self.byte()?.is_ascii_digit() {
            return self.bad();
        }
        while self.byte()?.is_ascii_digit() {
            self.at += 1;
        }
        Ok(())
    }

    fn byte(&self) -> Result<u8, Stop> {
        self.input.get(self.at).copied().ok_or(Stop::End)
    }

    pub(super) fn string(&mut self) -> Result<Span, Stop> {
        let start = self.at;
        if self.input[start] != b'"' {
            return self.bad();
        }
        self.at += 1;
        let mut plain = true;
        loop {
            let run = plain_run(&self.input[self.at..], &mut plain);
            self.at += run;
            match self.byte()? {
                b'"' => {
                    self.at += 1;
                    break;
                }
                b'\\' => self.escape()?,
                _ => return self.bad(),
            }
        }
        let span = Span {
            start,
            end: self.at,
        };
        if !plain && std::str::from_utf8(span.of(self.input)).is_err() {
            return Err(Stop::Fault(Fault::Syntax(start)));
        }
        Ok(span)
    }

    fn escape(&mut self) -> Result<(), Stop> {
        self.at += 1;
        match self.byte()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => match self.utf16()? {
                // Half a pair has no UTF-8, and what readers make of it differs (RFC 8259 section 8.2, RFC 7493).
                0xD800..=0xDBFF => {
                    if self.byte()? != b'\\' {
                        return self.bad();
                    }
                    self.at += 1;
                    if self.byte()? != b'u' || !(0xDC00..=0xDFFF).contains(&self.utf16()?) {
                        return self.bad();
                    }
                }
                0xDC00..=0xDFFF => return self.bad(),
                _ => {}
            },
            _ => return self.bad(),
        }
        Ok(())
    }

    /// The unit behind a `u`.
    fn utf16(&mut self) -> Result<u32, Stop> {
        let mut unit = 0;
        for _ in 0..4 {
            self.at += 1;
            match (self.byte()? as char).to_digit(16) {
                Some(digit) => unit = unit << 4 | digit,
                None => return self.bad(),
            }
        }
        self.at += 1;
        Ok(unit)
    }
}

/// Length of the run without quote, backslash and control bytes; clears `plain` if it holds non-ASCII.
fn plain_run(input: &[u8], plain: &mut bool) -> usize {
    const SHORT: usize = 16;
    let special = |byte: u8| byte == b'"' || byte == b'\\' || byte < 0x20;
    for (at, &byte) in input.iter().take(SHORT).enumerate() {
        if special(byte) {
            return at;
        }
        *plain &= byte < 0x80;
    }
    if input.len() <= SHORT {
        return input.len();
    }
    // Three passes that each run at memory speed whatever the optimiser makes of them; one clever loop does not.
    let run = &input
        [..memchr::memchr2(b'"', b'\\', &input[SHORT..]).map_or(input.len(), |at| at + SHORT)];
    *plain &= run.is_ascii();
    if run
        .iter()
        .fold(0, |control, &byte| control | u8::from(byte < 0x20))
        != 0
    {
        return run
            .iter()
            .position(|&byte| byte < 0x20)
            .unwrap_or(run.len());
    }
    run.len()
}
