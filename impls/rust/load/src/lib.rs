//! The load generator and the upstream fleet: the ruler's two arms.
//!
//! Rule: the ruler must be several times cheaper than what it measures. Everything here is one thread on `mio`, one read
//! and one write per request, a preformatted request with the distinct parts patched in, and one pass over each answer.
//! What can be decided without I/O ([`http`], [`scan`], [`pacer`], [`answer`], [`record`]) is decided without it, so that
//! it can be tested on bytes and virtual time.

pub mod answer;
pub mod client;
pub mod drive;
pub mod fleet;
pub mod hold;
pub mod http;
pub mod pacer;
pub mod plan;
pub mod record;
pub mod requests;
pub mod rng;
pub mod scan;
pub mod sched;
pub mod socket;
pub mod storm;
pub mod sys;
pub mod template;

/// Where events go (one JSON object per call) and who may interrupt a run.
pub trait Host {
    /// Publishes one event; it must have left the process when this returns.
    fn emit(&mut self, event: &str) -> Result<(), Failure>;
    /// Called when a signal interrupted a wait or may have come between waits; an error ends the run.
    fn interrupted(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// Why a run or a fleet could not go on. The message names the culprit and ends with the next action.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The plan or configuration is broken (exit status 64).
    #[error("{0}")]
    Usage(String),
    /// The server under load could not be reached.
    #[error("{0}")]
    Target(String),
    /// The operating system refused something.
    #[error("{what}: {source}; {next}")]
    Io {
        what: String,
        source: std::io::Error,
        next: &'static str,
    },
    /// The host asked to stop (Ctrl-C, or the reader of our events is gone).
    #[error("interrupted")]
    Interrupted,
}

impl Failure {
    pub fn io(what: impl Into<String>, next: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source, next }
    }
}
