//! Owns the wire form of the policies on the path of a request; see [`super`] for the rule.
//!
//! `impls/crossfade/impls/cores/replay_path.py` is its twin.

use serde_json::{Value, json};

use super::{Stepped, one, parse, wire};
use crate::bulkhead::Bulkhead;
use crate::hedge::Hedge;
use crate::limiter::{Gcra, KeyedLimiter};
use crate::retry::Retry;
use crate::shedder::Shedder;

#[derive(Debug)]
pub(super) enum PathCore {
    Gcra(Gcra),
    Keyed(Box<KeyedLimiter>),
    Bulkhead(Box<Bulkhead>),
    Retry(Retry),
    Hedge(Hedge),
    Shedder(Shedder),
}

impl PathCore {
    /// `None`: the kind is none of these.
    pub(super) fn new(kind: &str, config: &str, seed: u64) -> Result<Option<Self>, String> {
        Ok(Some(match kind {
            "gcra" => Self::Gcra(Gcra::new(parse("config", config)?)),
            "keyed_limiter" => Self::Keyed(Box::new(KeyedLimiter::new(parse("config", config)?))),
            "bulkhead" => Self::Bulkhead(Box::new(Bulkhead::new(parse("config", config)?))),
            "retry" => Self::Retry(Retry::new(parse("config", config)?, seed)),
            "hedge" => Self::Hedge(Hedge::new(parse("config", config)?)),
            "shedder" => Self::Shedder(Shedder::new(parse("config", config)?)),
            _ => return Ok(None),
        }))
    }

    pub(super) fn step(&mut self, now_ns: u64, op: &str, args: &str) -> Stepped {
        match self {
            Self::Gcra(limit) => gcra_step(limit, now_ns, op),
            Self::Keyed(limiter) => keyed_step(limiter, now_ns, op, args),
            Self::Bulkhead(bulkhead) => bulkhead_step(bulkhead, now_ns, op, args),
            Self::Retry(retry) => retry_step(retry, op, args),
            Self::Hedge(hedge) => hedge_step(hedge, op, args),
            Self::Shedder(shedder) => shedder_step(shedder, now_ns, op, args),
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

fn bulkhead_step(bulkhead: &mut Bulkhead, now_ns: u64, op: &str, args: &str) -> Stepped {
    let actions = match op {
        "try_acquire" => return Ok(Some(json!(bulkhead.try_acquire()))),
        "take" => return Ok(Some(json!(bulkhead.take(one(op, args)?)))),
        "next_deadline_ns" => return Ok(Some(json!(bulkhead.next_deadline_ns()))),
        "counts" => {
            let counts = [bulkhead.in_flight(), bulkhead.waiting(), bulkhead.untaken()];
            return Ok(Some(json!(counts)));
        }
        "acquire" => {
            let (waiter, deadline_ns) = parse(op, args)?;
            bulkhead.acquire(now_ns, waiter, deadline_ns)
        }
        "release" => bulkhead.release(now_ns),
        "cancel" => bulkhead.cancel(now_ns, one(op, args)?),
        "tick" => bulkhead.tick(now_ns),
        "resize" => {
            let (max_in_flight, max_queue) = parse(op, args)?;
            bulkhead.resize(now_ns, max_in_flight, max_queue)
        }
        "drain" => bulkhead.drain(now_ns),
        _ => return Ok(None),
    };
    Ok(Some(actions.into_iter().map(wire).collect()))
}

fn retry_step(retry: &mut Retry, op: &str, args: &str) -> Stepped {
    Ok(Some(match op {
        "request" => {
            retry.request();
            Value::Null
        }
        "next" => or_minus_one(retry.next(one(op, args)?)),
        "forget" => {
            retry.forget();
            Value::Null
        }
        "budget_milli" => json!(retry.budget_milli()),
        _ => return Ok(None),
    }))
}

fn hedge_step(hedge: &mut Hedge, op: &str, args: &str) -> Stepped {
    Ok(Some(match op {
        "request" => {
            hedge.request();
            Value::Null
        }
        "delay_ns" => or_minus_one(hedge.delay_ns()),
        "try_start" => json!(hedge.try_start()),
        "record" => {
            hedge.record(one(op, args)?);
            Value::Null
        }
        "record_many" => {
            let (latency_ns, times): (u64, u64) = parse(op, args)?;
            (0..times).for_each(|_| hedge.record(latency_ns));
            Value::Null
        }
        _ => return Ok(None),
    }))
}

fn or_minus_one(found: Option<u64>) -> Value {
    found.map_or(json!(-1), |ns| json!(ns))
}

fn shedder_step(shedder: &mut Shedder, now_ns: u64, op: &str, args: &str) -> Stepped {
    Ok(Some(match op {
        "admit" => json!(shedder.admit(now_ns, one(op, args)?)),
        "waited" => {
            shedder.waited(now_ns, one(op, args)?);
            Value::Null
        }
        "shedding" => json!(shedder.shedding()),
        _ => return Ok(None),
    }))
}
