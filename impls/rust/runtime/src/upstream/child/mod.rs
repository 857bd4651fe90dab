//! A child process that speaks newline-delimited JSON-RPC, and everything that must not go wrong with one.
//!
//! The rule: every error names the server and its pid and ends with what to do next. Starting and ending is in
//! `process`, the pipes are in `pump`, stderr in `voice`, requests in flight in `calls`, coming back in `supervisor`.

mod calls;
mod listening;
mod process;
mod pump;
mod supervisor;
mod voice;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use super::Shed;
use super::slots::Slots;
use super::stdio::StdioLink;
use super::{Server, Shared};
use crate::clock::lock;
use crate::config::ServerSpec;
use crate::error::{Error, Result};
use crate::gateway::voice::Voice as Caller;
use calls::Pending;
use process::Group;
pub use process::kill_children;
use pump::Outbox;
pub(crate) use supervisor::Supervisor;
use voice::Voice;

#[derive(Debug)]
pub(crate) struct Child {
    server: String,
    pid: u32,
    outbox: Mutex<Outbox>,
    written: Notify,
    pending: Mutex<HashMap<u64, Pending>>,
    /// Subscriptions that are not acknowledged yet.
    subscribing: Mutex<HashMap<u64, oneshot::Sender<Bytes>>>,
    next_id: AtomicU64,
    slots: Slots,
    shed: Arc<Shed>,
    acquire_timeout: Duration,
    voice: Mutex<Voice>,
    dead: AtomicBool,
    answered: AtomicBool,
    stop: Notify,
    gone: Notify,
    max_message: usize,
    owner: Weak<Server>,
    /// Who wants to know that it ended by itself.
    link: Weak<StdioLink>,
    /// One client has it for itself.
    own_client: AtomicBool,
    /// Who hears the log messages of a child that several share.
    logged: Mutex<Weak<Caller>>,
    own: Weak<Self>,
}

impl Child {
    pub(crate) fn spawn(
        spec: &ServerSpec,
        shared: &Arc<Shared>,
        owner: Weak<Server>,
        link: Weak<StdioLink>,
    ) -> Result<Arc<Self>> {
        let _context = shared.handle.enter();
        let mut process = process::command(spec)
            .spawn()
            .map_err(|error| process::start_error(spec, &error))?;
        let pid = process.id().unwrap_or(0);
        let group = Group::new(pid);
        let (Some(stdin), Some(stdout), Some(stderr)) = (
            process.stdin.take(),
            process.stdout.take(),
            process.stderr.take(),
        ) else {
            return Err(Error::internal("a child without pipes; report this"));
        };
        let child = Arc::new_cyclic(|own| Self {
            server: spec.name.clone(),
            pid,
            outbox: Mutex::default(),
            written: Notify::new(),
            pending: Mutex::default(),
            subscribing: Mutex::default(),
            next_id: AtomicU64::new(1),
            slots: Slots::new(&spec.pool),
            shed: Arc::clone(&shared.shed),
            acquire_timeout: Duration::from_millis(spec.pool.acquire_timeout_ms),
            voice: Mutex::new(Voice::new(&spec.name, shared)),
            dead: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            stop: Notify::new(),
            gone: Notify::new(),
            max_message: spec.max_message_bytes,
            owner,
            link,
            own_client: AtomicBool::new(false),
            logged: Mutex::default(),
            own: Weak::clone(own),
        });
        shared.handle.spawn(Arc::clone(&child).write_loop(stdin));
        let drained = shared.handle.spawn(Arc::clone(&child).drain_stderr(stderr));
        shared
            .handle
            .spawn(Arc::clone(&child).supervise(process, group, stdout, drained));
        Ok(child)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Relaxed)
    }

    /// All of it is for one client from now on.
    pub(crate) fn belongs_to_one(&self) {
        self.own_client.store(true, Relaxed);
    }

    /// Whether all of it is for one client: then it is known whom the server means.
    fn is_own(&self) -> bool {
        self.own_client.load(Relaxed)
    }

    fn crashed(&self, how: &str) -> Error {
        let said = match lock(&self.voice).said() {
            None => "it wrote nothing to stderr".to_owned(),
            Some(words) => format!("its last words: {words}"),
        };
        Error::ServerCrashed {
            message: format!(
                "server '{}' (pid {}) {how}; {said}; check its command and environment, then call again",
                self.server, self.pid
            ),
            server: self.server.clone(),
        }
    }

    fn violation(&self, what: &str) -> Error {
        Error::ProtocolViolation {
            message: format!(
                "server '{}' (pid {}) {what}; check that it prints only MCP messages, or raise maxMessageBytes",
                self.server, self.pid
            ),
            server: self.server.clone(),
        }
    }
}
