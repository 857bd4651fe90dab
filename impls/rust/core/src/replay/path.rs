//! Owns the wire form of the policies on the path of a request; see [`super`] for the rule.
//!
//! `impls/crossfade/impls/cores/replay_path.py` is its twin.

use serde_json::json;

use super::{Stepped, one, parse};
use crate::limiter::{Gcra, KeyedLimiter};

#[derive(Debug)]
pub(super) enum PathCore {
    Gcra(Gcra),
    Keyed(Box<KeyedLimiter>),
}

impl PathCore {
    /// `None`: the kind is none of these.
    pub(super) fn new(kind: &str, config: &str, _seed: u64) -> Result<Option<Self>, String> {
        Ok(Some(match kind {
            "gcra" => Self::Gcra(Gcra::new(parse("config", config)?)),
            "keyed_limiter" => Self::Keyed(Box::new(KeyedLimiter::new(parse("config", config)?))),
            _ => return Ok(None),
        }))
    }

    pub(super) fn step(&mut self, now_ns: u64, op: &str, args: &str) -> Stepped {
        match self {
            Self::Gcra(limit) => gcra_step(limit, now_ns, op),
            Self::Keyed(limiter) => keyed_step(limiter, now_ns, op, args),
        }
    }
}

fn gcra_step(limit: &mut Gcra, now_ns: u64, op: &str) -> Stepped {
    Ok(Some(match op {
        "admit" => json!(limit.admit(now_ns)),
        "peek" => json!(limit.peek(now_ns)),
        _ => return Ok(None),
    }))
}

fn keyed_step(limiter: &mut KeyedLimiter, now_ns: u64, op: &str, args: &str) -> Stepped {
    Ok(Some(match op {
        "admit" => json!(limiter.admit(now_ns, one(op, args)?)),
        "peek" => json!(limiter.peek(now_ns, one(op, args)?)),
        "size" => json!(limiter.size()),
        _ => return Ok(None),
    }))
}
