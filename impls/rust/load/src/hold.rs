//! Connections that are opened, used once and held: the load of a memory ladder.
//!
//! Rule: nothing moves between two `held` events but what a command asked for, so that memory can be sampled in peace. A
//! held connection that the server closes is counted as lost and never replaced.
//!
//! `{"op": "grow", "to": M}` opens more, up to M in all; the end of standard input ends the run.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, TryRecvError};

use serde_json::{Value, json};

use crate::client::{Client, Event};
use crate::drive::settle;
use crate::plan::Plan;
use crate::sys::Control;
use crate::{Failure, Host};

#[derive(Debug, Default)]
struct Tally {
    lost: u64,
    errors: BTreeMap<String, u64>,
    sent: u64,
    completed: u64,
}

/// Serves a ladder until `control` ends; returns the result event.
pub fn run(
    plan: &Plan,
    client: &mut Client,
    control: &Receiver<Control>,
    host: &mut dyn Host,
) -> Result<String, Failure> {
    host.emit(r#"{"event":"ready","connections":0}"#)?;
    let mut tally = Tally::default();
    let mut held = 0;
    grow(plan, client, &mut held, plan.connections, &mut tally, host)?;
    let mut events = Vec::new();
    loop {
        match control.try_recv() {
            Ok(Control::Line(line)) => {
                let command: Value = serde_json::from_str(&line).unwrap_or_default();
                let to = command["to"]
                    .as_u64()
                    .and_then(|to| usize::try_from(to).ok());
                if let (Some("grow"), Some(to)) = (command["op"].as_str(), to) {
                    grow(plan, client, &mut held, to, &mut tally, host)?;
                } else {
                    let message =
                        format!("unknown command {line}; send {{\"op\":\"grow\",\"to\":N}}");
                    host.emit(&json!({"event": "error", "message": message}).to_string())?;
                }
            }
            Ok(Control::End) | Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                events = client.wait(u64::MAX, events, host)?;
                tally.count(&events);
            }
        }
    }
    let mismatches = tally.errors.get("mismatch").copied().unwrap_or(0);
    Ok(json!({"event": "result", "generator": "rust", "held": held, "lost": tally.lost, "sent": tally.sent,
        "completed": tally.completed, "errors": tally.errors, "mismatches": mismatches})
    .to_string())
}

impl Tally {
    fn count(&mut self, events: &[Event]) -> usize {
        let mut ended = 0;
        for event in events {
            match event {
                Event::Ended(_, request) => {
                    ended += 1;
                    match request.verdict {
                        Ok(()) => self.completed += 1,
                        Err(kind) => *self.errors.entry(kind.to_string()).or_default() += 1,
                    }
                }
                Event::Lost(_) => self.lost += 1,
                Event::Failed(..) | Event::Up(_) | Event::Renewed(..) => {}
            }
        }
        ended
    }
}

/// Opens connections up to `to` in batches, uses each once, and says so.
fn grow(
    plan: &Plan,
    client: &mut Client,
    held: &mut usize,
    to: usize,
    tally: &mut Tally,
    host: &mut dyn Host,
) -> Result<(), Failure> {
    while *held < to {
        let batch = to.min(*held + crate::drive::OPENING);
        client.reopen = true;
        let up = settle(plan, client, *held, batch, host)?;
        client.reopen = false;
        let mut waiting = up.len();
        tally.sent += waiting as u64;
        for key in up {
            client.send(key, crate::sys::now_ns());
        }
        let mut events = Vec::new();
        while waiting > 0 {
            events = client.wait(u64::MAX, events, host)?;
            waiting -= tally.count(&events);
        }
        *held = batch;
    }
    let errors: u64 = tally.errors.values().sum();
    host.emit(
        &json!({"event": "held", "n": held, "lost": tally.lost, "errors": errors}).to_string(),
    )
}
