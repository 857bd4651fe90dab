//! The look at a body that is passed on while it arrives: no key of the envelope may stand twice in it.
//!
//! The beginning has named the tool, and was routed and filtered by it; the server behind may take a second `name` that
//! stands behind the arguments. The rule: every byte is fed before it is passed on, so whoever refuses here has never
//! sent the whole message. Only keys of the message and of `params` count; what is deeper is skipped by its brackets.

use super::{Fault, plain_key};

/// The longest key that is looked at; none of the envelope is so long, however it is spelt.
const LONGEST_KEY: usize = 1024;

/// The bit of `params.name` among the keys seen.
const NAME: u8 = 8;

/// What a byte may be part of.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Step {
    #[default]
    Start,
    /// Behind a brace: a key, or the other brace.
    First,
    /// Behind a comma.
    Key,
    InKey,
    Colon,
    Value,
    Scalar,
    /// A string that is a value.
    Text,
    /// Arrays and objects that are skipped.
    Nested,
    /// A string in them.
    NestedText,
    /// Behind a value.
    After,
    Over,
}

/// One body.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    step: Step,
    in_params: bool,
    /// The value that follows is `params` of the message.
    params_next: bool,
    /// How many brackets of what is skipped are open.
    deep: usize,
    /// The byte before was a backslash that escapes this one.
    escaped: bool,
    /// The key so far, with its quotes.
    key: Vec<u8>,
    seen: u8,
    read: usize,
}

impl Watch {
    /// More bytes; a fault if they must not be passed on.
    pub(crate) fn feed(&mut self, input: &[u8]) -> Result<(), Fault> {
        let mut at = 0;
        while at < input.len() {
            at = match self.step {
                Step::Text | Step::NestedText | Step::InKey => self.string(input, at)?,
                Step::Nested => self.nested(input, at),
                _ => {
                    self.byte(input[at]).ok_or(Fault::Syntax(self.read + at))?;
                    at + 1
                }
            };
        }
        self.read += input.len();
        Ok(())
    }

    /// There are no more; a fault if the message is not complete.
    pub(crate) fn end(&self) -> Result<(), Fault> {
        if self.step == Step::Over {
            Ok(())
        } else {
            Err(Fault::Syntax(self.read))
        }
    }

    /// Whether `params.name` was there.
    pub(crate) fn named(&self) -> bool {
        self.seen & NAME != 0
    }

    /// A byte between tokens, or of a number or word; none if it cannot stand here.
    fn byte(&mut self, byte: u8) -> Option<()> {
        let space = matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        self.step = match (self.step, byte) {
            (Step::Scalar, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'.' | b'+' | b'-') => {
                Step::Scalar
            }
            (Step::Scalar, _) if space => Step::After,
            (step, _) if space => step,
            (Step::Start, b'{') => Step::First,
            (Step::First | Step::Key, b'"') => {
                self.key.clear();
                self.key.push(b'"');
                Step::InKey
            }
            (Step::Colon, b':') => Step::Value,
            (Step::Value, b'{') if self.params_next => {
                self.in_params = true;
                Step::First
            }
            (Step::Value, b'{' | b'[') => {
                self.deep = 1;
                Step::Nested
            }
            (Step::Value, b'"') => Step::Text,
            (Step::Value, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-') => Step::Scalar,
            (Step::After | Step::Scalar, b',') => Step::Key,
            (Step::First | Step::After | Step::Scalar, b'}') => {
                if std::mem::take(&mut self.in_params) {
                    Step::After
                } else {
                    Step::Over
                }
            }
            _ => return None,
        };
        if !matches!(self.step, Step::Colon | Step::Value) {
            self.params_next = false;
        }
        Some(())
    }

    /// To behind the end of a string, or of the input.
    fn string(&mut self, input: &[u8], from: usize) -> Result<usize, Fault> {
        let (mut at, mut ended) = (from, false);
        while at < input.len() && !ended {
            if std::mem::take(&mut self.escaped) {
                at += 1;
                continue;
            }
            match memchr::memchr2(b'"', b'\\', &input[at..]) {
                Some(found) => {
                    at += found;
                    self.escaped = input[at] == b'\\';
                    ended = !self.escaped;
                    at += 1;
                }
                None => at = input.len(),
            }
        }
        if self.step == Step::InKey {
            // Of a longer one only that it is longer is kept.
            let room = (LONGEST_KEY + 1).saturating_sub(self.key.len());
            self.key
                .extend_from_slice(&input[from..at.min(from + room)]);
        }
        if ended {
            self.step = match self.step {
                Step::InKey => {
                    self.keyed()?;
                    Step::Colon
                }
                Step::NestedText => Step::Nested,
                _ => Step::After,
            };
        }
        Ok(at)
    }

    /// To behind the end of what is skipped, a quote in it, or the input.
    fn nested(&mut self, input: &[u8], from: usize) -> usize {
        for (at, &byte) in input.iter().enumerate().skip(from) {
            match byte {
                b'"' => {
                    self.step = Step::NestedText;
                    return at + 1;
                }
                b'{' | b'[' => self.deep += 1,
                b'}' | b']' => {
                    self.deep -= 1;
                    if self.deep == 0 {
                        self.step = Step::After;
                        return at + 1;
                    }
                }
                _ => {}
            }
        }
        input.len()
    }

    /// A key is complete.
    fn keyed(&mut self) -> Result<(), Fault> {
        if self.key.len() > LONGEST_KEY {
            return Ok(());
        }
        let (bit, name) = match (self.in_params, &*plain_key(&self.key)) {
            (false, b"\"method\"") => (1, "method"),
            (false, b"\"id\"") => (2, "id"),
            (false, b"\"params\"") => (4, "params"),
            (true, b"\"name\"") => (NAME, "params.name"),
            (true, b"\"uri\"") => (16, "params.uri"),
            (true, b"\"_meta\"") => (32, "params._meta"),
            _ => return Ok(()),
        };
        if self.seen & bit != 0 {
            return Err(Fault::Duplicate(name));
        }
        self.seen |= bit;
        self.params_next = bit == 4;
        Ok(())
    }
}
