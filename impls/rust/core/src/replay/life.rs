//! Owns the wire form of the cores that follow an instance's life; see [`super`] for the rule.
//!
//! `impls/crossfade/impls/cores/replay_life.py` is its twin.

use serde_json::{Value, json};

use super::{Stepped, one, parse};
use crate::health::Health;
use crate::restart::Restart;

#[derive(Debug)]
pub(super) enum LifeCore {
    Health(Health),
    Restart(Restart),
}

impl LifeCore {
    /// `None`: the kind is none of these.
    pub(super) fn new(kind: &str, config: &str, seed: u64) -> Result<Option<Self>, String> {
        Ok(Some(match kind {
            "health" => Self::Health(Health::new(parse("config", config)?)),
            "restart" => Self::Restart(Restart::new(parse("config", config)?, seed)),
            _ => return Ok(None),
        }))
    }

    pub(super) fn step(&mut self, now_ns: u64, op: &str, args: &str) -> Stepped {
        Ok(Some(match (self, op) {
            (Self::Health(health), "record") => json!(health.record(one(op, args)?)),
            (Self::Health(health), "healthy") => json!(health.healthy()),
            (Self::Restart(restart), "exited") => restart
                .exited(now_ns, one(op, args)?)
                .map_or(json!(-1), |delay_ns| json!(delay_ns)),
            (Self::Restart(restart), "down_until_ns") => json!(restart.down_until_ns()),
            (Self::Restart(restart), "reset") => {
                restart.reset();
                Value::Null
            }
            _ => return Ok(None),
        }))
    }
}
