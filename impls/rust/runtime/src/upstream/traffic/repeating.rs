//! Which requests of a server may be sent twice, and how often that may happen.
//!
//! The rule: a request is safe to repeat if its method has no effects, or the tool says so in its annotations
//! (`retry.hints`), or the configuration says so (`retry.tools`). Only failures that another attempt can mend are
//! repeated: the server could not be reached, crashed, or had no connection free. A timeout is none of them: the first
//! copy may still run.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

use crossfade_core::{Retry, RetryConfig};

use super::MILLI;
use crate::clock::lock;
use crate::config::RetrySpec;
use crate::error::Error;
use crate::filters::Globs;
use crate::names::fnv1a;

/// Whether a method only reads.
pub(super) fn is_read(method: &str) -> bool {
    matches!(method, "resources/read" | "prompts/get")
}

fn is_safe(method: &str) -> bool {
    is_read(method) || method == "completion/complete" || method.ends_with("/list")
}

/// Whether another attempt may end better than with `error`.
fn may_mend(error: &Error) -> bool {
    matches!(
        error,
        Error::ServerStart { .. } | Error::ServerCrashed { .. } | Error::PoolTimeout { .. }
    )
}

/// Whether nothing was sent, so that any request may go on to another instance.
pub(crate) fn may_go_elsewhere(error: &Error) -> bool {
    matches!(error, Error::ServerStart { .. } | Error::CrashLoop { .. })
}

/// Whether a failure may not be the end of its request.
pub(crate) fn may_go_on(error: &Error) -> bool {
    may_mend(error) || may_go_elsewhere(error)
}

/// What is known of one server's tools, and its budget for second attempts.
#[derive(Debug)]
pub(crate) struct Repeating {
    enabled: bool,
    hints: bool,
    globs: Globs,
    /// Tools whose annotations say that they may be called twice.
    hinted: RwLock<HashSet<String>>,
    any_hinted: AtomicBool,
    core: Mutex<Retry>,
}

impl Repeating {
    pub(super) fn new(server: &str, spec: &RetrySpec) -> Self {
        let config = RetryConfig {
            attempts: u64::from(spec.attempts),
            base_ns: spec.base_ms * MILLI,
            cap_ns: spec.cap_ms * MILLI,
            budget_per_mille: u64::from(spec.budget_per_mille),
            budget_burst: u64::from(spec.budget_burst),
        };
        Self {
            enabled: spec.attempts > 1,
            hints: spec.hints,
            globs: Globs::new(&spec.tools),
            hinted: RwLock::default(),
            any_hinted: AtomicBool::new(false),
            core: Mutex::new(Retry::new(config, fnv1a(server.as_bytes()))),
        }
    }

    /// Whether what the list says of a tool matters.
    pub(super) fn listens(&self) -> bool {
        self.enabled && self.hints
    }

    /// What the server's list says of one of its tools.
    pub(super) fn learn(&self, tool: &str, may_repeat: bool) {
        if !may_repeat && !self.any_hinted.load(Relaxed) {
            return;
        }
        let mut hinted = self
            .hinted
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if may_repeat {
            hinted.insert(tool.to_owned());
        } else {
            hinted.remove(tool);
        }
        self.any_hinted.store(!hinted.is_empty(), Relaxed);
    }

    fn is_hinted(&self, tool: &str) -> bool {
        self.any_hinted.load(Relaxed)
            && self
                .hinted
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .contains(tool)
    }

    /// Whether a request may be sent twice; `name` is a tool's own.
    pub(crate) fn allows(&self, method: &str, name: Option<&str>) -> bool {
        if !self.enabled {
            return false;
        }
        if method == "tools/call" {
            return name.is_some_and(|tool| self.is_hinted(tool) || self.globs.any(tool));
        }
        is_safe(method)
    }

    /// A request that may be repeated came in: the budget grows.
    pub(crate) fn asked(&self) {
        lock(&self.core).request();
    }

    /// How long to wait for the attempt after the `made` ones, the last of which failed with `error`. What would begin
    /// after the request's own deadline is not begun.
    pub(crate) fn delay(&self, error: &Error, made: u64, deadline: Instant) -> Option<Duration> {
        if !may_mend(error) {
            return None;
        }
        let mut core = lock(&self.core);
        let delay = Duration::from_nanos(core.next(made)?);
        if Instant::now() + delay < deadline {
            return Some(delay);
        }
        core.forget();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_safe_only_while_its_server_says_so() {
        let spec = RetrySpec {
            tools: vec!["get_*".to_owned()],
            ..RetrySpec::default()
        };
        let repeating = Repeating::new("s", &spec);
        let call = |tool| repeating.allows("tools/call", Some(tool));
        assert!(call("get_row") && !call("put_row"));
        repeating.learn("put_row", true);
        assert!(call("put_row"));
        repeating.learn("put_row", false);
        assert!(!call("put_row"));
        assert!(repeating.allows("resources/read", None));
        assert!(!repeating.allows("logging/setLevel", None));
        let off = Repeating::new(
            "s",
            &RetrySpec {
                attempts: 1,
                ..spec
            },
        );
        assert!(!off.allows("tools/call", Some("get_row")));
    }

    #[test]
    fn a_timeout_is_never_repeated_and_nothing_begins_after_the_deadline() {
        let repeating = Repeating::new("s", &RetrySpec::default());
        let server = || "s".to_owned();
        let message = String::new;
        let crash = Error::ServerCrashed {
            message: message(),
            server: server(),
        };
        let late = Error::ServerTimeout {
            message: message(),
            server: server(),
        };
        let far = Instant::now() + Duration::from_secs(60);
        assert!(repeating.delay(&late, 1, far).is_none());
        assert!(repeating.delay(&crash, 1, Instant::now()).is_none());
        assert!(repeating.delay(&crash, 1, far).is_some());
        assert!(repeating.delay(&crash, 2, far).is_none());
    }
}
