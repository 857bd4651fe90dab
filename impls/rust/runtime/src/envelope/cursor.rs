//! A cursor over JSON: objects and nesting, checked on the way.
//!
//! The rule: the cursor only moves forward and never recurses, so no input can exhaust the stack; where input ends is
//! [`Stop::End`], which is a fault only to those who hold all of it.

use super::{Fault, Span};

const MAX_DEPTH: usize = 512;

/// Why the cursor cannot go on.
pub(super) enum Stop {
    End,
    Fault(Fault),
}

pub(super) struct Cursor<'a> {
    pub(super) input: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self { input, at: 0 }
    }
}

impl Cursor<'_> {
    /// Runs `read`, then insists that only white space follows.
    pub(super) fn lone(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        read(self)?;
        match self.peek() {
            Err(Stop::End) => Ok(()),
            Err(fault) => Err(fault),
            Ok(_) => self.bad(),
        }
    }

    pub(super) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Span) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        self.expect(b'{')?;
        if self.peek()? == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.peek()?;
            let key = self.string()?;
            self.expect(b':')?;
            member(self, key)?;
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.bad(),
            }
        }
    }

    /// Skips white space and looks at the next byte.
    pub(super) fn peek(&mut self) -> Result<u8, Stop> {
        while let Some(&byte) = self.input.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                other => return Ok(other),
            }
        }
        Err(Stop::End)
    }

    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Stop> {
        if self.peek()? == byte {
            self.at += 1;
            Ok(())
        } else {
            self.bad()
        }
    }

    pub(super) fn bad<T>(&self) -> Result<T, Stop> {
        Err(Stop::Fault(Fault::Syntax(self.at)))
    }

    /// Any value, checked, without recursion.
    pub(super) fn value(&mut self) -> Result<Span, Stop> {
        let first = self.peek()?;
        let start = self.at;
        if first == b'{' || first == b'[' {
            self.nested()?;
        } else {
            self.scalar(first)?;
        }
        Ok(Span {
            start,
            end: self.at,
        })
    }

    fn nested(&mut self) -> Result<(), Stop> {
        let mut objects = [0u64; MAX_DEPTH / 64];
        let mut depth = 0usize;
        // Each turn starts where a value is due.
        loop {
            let byte = self.peek()?;
            let mut opened = false;
            if byte == b'{' || byte == b'[' {
                if depth == MAX_DEPTH {
                    return self.bad();
                }
                let bit = 1u64 << (depth % 64);
                if byte == b'{' {
                    objects[depth / 64] |= bit;
                } else {
                    objects[depth / 64] &= !bit;
                }
                depth += 1;
                self.at += 1;
                opened = true;
            } else {
                self.scalar(byte)?;
            }
            // After a value (or an opening): close what ends here, then step to the next value.
            loop {
                let in_object =
                    depth > 0 && objects[(depth - 1) / 64] >> ((depth - 1) % 64) & 1 == 1;
                let byte = self.peek()?;
                let close = if in_object { b'}' } else { b']' };
                if byte == close {
                    self.at += 1;
                    depth -= 1;
                    opened = false;
                    if depth == 0 {
                        return Ok(());
                    }
                    continue;
                }
                if !opened {
                    if byte != b',' {
                        return self.bad();
                    }
                    self.at += 1;
                }
                if in_object {
                    self.peek()?;
                    self.string()?;
                    self.expect(b':')?;
                }
                break;
            }
        }
    }
}
