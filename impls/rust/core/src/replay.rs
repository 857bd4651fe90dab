//! Owns the wire form of the cores: one step in, one JSON value out, as `impls/vectors/SCHEMA.md` says.
//!
//! Rule: it only translates. `impls/crossfade/impls/cores/replay.py` is its twin, and whatever replays one replays the
//! other. It is for tests: behind the feature `replay`, and nothing on a request path uses it.

mod life;
mod path;
mod rollout;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::balancer::{
    Balance, Balancer, LeastPending, Mask, P2c, Rendezvous, RoundRobin, Weighted,
};
use crate::breaker::{Breaker, BreakerConfig};
use crate::cache::Cache;
use crate::histogram::Histogram;
use crate::pool::{Action, Pool, PoolConfig};
use crate::rng::SplitMix64;
use crate::rollout::Rollout;
use crate::rollout_plan::RolloutConfig;
use life::LifeCore;
use path::PathCore;

#[derive(Debug)]
enum Core {
    Rng(SplitMix64),
    Breaker(Breaker),
    Balancer(Balancer),
    Pool(Box<Pool>),
    Life(LifeCore),
    Path(PathCore),
    Rollout(Box<Rollout>),
    Cache(Cache<u64, ()>),
    Histogram(Histogram),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Instances {
    instances: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Weights {
    weights: Vec<u32>,
}

/// The arguments of `pick`; the key may be left out.
#[derive(Deserialize)]
struct Pick(String, #[serde(default)] u64);

/// One core of a named kind, stepped with JSON. Errors are sentences for the author of a vector.
#[derive(Debug)]
pub struct Replayer(Core);

impl Replayer {
    pub fn new(kind: &str, config_json: &str, seed: u64) -> Result<Self, String> {
        Ok(Self(match kind {
            "rng" => Core::Rng(SplitMix64::new(seed)),
            "breaker" => {
                Core::Breaker(Breaker::new(parse::<BreakerConfig>("config", config_json)?))
            }
            "round_robin" => {
                let Instances { instances } = parse("config", config_json)?;
                Core::Balancer(Balancer::RoundRobin(RoundRobin::new(instances)))
            }
            "p2c" => {
                let Instances { instances } = parse("config", config_json)?;
                Core::Balancer(Balancer::P2c(P2c::new(instances, seed)))
            }
            "weighted" => {
                let Weights { weights } = parse("config", config_json)?;
                Core::Balancer(Balancer::Weighted(Weighted::new(&weights)))
            }
            "least_pending" => {
                let Instances { instances } = parse("config", config_json)?;
                Core::Balancer(Balancer::LeastPending(LeastPending::new(instances)))
            }
            "rendezvous" => {
                let Instances { instances } = parse("config", config_json)?;
                Core::Balancer(Balancer::Rendezvous(Rendezvous::new(instances)))
            }
            "pool" => Core::Pool(Box::new(Pool::new(parse::<PoolConfig>(
                "config",
                config_json,
            )?))),
            "rollout" => Core::Rollout(Box::new(Rollout::new(parse::<RolloutConfig>(
                "config",
                config_json,
            )?))),
            "histogram" => Core::Histogram(Histogram::default()),
            "cache" => Core::Cache(Cache::new(parse("config", config_json)?)),
            other => elsewhere(other, config_json, seed)?,
        }))
    }

    /// Perform one operation with a JSON array of arguments; the answer is a JSON value.
    pub fn step(&mut self, at_ns: u64, op: &str, args_json: &str) -> Result<String, String> {
        let found = match &mut self.0 {
            Core::Rng(rng) => rng_step(rng, op, args_json),
            Core::Breaker(breaker) => breaker_step(breaker, at_ns, op, args_json),
            Core::Balancer(balancer) => balancer_step(balancer, at_ns, op, args_json),
            Core::Pool(pool) => pool_step(pool, at_ns, op, args_json),
            Core::Life(core) => core.step(at_ns, op, args_json),
            Core::Path(core) => core.step(at_ns, op, args_json),
            Core::Rollout(rollout) => rollout::step(rollout, at_ns, op, args_json),
            Core::Cache(cache) => cache_step(cache, at_ns, op, args_json),
            Core::Histogram(histogram) => histogram_step(histogram, op, args_json),
        };
        let answer = found?
            .ok_or_else(|| format!("operation {op:?} is unknown; see impls/vectors/SCHEMA.md"))?;
        Ok(answer.to_string())
    }
}

/// A core whose wire form is in a module of its own.
fn elsewhere(kind: &str, config: &str, seed: u64) -> Result<Core, String> {
    if let Some(core) = LifeCore::new(kind, config, seed)? {
        return Ok(Core::Life(core));
    }
    PathCore::new(kind, config, seed)?
        .map(Core::Path)
        .ok_or_else(|| format!("kind {kind:?} is unknown; see impls/vectors/SCHEMA.md"))
}

type Stepped = Result<Option<Value>, String>;

fn rng_step(rng: &mut SplitMix64, op: &str, args: &str) -> Stepped {
    Ok(Some(match op {
        "next_u64" => json!(rng.next_u64()),
        "below" => json!(rng.below(one(op, args)?)),
        _ => return Ok(None),
    }))
}

fn breaker_step(breaker: &mut Breaker, now_ns: u64, op: &str, args: &str) -> Stepped {
    Ok(Some(match op {
        "admit" => json!(breaker.admit(now_ns)),
        "record" => {
            let (ok, duration_ns) = parse(op, args)?;
            breaker.record(now_ns, ok, duration_ns);
            Value::Null
        }
        "forget" => {
            breaker.forget(now_ns, one(op, args)?);
            Value::Null
        }
        "state" => json!(breaker.state(now_ns).as_str()),
        "retry_after_ns" => json!(breaker.retry_after_ns(now_ns)),
        _ => return Ok(None),
    }))
}

fn balancer_step(balancer: &mut Balancer, now_ns: u64, op: &str, args: &str) -> Stepped {
    Ok(Some(match op {
        "pick" => {
            let Pick(usable, key) = parse(op, args)?;
            let mut mask = Mask::default();
            for (i, bit) in usable.bytes().enumerate() {
                mask.set(i, bit == b'1');
            }
            balancer
                .pick(now_ns, mask.words(), key)
                .map_or(json!(-1), |i| json!(i))
        }
        "started" => {
            balancer.started(one(op, args)?);
            Value::Null
        }
        "finished" => {
            let (i, latency_ns, ok) = parse(op, args)?;
            balancer.finished(i, now_ns, latency_ns, ok);
            Value::Null
        }
        "cancelled" => {
            balancer.cancelled(one(op, args)?);
            Value::Null
        }
        "resize" => {
            balancer.resize(one(op, args)?);
            Value::Null
        }
        "pending" => json!(balancer.pending(one(op, args)?)),
        "ewma_ns" => json!(balancer.ewma_ns(one(op, args)?)),
        _ => return Ok(None),
    }))
}

fn pool_step(pool: &mut Pool, now_ns: u64, op: &str, args: &str) -> Stepped {
    let actions = match op {
        "try_acquire" => return Ok(Some(json!(pool.try_acquire(now_ns)))),
        "take" => return Ok(Some(json!(pool.take(one(op, args)?)))),
        "next_deadline_ns" => return Ok(Some(json!(pool.next_deadline_ns()))),
        "counts" => {
            let counts = [
                pool.open(),
                pool.connecting(),
                pool.in_use(),
                pool.waiting(),
                pool.untaken(),
            ];
            return Ok(Some(json!(counts)));
        }
        "acquire" => {
            let (waiter, deadline_ns) = parse(op, args)?;
            pool.acquire(now_ns, waiter, deadline_ns)
        }
        "release" => {
            let (conn, reusable) = parse(op, args)?;
            pool.release(now_ns, conn, reusable)
        }
        "cancel" => pool.cancel(now_ns, one(op, args)?),
        "connected" => pool.connected(now_ns, one(op, args)?),
        "connect_failed" => pool.connect_failed(now_ns, one(op, args)?),
        "lost" => pool.lost(now_ns, one(op, args)?),
        "tick" => pool.tick(now_ns),
        "drain" => pool.drain(now_ns),
        "start" => pool.start(now_ns),
        "resize" => {
            let (min_connections, max_connections) = parse(op, args)?;
            pool.resize(now_ns, min_connections, max_connections)
        }
        _ => return Ok(None),
    };
    Ok(Some(actions.into_iter().map(wire).collect()))
}

fn histogram_step(histogram: &Histogram, op: &str, args: &str) -> Stepped {
    Ok(Some(match op {
        "record" => {
            histogram.record(one(op, args)?);
            Value::Null
        }
        "quantile_ns" => json!(histogram.quantile_ns(one(op, args)?)),
        "below" => json!(histogram.below(one(op, args)?)),
        "summary" => {
            let s = histogram.summary();
            json!([s.count, s.mean, s.p50, s.p90, s.p99, s.p999, s.max])
        }
        _ => return Ok(None),
    }))
}

fn cache_step(cache: &mut Cache<u64, ()>, now_ns: u64, op: &str, args: &str) -> Stepped {
    Ok(Some(match op {
        "put" => {
            let (key, size, ttl_ns) = parse(op, args)?;
            json!(cache.put(now_ns, key, (), size, ttl_ns))
        }
        "get" => json!(cache.get(now_ns, &one::<u64>(op, args)?).is_some()),
        "remove" => json!(cache.remove(&one::<u64>(op, args)?)),
        "keys" => json!(cache.keys()),
        "counts" => json!([cache.len() as u64, cache.bytes()]),
        _ => return Ok(None),
    }))
}

fn wire(action: Action) -> Value {
    match action {
        Action::Connect { conn } => json!(["connect", conn]),
        Action::Close { conn, reason } => json!(["close", conn, reason.as_str()]),
        Action::Grant { waiter, conn } => json!(["grant", waiter, conn]),
        Action::Reject { waiter, reason } => json!(["reject", waiter, reason.as_str()]),
    }
}

fn one<T: DeserializeOwned>(op: &str, args_json: &str) -> Result<T, String> {
    parse::<(T,)>(op, args_json).map(|(only,)| only)
}

fn parse<T: DeserializeOwned>(what: &str, json: &str) -> Result<T, String> {
    serde_json::from_str(json)
        .map_err(|error| format!("{what}: {json}: {error}; see impls/vectors/SCHEMA.md"))
}
