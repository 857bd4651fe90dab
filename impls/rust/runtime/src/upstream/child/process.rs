//! The process itself: how it is started, and how it ends.
//!
//! The rule: it leads its own process group, which is killed as a group on every way out, and it dies with its parent.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::process::{ChildStdout, Command};

use super::Child;
use crate::clock::lock;
use crate::config::ServerSpec;
use crate::error::Error;

/// How long a child may take to leave after its stdin closed, and again after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(2);

/// The groups that live.
static GROUPS: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Kills every child of every manager with all that they started: the process is about to end.
pub fn kill_children() {
    for pid in lock(&GROUPS).iter() {
        signal(*pid, libc::SIGKILL);
    }
}

fn signal(pid: u32, signal: i32) {
    if let Ok(pid) = i32::try_from(pid) {
        // SAFETY: kill(2) takes no pointers; the group id is the pid of a child that we started as its leader.
        unsafe { libc::kill(-pid, signal) };
    }
}

/// Kills the whole group when dropped: whatever the child started dies with it.
#[derive(Debug)]
pub(super) struct Group(u32);

impl Group {
    pub(super) fn new(pid: u32) -> Self {
        lock(&GROUPS).insert(pid);
        Self(pid)
    }

    fn signal(&self, number: i32) {
        signal(self.0, number);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        lock(&GROUPS).remove(&self.0);
        self.signal(libc::SIGKILL);
    }
}

/// The command of the spec, with piped ends, not started yet.
pub(super) fn command(spec: &ServerSpec) -> Command {
    let mut command = Command::new(spec.command.as_deref().unwrap_or_default());
    command
        .args(&spec.args)
        .envs(&spec.env)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(cwd) = &spec.cwd {
        command.current_dir(cwd);
    }
    let parent = std::process::id();
    // SAFETY: prctl, getppid and _exit are async-signal-safe and touch no memory of the parent.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            if libc::getppid().cast_unsigned() != parent {
                libc::_exit(1);
            }
            Ok(())
        });
    }
    command
}

pub(super) fn start_error(spec: &ServerSpec, error: &std::io::Error) -> Error {
    let program = spec.command.as_deref().unwrap_or_default();
    let missing_cwd = spec
        .cwd
        .as_deref()
        .filter(|cwd| !std::path::Path::new(cwd).is_dir());
    let message = match (missing_cwd, error.kind()) {
        (Some(cwd), _) => format!(
            "server '{}': its working directory '{cwd}' does not exist; create it, or change cwd",
            spec.name
        ),
        (None, std::io::ErrorKind::NotFound) => format!(
            "server '{}': the command '{program}' does not exist; install it, or check command and PATH",
            spec.name
        ),
        _ => format!(
            "server '{}': the command '{program}' cannot be started ({error}); check command and its rights",
            spec.name
        ),
    };
    Error::ServerStart {
        message,
        server: spec.name.clone(),
    }
}

impl Child {
    /// Ends it without waiting: close stdin, SIGTERM, SIGKILL.
    pub(crate) fn kill(&self) {
        self.stop.notify_one();
    }

    /// Ends it and waits until it is reaped.
    pub(crate) async fn shutdown(&self) {
        let gone = self.gone.notified();
        self.kill();
        if !self.is_dead() {
            let _ = tokio::time::timeout(PATIENCE * 3, gone).await;
        }
    }

    pub(super) async fn supervise(
        self: Arc<Self>,
        mut process: tokio::process::Child,
        group: Group,
        stdout: ChildStdout,
        drained: tokio::task::JoinHandle<()>,
    ) {
        let (ending, asked) = tokio::select! {
            ending = self.read_loop(stdout) => (ending, false),
            () = self.stop.notified() => (None, true),
        };
        self.hang_up();
        if ending.is_some() {
            group.signal(libc::SIGTERM);
        }
        let mut status = tokio::time::timeout(PATIENCE, process.wait()).await;
        if status.is_err() {
            group.signal(libc::SIGTERM);
            status = tokio::time::timeout(PATIENCE, process.wait()).await;
        }
        group.signal(libc::SIGKILL);
        if status.is_err() {
            status = tokio::time::timeout(PATIENCE, process.wait()).await;
        }
        drop(group);
        // The pipe may be held open by a stray grandchild, so do not wait for its end forever.
        let _ = tokio::time::timeout(Duration::from_millis(100), drained).await;
        let error = ending.unwrap_or_else(|| match status {
            Ok(Ok(status)) => self.crashed(&format!("ended ({status})")),
            _ => self.crashed("ended"),
        });
        {
            let _pending = lock(&self.pending);
            self.dead.store(true, Relaxed);
        }
        self.slots.close();
        self.fail_all(&error);
        lock(&self.voice).ended();
        if !asked && let Some(link) = self.link.upgrade() {
            link.ended(&self, error);
        }
        self.gone.notify_waiters();
        self.gone.notify_one();
    }
}
