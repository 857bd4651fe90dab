//! The coming back of one child: when it may be started after it ended by itself.
//!
//! The rules: the restart core decides the delay; a call that comes meanwhile waits for it, if that is soon; in a crash
//! loop nobody starts it and its calls are refused at once, until the core's time is over or somebody asks on purpose.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crossfade_core::{Restart, RestartConfig};

use crate::clock::{at_ns, instant_at, lock, now_ns};
use crate::config::{RestartSpec, ServerSpec};
use crate::error::{Error, Result};

const MILLI: u64 = 1_000_000;
/// How long a call waits for a restart that is not due yet.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct State {
    core: Restart,
    not_before: Option<Instant>,
    up_since: Option<Instant>,
    last_pid: u32,
    last_error: Option<Error>,
    restarts: u64,
}

/// The restarts of one instance.
#[derive(Debug)]
pub(crate) struct Supervisor {
    server: String,
    spec: RestartSpec,
    state: Mutex<State>,
}

impl Supervisor {
    pub(crate) fn new(spec: &ServerSpec, seed: u64) -> Self {
        let config = RestartConfig {
            base_ns: spec.restart.base_ms * MILLI,
            cap_ns: spec.restart.cap_ms * MILLI,
            reset_after_ns: spec.restart.reset_after_ms * MILLI,
            max_restarts: spec.restart.max_restarts as usize,
            window_ns: spec.restart.window_ms * MILLI,
        };
        Self {
            server: spec.name.clone(),
            spec: spec.restart.clone(),
            state: Mutex::new(State {
                core: Restart::new(config, seed),
                not_before: None,
                up_since: None,
                last_pid: 0,
                last_error: None,
                restarts: 0,
            }),
        }
    }

    // -- what happened

    /// A child has shaken hands; the pid of the one before, if it is a restart.
    pub(crate) fn up(&self, pid: u32) -> Option<u32> {
        let mut state = lock(&self.state);
        state.up_since = Some(Instant::now());
        state.not_before = None;
        state.last_error = None;
        let last = std::mem::replace(&mut state.last_pid, pid);
        state.restarts += u64::from(last != 0);
        (last != 0).then_some(last)
    }

    /// The child ended by itself, or did not start: the error to tell (a crash loop, if it is one), and when another
    /// may be started.
    pub(crate) fn down(&self, error: Error) -> (Error, Instant) {
        let now = Instant::now();
        let mut state = lock(&self.state);
        let since = state.up_since.take();
        if !self.spec.enabled {
            state.last_error = Some(error.clone());
            return (error, now);
        }
        let uptime = since.map_or(0, |since| {
            u64::try_from(now.saturating_duration_since(since).as_nanos()).unwrap_or(u64::MAX)
        });
        let delay = state.core.exited(at_ns(now), uptime);
        let (error, due) = if let Some(delay_ns) = delay {
            (error, now + Duration::from_nanos(delay_ns))
        } else {
            let due = instant_at(state.core.down_until_ns());
            let error = self.crash_loop(&error, due.saturating_duration_since(now));
            (error, due)
        };
        state.not_before = Some(due);
        state.last_error = Some(error.clone());
        (error, due)
    }

    /// Somebody wants it started now.
    pub(crate) fn forgive(&self) {
        let mut state = lock(&self.state);
        state.core.reset();
        state.not_before = None;
    }

    // -- what is so

    /// It ended by itself, or did not start, and is not back.
    pub(crate) fn is_down(&self) -> bool {
        lock(&self.state).last_error.is_some()
    }

    /// Whether it may come back without a call: it was there once, and restarts are wanted.
    pub(crate) fn comes_back(&self) -> bool {
        self.spec.enabled && lock(&self.state).last_pid != 0
    }

    pub(crate) fn restarts(&self) -> u64 {
        lock(&self.state).restarts
    }

    /// Waits for the end of the delay if that is soon; fails if it is not.
    pub(crate) async fn may_start(&self, deadline: Instant) -> Result<()> {
        let now = Instant::now();
        let (due, error) = {
            let state = lock(&self.state);
            let Some(due) = state.not_before.filter(|due| *due > now) else {
                return Ok(());
            };
            let looping = state.core.down_until_ns() > now_ns();
            let soon = due <= now + PATIENCE && due <= deadline && !looping;
            (due, if soon { None } else { state.last_error.clone() })
        };
        match error {
            None => {
                tokio::time::sleep_until(due.into()).await;
                Ok(())
            }
            Some(error @ Error::CrashLoop { .. }) => Err(error),
            Some(error) => Err(Error::ServerStart {
                message: format!(
                    "{error} (next start in {} ms)",
                    due.saturating_duration_since(now).as_millis()
                ),
                server: self.server.clone(),
            }),
        }
    }

    fn crash_loop(&self, last: &Error, down: Duration) -> Error {
        let (server, spec) = (&self.server, &self.spec);
        Error::CrashLoop {
            message: format!(
                "server '{server}' ended more than {} times within {} ms and stays down for {} ms (last: {last}); fix the server, then update it or call health('{server}')",
                spec.max_restarts,
                spec.window_ms,
                down.as_millis()
            ),
            server: server.clone(),
        }
    }
}
