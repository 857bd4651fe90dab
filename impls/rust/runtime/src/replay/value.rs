//! Arguments and answers of operations: bytes, hexadecimal digits, numbers.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The arguments of one operation.
#[derive(Clone, Copy)]
pub(super) struct Args<'a>(pub(super) &'a [Value]);

impl<'a> Args<'a> {
    pub(super) fn value(&self, at: usize) -> Option<&'a Value> {
        self.0.get(at)
    }

    pub(super) fn bytes(&self, at: usize) -> Option<Vec<u8>> {
        bytes(self.value(at)?)
    }

    /// Bytes, or nothing where the argument is `null`.
    #[allow(clippy::option_option)] // the outer one: no such argument
    pub(super) fn some_bytes(&self, at: usize) -> Option<Option<Vec<u8>>> {
        match self.value(at)? {
            Value::Null => Some(None),
            value => bytes(value).map(Some),
        }
    }

    pub(super) fn text(&self, at: usize) -> Option<&'a str> {
        self.value(at)?.as_str()
    }

    pub(super) fn number(&self, at: usize) -> Option<u64> {
        self.value(at)?.as_u64()
    }

    pub(super) fn hex<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let text = self.text(at)?.as_bytes();
        let mut out = [0; N];
        if text.len() != 2 * N {
            return None;
        }
        for (byte, pair) in out.iter_mut().zip(text.chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(out)
    }
}

/// The bytes that a value stands for.
pub(super) fn bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Object(coded) => STANDARD.decode(coded.get("b64")?.as_str()?).ok(),
        _ => None,
    }
}

/// The value that stands for bytes.
pub(super) fn of_bytes(raw: &[u8]) -> Value {
    match std::str::from_utf8(raw) {
        Ok(text) => text.into(),
        Err(_) => json!({ "b64": STANDARD.encode(raw) }),
    }
}

/// [`of_bytes`], or `null`.
pub(super) fn of_some(raw: Option<&[u8]>) -> Value {
    raw.map_or(Value::Null, of_bytes)
}

/// Bytes as hexadecimal digits.
pub(super) fn of_hex(raw: &[u8]) -> Value {
    let mut text = String::with_capacity(2 * raw.len());
    for byte in raw {
        let _ = write!(text, "{byte:02x}");
    }
    text.into()
}
