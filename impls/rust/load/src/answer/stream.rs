//! Answers that are event streams: their events, and what a notification among them says.
//!
//! Rule: an event of one data line, as nearly all are, is looked at where it lies.

use std::borrow::Cow;

use crate::scan;

/// Visits the data of each event (HTML, "Interpreting an event stream"; comments and other fields are dropped) until
/// `visit` says false. An event without data is none: legacy servers begin a stream with one that has an id alone.
pub(super) fn events<'a>(body: &'a [u8], mut visit: impl FnMut(&[u8]) -> bool) {
    let mut data: Option<Cow<'a, [u8]>> = None;
    for line in body.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            if data
                .take()
                .is_some_and(|whole| !whole.is_empty() && !visit(&whole))
            {
                return;
            }
        } else if let Some(value) = line.strip_prefix(b"data:") {
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match &mut data {
                None => data = Some(Cow::Borrowed(value)),
                Some(before) => {
                    let whole = before.to_mut();
                    whole.push(b'\n');
                    whole.extend_from_slice(value);
                }
            }
        }
    }
    if let Some(whole) = data.filter(|whole| !whole.is_empty()) {
        visit(&whole);
    }
}

/// The token of a progress notification; 0 for one that is no number of ours.
pub(super) fn progress_of(data: &[u8]) -> Option<u64> {
    let (mut method, mut token) = (0..0, 0..0);
    let start = scan::space(data, 0);
    scan::members(data, start, &mut |key, at| match key {
        b"method" => scan::span(data, at, &mut method),
        b"params" if data.get(at) == Some(&b'{') => {
            scan::members(data, at, &mut |key, at| match key {
                b"progressToken" => scan::span(data, at, &mut token),
                _ => scan::value(data, at),
            })
        }
        _ => scan::value(data, at),
    })
    .ok()?;
    if &data[method] != b"\"notifications/progress\"" || token.is_empty() {
        return None;
    }
    let number = std::str::from_utf8(&data[token]).ok();
    Some(number.and_then(|text| text.parse().ok()).unwrap_or(0))
}
