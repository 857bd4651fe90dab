//! What a fleet is told while it serves: crash, hang, misbehave, recover, say how it is.
//!
//! Rule: the event that answers a command is true when it is published: after `crashed` no port answers, after `hung` nothing
//! is read, after `recovered` what had waited has been looked at.

use std::net::SocketAddr;

use serde_json::json;

use super::Fleet;
use super::moods::Mood;
use crate::Failure;
use crate::plan::nanoseconds;
use crate::sys::{self, now_ns};

impl Fleet {
    pub fn ready_event(&self) -> String {
        let ports: Vec<u16> = self.addresses.iter().map(SocketAddr::port).collect();
        json!({"event": "ready", "port": ports[0], "ports": ports, "pid": std::process::id(), "generator": "rust"}).to_string()
    }

    fn turn(&mut self, mood: Mood, event: &str) -> String {
        self.mood = mood;
        self.stats(event)
    }

    pub(super) fn stats(&self, event: &str) -> String {
        let open = self.conns.iter().filter(|conn| conn.is_some()).count();
        json!({"event": event, "requests": self.requests, "calls": self.server.calls(), "accepted": self.accepted,
            "open": open, "sessions": self.sessions.count(), "cpu_ns": sys::thread_cpu_ns()})
        .to_string()
    }

    pub(super) fn obey(&mut self, line: &str) -> Result<String, Failure> {
        let command: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        match command["op"].as_str() {
            Some("crash") => {
                self.listeners.clear();
                self.sessions.forget();
                for key in 0..self.conns.len() {
                    self.close(key);
                }
                Ok(self.stats("crashed"))
            }
            Some("hang") => {
                self.hung = true;
                Ok(self.stats("hung"))
            }
            Some("garbage") => Ok(self.turn(Mood::Garbage, "garbage")),
            Some("reset") => Ok(self.turn(Mood::Reset, "reset")),
            Some("drip") => {
                let millis = command["ms"].as_f64().unwrap_or(10.0).clamp(0.0, 60_000.0);
                let every_ns = nanoseconds(millis / 1000.0);
                Ok(self.turn(Mood::Drip { every_ns }, "drip"))
            }
            Some("recover") => {
                self.hung = false;
                self.mood = Mood::Well;
                self.stop_dripping();
                if self.listeners.is_empty() {
                    self.listen()?;
                }
                while let Some(token) = self.deferred.pop_front() {
                    self.ready(token, true);
                }
                self.send_due(now_ns());
                Ok(self.stats("recovered"))
            }
            Some("stats") => Ok(self.stats("stats")),
            _ => Ok(json!({"event": "error", "message": format!("unknown command {line}; send crash, hang, garbage, reset, drip, recover or stats")}).to_string()),
        }
    }
}
