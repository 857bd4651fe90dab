//! The tools and what befalls their calls: latency, injected faults, lies.
//!
//! Rule: every draw comes from the seed, in the order of the calls. A fault is drawn before a lie, and only for calls that
//! would have been answered, so that shares are shares of good calls.

use super::message::{Message, strip};
use super::reply::{OK, Verdict, progress, refuse, result};
use crate::fleet::{Config, Distribution, Fault, Latency};
use crate::rng::SplitMix64;

pub(super) const TOOLS: &[u8] = br#"{"tools":[{"name":"echo","description":"Answers its text.","inputSchema":{"type":"object","properties":{"text":{"type":"string"},"n":{"type":"integer"}},"required":["text"]},"annotations":{"readOnlyHint":true,"idempotentHint":true}},{"name":"fail","description":"Answers with isError.","inputSchema":{"type":"object","properties":{"text":{"type":"string"}}},"annotations":{"readOnlyHint":true}},{"name":"progress","description":"Answers its text after events notifications.","inputSchema":{"type":"object","properties":{"text":{"type":"string"},"n":{"type":"integer"},"events":{"type":"integer"}}},"annotations":{"readOnlyHint":true,"idempotentHint":true}},{"name":"sleep","description":"Answers its text after ms milliseconds.","inputSchema":{"type":"object","properties":{"text":{"type":"string"},"ms":{"type":"number"}}},"annotations":{"readOnlyHint":true,"idempotentHint":true}}]"#;

/// More notifications than this are not sent for one call.
const MOST_EVENTS: u64 = 1_000_000;

/// The tools of one server.
#[derive(Debug)]
pub(super) struct Tools {
    latency: Option<Latency>,
    error_below: u64,
    error_kind: Fault,
    lie_below: u64,
    padding: Vec<u8>,
    rng: SplitMix64,
    pub(super) calls: u64,
}

impl Tools {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            latency: config.latency.filter(|latency| latency.ms > 0.0),
            error_below: below(config.error_rate),
            error_kind: config.error_kind,
            lie_below: below(config.lie_rate),
            padding: vec![b'.'; config.answer_bytes],
            rng: SplitMix64::new(config.seed),
            calls: 0,
        }
    }

    /// An id for a new session: of the same draws, so that a seed repeats a whole run.
    pub(super) fn session_id(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// Answers `tools/call`.
    pub(super) fn call(
        &mut self,
        body: &[u8],
        message: &Message,
        id: &[u8],
        out: &mut Vec<u8>,
    ) -> Verdict {
        self.calls += 1;
        let text = &body[message.text.clone()];
        let mut delay_ns = match self.latency {
            None => 0,
            Some(latency) => self.draw_delay(latency),
        };
        let (text, is_error): (&[u8], bool) = match strip(&body[message.name.clone()]) {
            b"echo" if text.first() == Some(&b'"') => (text, false),
            b"echo" => {
                return refuse(
                    out,
                    id,
                    200,
                    -32602,
                    "echo needs arguments.text, a string; add it",
                    "",
                );
            }
            b"sleep" => {
                let millis: f64 = std::str::from_utf8(&body[message.millis.clone()])
                    .ok()
                    .and_then(|ms| ms.parse().ok())
                    .unwrap_or(10.0);
                delay_ns += nanoseconds(millis.clamp(0.0, 600_000.0));
                (if text.is_empty() { b"\"\"" } else { text }, false)
            }
            b"progress" => {
                notify(body, message, out);
                (if text.is_empty() { b"\"\"" } else { text }, false)
            }
            b"fail" => (
                if text.is_empty() {
                    b"\"failed as asked\""
                } else {
                    text
                },
                true,
            ),
            _ => {
                return refuse(
                    out,
                    id,
                    200,
                    -32602,
                    "Unknown tool; this fleet has echo, fail, progress and sleep",
                    "",
                );
            }
        };
        let lines = !out.is_empty();
        if self.error_below > 0 && self.rng.next_u64() < self.error_below {
            let verdict = match self.error_kind {
                Fault::Rpc => refuse(out, id, 200, -32603, "injected by error_rate", ""),
                Fault::Http => {
                    out.clear();
                    refuse(out, id, 503, -32603, "injected by error_rate", "")
                }
                Fault::Reset => Verdict { reset: true, ..OK },
                Fault::Garbage => Verdict {
                    garbage: true,
                    ..OK
                },
                Fault::Tool => {
                    self.content(out, id, text, true);
                    OK
                }
            };
            return Verdict {
                delay_ns,
                lines: lines && verdict.status == 200,
                ..verdict
            };
        }
        if self.lie_below > 0 && self.rng.next_u64() < self.lie_below {
            self.content(out, id, b"\"a lie\"", is_error);
        } else {
            self.content(out, id, text, is_error);
        }
        Verdict {
            delay_ns,
            lines,
            ..OK
        }
    }

    fn draw_delay(&mut self, latency: Latency) -> u64 {
        match latency.distribution {
            Distribution::Constant => nanoseconds(latency.ms),
            Distribution::Exponential => self.rng.exponential_ns(latency.ms * 1e6),
        }
    }

    fn content(&self, out: &mut Vec<u8>, id: &[u8], text: &[u8], is_error: bool) {
        let flag: &[u8] = if is_error { b"true" } else { b"false" };
        out.reserve(128 + id.len() + text.len() + self.padding.len());
        if self.padding.len() + 2 > text.len() {
            let padding = &self.padding[..self.padding.len() + 2 - text.len()];
            let begin = br#"{"content":[{"type":"text","text":"#;
            let middle = br#"},{"type":"text","text":""#;
            result(
                out,
                id,
                &[
                    begin,
                    text,
                    middle,
                    padding,
                    br#""}],"isError":"#,
                    flag,
                    br#","resultType":"complete"}"#,
                ],
            );
        } else {
            let begin = br#"{"content":[{"type":"text","text":"#;
            result(
                out,
                id,
                &[
                    begin,
                    text,
                    br#"}],"isError":"#,
                    flag,
                    br#","resultType":"complete"}"#,
                ],
            );
        }
    }
}

/// The notifications of `progress`; none unless they were asked for with a token.
fn notify(body: &[u8], message: &Message, out: &mut Vec<u8>) {
    let token = &body[message.progress.clone()];
    let asked = std::str::from_utf8(&body[message.events.clone()]).ok();
    let total = asked.and_then(|text| text.parse().ok()).unwrap_or(0);
    if !token.is_empty() {
        for number in 1..=u64::min(total, MOST_EVENTS) {
            progress(out, token, number, total);
        }
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bounded by the callers, never negative
fn nanoseconds(millis: f64) -> u64 {
    (millis * 1e6) as u64
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss
)] // a share of 2^64
fn below(share: f64) -> u64 {
    (share * u64::MAX as f64) as u64
}
