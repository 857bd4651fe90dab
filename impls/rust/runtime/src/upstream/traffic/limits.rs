//! Rate limits of one server: how often a request, a tool or a principal may pass (GCRA).
//!
//! The rule: all limits or none. What one refuses has used up nothing of the others.

use std::sync::Mutex;

use crossfade_core::{Gcra, KeyedLimiter, RateLimitConfig};

use super::MILLI;
use crate::clock::lock;
use crate::config::{RateKey, RateLimitSpec};
use crate::error::Error;
use crate::filters::Globs;
use crate::names::fnv1a;
use crate::principal::Principal;

#[derive(Debug)]
enum Core {
    All(Gcra),
    Each(KeyedLimiter),
}

#[derive(Debug)]
struct Limit {
    spec: RateLimitSpec,
    globs: Globs,
    core: Core,
}

/// What a limit looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// The server's own name of the tool that is called, `None` for anything else.
    pub(crate) tool: Option<&'a str>,
    pub(crate) principal: Principal<'a>,
}

/// The limits of one server.
#[derive(Debug)]
pub(crate) struct Limits(Mutex<Box<[Limit]>>);

impl Limit {
    fn new(spec: &RateLimitSpec) -> Self {
        let config = RateLimitConfig {
            requests: u64::from(spec.requests),
            per_ns: spec.per_ms * MILLI,
            burst: u64::from(spec.burst),
            max_keys: spec.max_keys as usize,
        };
        Self {
            spec: spec.clone(),
            globs: Globs::new(&spec.tools),
            core: match spec.key {
                RateKey::Server => Core::All(Gcra::new(config)),
                RateKey::Tool | RateKey::Principal => Core::Each(KeyedLimiter::new(config)),
            },
        }
    }

    /// Whether a request is its business: a call of a tool that it names, or any request if it names none. What is
    /// counted by tool needs one.
    fn counts(&self, tool: Option<&str>) -> bool {
        match tool {
            None => self.spec.key != RateKey::Tool && self.globs.is_empty(),
            Some(tool) => self.globs.is_empty() || self.globs.any(tool),
        }
    }

    fn key(&self, asked: Asked<'_>) -> u64 {
        match (self.spec.key, asked.tool) {
            (RateKey::Server, _) => 0,
            (RateKey::Tool, Some(tool)) => fnv1a(tool.as_bytes()),
            _ => asked.principal.key(),
        }
    }

    fn peek(&self, now: u64, key: u64) -> u64 {
        match &self.core {
            Core::All(core) => core.peek(now),
            Core::Each(core) => core.peek(now, key),
        }
    }

    fn take(&mut self, now: u64, key: u64) -> u64 {
        match &mut self.core {
            Core::All(core) => core.admit(now),
            Core::Each(core) => core.admit(now, key),
        }
    }

    fn error(&self, server: &str, wait_ns: u64) -> Error {
        let RateLimitSpec {
            requests, per_ms, ..
        } = self.spec;
        let whose = match self.spec.key {
            RateKey::Server => "",
            RateKey::Tool => " per tool",
            RateKey::Principal => " per principal",
        };
        let retry_after_ms = wait_ns.div_ceil(MILLI);
        Error::RateLimited {
            message: format!(
                "server '{server}': the limit of {requests} requests in {per_ms} ms{whose} is used up; \
                 call again in {retry_after_ms} ms, or raise rateLimits"
            ),
            server: server.to_owned(),
            retry_after_ms,
        }
    }
}

impl Limits {
    /// `None` if there is no limit.
    pub(super) fn new(specs: &[RateLimitSpec]) -> Option<Self> {
        (!specs.is_empty()).then(|| Self(Mutex::new(specs.iter().map(Limit::new).collect())))
    }

    /// Admits one request, or says why not.
    pub(super) fn admit(&self, server: &str, now: u64, asked: Asked<'_>) -> Result<(), Error> {
        let mut limits = lock(&self.0);
        let mine = |limit: &Limit| limit.counts(asked.tool);
        for limit in limits.iter().filter(|limit| mine(limit)) {
            let wait_ns = limit.peek(now, limit.key(asked));
            if wait_ns > 0 {
                return Err(limit.error(server, wait_ns));
            }
        }
        for limit in limits.iter_mut().filter(|limit| mine(limit)) {
            limit.take(now, limit.key(asked));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(tool: Option<&'static str>, who: &'static str) -> Asked<'static> {
        Asked {
            tool,
            principal: Principal::named(Some(who)),
        }
    }

    #[test]
    fn what_one_limit_refuses_costs_the_others_nothing() {
        let spec = |key, requests, tools: &[&str]| RateLimitSpec {
            key,
            requests,
            burst: requests,
            tools: tools.iter().map(|&tool| tool.to_owned()).collect(),
            ..RateLimitSpec::default()
        };
        let limits = Limits::new(&[
            spec(RateKey::Server, 3, &[]),
            spec(RateKey::Principal, 1, &["slow*"]),
        ])
        .expect("two");
        assert!(limits.admit("s", 0, asked(Some("slow"), "a")).is_ok());
        for _ in 0..5 {
            let refused = limits.admit("s", 0, asked(Some("slow"), "a"));
            let Err(Error::RateLimited { retry_after_ms, .. }) = refused else {
                panic!("{refused:?}");
            };
            assert_eq!(retry_after_ms, 1_000);
        }
        assert!(limits.admit("s", 0, asked(Some("slow"), "b")).is_ok());
        assert!(limits.admit("s", 0, asked(None, "a")).is_ok());
        assert!(limits.admit("s", 0, asked(None, "a")).is_err());
    }
}
