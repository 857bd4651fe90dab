//! Where a body ends, tracked over the bytes as they pass; chunked framing is checked, and decoded only for who asks.

/// Framing is broken; nothing after it on this connection can be trusted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct BadFraming;

/// What is still to come of a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Body {
    /// Nothing (any more).
    Done,
    /// This many bytes.
    Length(u64),
    /// Chunks until the last one and its trailers.
    Chunked(Chunks),
    /// Everything until the connection closes.
    UntilClose,
}

impl Body {
    pub(crate) fn length(length: u64) -> Self {
        if length == 0 {
            Self::Done
        } else {
            Self::Length(length)
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Consumes what belongs to this body from the front of `input`; payload (without framing) goes to `payload`.
    pub(crate) fn advance(
        &mut self,
        input: &[u8],
        mut payload: impl FnMut(&[u8]),
    ) -> Result<usize, BadFraming> {
        match self {
            Self::Done => Ok(0),
            Self::Length(left) => {
                let taken = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(input.len());
                payload(&input[..taken]);
                *left -= taken as u64;
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(taken)
            }
            Self::Chunked(chunks) => {
                let taken = chunks.advance(input, payload)?;
                if chunks.state == State::End {
                    *self = Self::Done;
                }
                Ok(taken)
            }
            Self::UntilClose => {
                payload(input);
                Ok(input.len())
            }
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    #[default]
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    Trailer,
    TrailerLf,
    LastLf,
    End,
}

const MAX_EXTENSION: u32 = 512;
const MAX_TRAILERS: u32 = 8 * 1024;

/// State of chunked framing, RFC 9112 section 7.1.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Chunks {
    state: State,
    left: u64,
    digits: u32,
    overhead: u32,
}

impl Chunks {
    fn advance(
        &mut self,
        input: &[u8],
        mut payload: impl FnMut(&[u8]),
    ) -> Result<usize, BadFraming> {
        let mut at = 0;
        while at < input.len() && self.state != State::End {
            if self.state == State::Data {
                let taken = usize::try_from(self.left)
                    .unwrap_or(usize::MAX)
                    .min(input.len() - at);
                payload(&input[at..at + taken]);
                at += taken;
                self.left -= taken as u64;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            self.framing(input[at])?;
            at += 1;
        }
        Ok(at)
    }

    fn framing(&mut self, byte: u8) -> Result<(), BadFraming> {
        self.state = match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                self.digits += 1;
                if self.digits > 15 {
                    return Err(BadFraming);
                }
                let digit = (byte as char).to_digit(16).ok_or(BadFraming)?;
                self.left = self.left << 4 | u64::from(digit);
                State::Size
            }
            // White space before an extension (RFC 9112 section 7.1.1, "BWS") is refused: readers differ in it.
            (State::Size, b';') if self.digits > 0 => {
                self.overhead = 0;
                State::Extension
            }
            (State::Size, b'\r') if self.digits > 0 => State::SizeLf,
            (State::Extension, b'\r') => State::SizeLf,
            (State::Extension, other) if other != b'\n' && self.overhead < MAX_EXTENSION => {
                self.overhead += 1;
                State::Extension
            }
            (State::SizeLf, b'\n') => {
                self.digits = 0;
                self.overhead = 0;
                if self.left == 0 {
                    State::TrailerStart
                } else {
                    State::Data
                }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size,
            (State::TrailerStart, b'\r') => State::LastLf,
            (State::LastLf, b'\n') => State::End,
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            // A field line (RFC 9112 section 7.1.2), and no more is looked at.
            (State::TrailerStart | State::TrailerName, other)
                if is_token(other) && self.overhead < MAX_TRAILERS =>
            {
                self.overhead += 1;
                State::TrailerName
            }
            (State::TrailerName, b':') => State::Trailer,
            (State::Trailer, other) if other != b'\n' && self.overhead < MAX_TRAILERS => {
                self.overhead += 1;
                State::Trailer
            }
            _ => return Err(BadFraming),
        };
        Ok(())
    }
}

/// A byte of a field name.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+.^_`|~-".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIRE: &[u8] = b"4;x=y\r\nabcd\r\nA\r\n0123456789\r\n0\r\nT: v\r\n\r\nNEXT";

    #[test]
    fn chunks_end_at_the_same_byte_whole_and_byte_by_byte() {
        for step in [WIRE.len(), 1, 2, 3, 7] {
            let mut body = Body::Chunked(Chunks::default());
            let mut out = Vec::new();
            let mut used = 0;
            for piece in WIRE.chunks(step) {
                used += body
                    .advance(piece, |part| out.extend_from_slice(part))
                    .expect("valid");
                if body.is_done() {
                    break;
                }
            }
            assert_eq!(out, b"abcd0123456789");
            assert_eq!(used, WIRE.len() - 4, "step {step}");
        }
    }

    #[test]
    fn broken_framing_is_refused() {
        for wire in [
            &b"\r\n"[..],
            b"g\r\n",
            b"1\nx",
            b"1\r\nxy",
            b"fffffffffffffffff\r\n",
            b"1;a\nx",
            b"1 \r\nx\r\n",
        ] {
            let mut body = Body::Chunked(Chunks::default());
            assert_eq!(body.advance(wire, |_| {}), Err(BadFraming));
        }
    }
}
