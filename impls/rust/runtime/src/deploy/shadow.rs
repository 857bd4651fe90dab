//! What an update wants to know of calls: how candidates answer, and whether copies of safe reads are answered alike.
//!
//! The rule: the caller's answer never waits for a copy, and copies never pile up: beyond [`AT_ONCE`] a read is not
//! copied. Answers are equal if they are the same JSON but for `_meta`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;

use super::update::Report;
use crate::error::{Error, Result};
use crate::upstream::{Caller, Outgoing, Revision, Server};

const AT_ONCE: usize = 16;
const INTERNAL_ERROR: i64 = -32603;

/// Who looks on while a candidate is judged.
#[derive(Debug)]
pub(crate) struct Watch {
    reports: UnboundedSender<Report>,
    candidate: Arc<Revision>,
    copies: bool,
    busy: Arc<AtomicUsize>,
    turn: AtomicUsize,
}

/// One copy under way.
struct Copying(Arc<AtomicUsize>);

impl Drop for Copying {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Watch {
    pub(super) fn new(
        reports: UnboundedSender<Report>,
        candidate: Arc<Revision>,
        copies: bool,
    ) -> Self {
        Self {
            reports,
            candidate,
            copies,
            busy: Arc::default(),
            turn: AtomicUsize::new(0),
        }
    }

    /// A call ended: if a candidate answered it, that counts. A caller's mistake is no failure.
    pub(crate) fn answered<T>(&self, by: &Arc<Revision>, outcome: &Result<T>) {
        if self.copies || !Arc::ptr_eq(by, &self.candidate) {
            return;
        }
        let bad = match outcome {
            Ok(_) => false,
            Err(Error::Remote { fault, .. }) => fault.code == INTERNAL_ERROR,
            Err(error) => error.blames_server(),
        };
        // Nobody listens any more once it is judged.
        let _ = self.reports.send(Report::Sample(!bad));
    }

    /// A call was answered: if it was a safe read, a candidate is asked the same.
    pub(crate) fn copy(&self, server: &Server, outgoing: &Outgoing<'_>, answer: &Bytes) {
        let safe = matches!(
            outgoing.method,
            "resources/read" | "prompts/get" | "completion/complete"
        );
        if !self.copies || !safe {
            return;
        }
        let serving = self.candidate.serving();
        if serving.is_empty() || self.busy.fetch_add(1, Relaxed) >= AT_ONCE {
            self.busy
                .fetch_sub(usize::from(!serving.is_empty()), Relaxed);
            return;
        }
        let copying = Copying(Arc::clone(&self.busy));
        let turn = self.turn.fetch_add(1, Relaxed);
        let instance = Arc::clone(&serving[turn % serving.len()]);
        let (method, name) = (outgoing.method.to_owned(), outgoing.name.map(str::to_owned));
        let capabilities = outgoing.caller.capabilities.to_vec();
        let params = outgoing.params.to_vec();
        let answer = answer.clone();
        let reports = self.reports.clone();
        let deadline = Instant::now() + Duration::from_millis(self.candidate.spec.timeout_ms);
        server.shared.handle.spawn(async move {
            let copy = Outgoing {
                method: &method,
                params: &params,
                name: name.as_deref(),
                caller: Caller {
                    capabilities: &capabilities,
                    ..Caller::default()
                },
                lines: b"",
                deadline,
            };
            let equal = match instance.link.call(copy).await {
                Ok(found) => plain(&found) == plain(&answer),
                Err(_) => false,
            };
            let _ = reports.send(Report::Compared(equal));
            drop(copying);
        });
    }
}

/// The answer without what belongs to the hop; `None` if it is no JSON.
fn plain(answer: &[u8]) -> Option<Value> {
    let mut found: Value = serde_json::from_slice(answer).ok()?;
    if let Value::Object(members) = &mut found {
        members.remove("_meta");
    }
    Some(found)
}
