//! One spelling for JSON that means the same: members in order of their names, no white space, escapes only where they
//! must be.
//!
//! The rules: numbers stay as they are written (a server could tell `1` from `1.0`); members that stand twice both stay,
//! in their order; whatever is nested more than 64 deep stays as it is written. It walks and does not recurse: no input
//! can exhaust the stack.

use crate::envelope;
use crate::translate;

const DEEPEST: usize = 64;

/// A container that is not closed yet. `key` is the name that waits for its value.
#[derive(Default)]
struct Open {
    array: bool,
    items: Vec<Vec<u8>>,
    key: Option<Vec<u8>>,
    members: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Open {
    fn take(&mut self, text: Vec<u8>) {
        if self.array {
            self.items.push(text);
        } else if let Some(key) = self.key.take() {
            self.members.push((key, text));
        } else {
            self.key = Some(text);
        }
    }

    fn text(mut self, leave_out: &[&[u8]]) -> Vec<u8> {
        if self.array {
            let mut out = vec![b'['];
            out.extend_from_slice(&self.items.join(&b','));
            out.push(b']');
            return out;
        }
        // The quote sorts after a name that is a part of it, so names are compared without.
        self.members
            .sort_by(|(one, _), (other, _)| one[1..one.len() - 1].cmp(&other[1..other.len() - 1]));
        let mut out = vec![b'{'];
        for (key, value) in &self.members {
            if !leave_out.contains(&key.as_slice()) {
                translate::push_member(&mut out, key, value);
            }
        }
        out.push(b'}');
        out
    }
}

/// The one spelling of `raw`, which is valid JSON; without some members (quoted) of the outermost object.
pub(crate) fn canonical(raw: &[u8], leave_out: &[&[u8]]) -> Vec<u8> {
    let mut stack: Vec<Open> = Vec::new();
    let mut at = 0;
    while at < raw.len() {
        let start = at;
        let text = match raw[at] {
            b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' => {
                at += 1;
                continue;
            }
            byte @ (b'{' | b'[') => {
                if stack.len() == DEEPEST {
                    at = nested_end(raw, at);
                    raw[start..at].to_vec()
                } else {
                    stack.push(Open {
                        array: byte == b'[',
                        ..Open::default()
                    });
                    at += 1;
                    continue;
                }
            }
            b'}' | b']' => {
                at += 1;
                let Some(open) = stack.pop() else { break };
                open.text(if stack.is_empty() { leave_out } else { &[] })
            }
            b'"' => {
                at = string_end(raw, at);
                string(&raw[start..at])
            }
            _ => {
                at = word_end(raw, at);
                raw[start..at].to_vec()
            }
        };
        match stack.last_mut() {
            Some(open) => open.take(text),
            None => return text,
        }
    }
    raw.to_vec() // not JSON
}

fn string(token: &[u8]) -> Vec<u8> {
    match memchr::memchr(b'\\', token).and_then(|_| envelope::text(token)) {
        Some(text) => {
            let mut out = Vec::with_capacity(token.len());
            translate::push_json_string(&mut out, &text);
            out
        }
        None => token.to_vec(),
    }
}

fn string_end(raw: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(found) = raw
        .get(at..)
        .and_then(|rest| memchr::memchr2(b'"', b'\\', rest))
    {
        at += found;
        if raw[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    raw.len()
}

fn word_end(raw: &[u8], start: usize) -> usize {
    let ends = |byte: &u8| b" \t\n\r{}[],:\"".contains(byte);
    raw[start..]
        .iter()
        .position(ends)
        .map_or(raw.len(), |length| start + length)
}

fn nested_end(raw: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0usize);
    while at < raw.len() {
        match raw[at] {
            b'"' => {
                at = string_end(raw, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    at
}
