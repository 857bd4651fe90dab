//! A child process that speaks newline-delimited JSON-RPC, and everything that must not go wrong with one.
//!
//! The rules: its own process group, killed as a group on every way out; stderr always drained; a line longer than the
//! limit ends the child, not the memory; ids are mapped, so callers may use the same ones; writes are batched.

use std::collections::{HashMap, VecDeque};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use crossfade_core::RejectReason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{Notify, oneshot};

use super::message::request_body;
use super::slots::{Slot, Slots};
use super::{Outgoing, Server, Shared, discovery};
use crate::clock::lock;
use crate::config::ServerSpec;
use crate::envelope::{self, Envelope};
use crate::error::{Error, RemoteFault, Result};

type Reply = Result<Result<Bytes, RemoteFault>>;

const STDERR_LINES: usize = 20;
const STDERR_LINE: usize = 400;
/// How long a child may take to leave after its stdin closed, and again after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(2);
/// Lines on stdout that are no JSON and come before the handshake is over are banners, up to this many.
const BANNER_LINES: u32 = 100;

#[derive(Debug, Default)]
struct Outbox {
    bytes: Vec<u8>,
    closed: bool,
}

#[derive(Debug)]
pub(crate) struct Child {
    server: String,
    pid: u32,
    outbox: Mutex<Outbox>,
    written: Notify,
    pending: Mutex<HashMap<u64, oneshot::Sender<Reply>>>,
    next_id: AtomicU64,
    slots: Slots,
    acquire_timeout: Duration,
    stderr: Mutex<VecDeque<String>>,
    dead: AtomicBool,
    answered: AtomicBool,
    stop: Notify,
    gone: Notify,
    max_message: usize,
    owner: Weak<Server>,
}

/// Kills the whole group when dropped: whatever the child started dies with it.
#[derive(Debug)]
struct Group(u32);

impl Group {
    fn signal(&self, signal: i32) {
        if let Ok(pid) = i32::try_from(self.0) {
            // SAFETY: kill(2) takes no pointers; the group id is the pid of a child that we started as its leader.
            unsafe { libc::kill(-pid, signal) };
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(libc::SIGKILL);
    }
}

impl Child {
    pub(crate) fn spawn(
        spec: &ServerSpec,
        shared: &Arc<Shared>,
        owner: Weak<Server>,
    ) -> Result<Arc<Self>> {
        let program = spec.command.as_deref().unwrap_or_default();
        let mut command = Command::new(program);
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
        let _context = shared.handle.enter();
        let mut process = command
            .spawn()
            .map_err(|error| start_error(spec, program, &error))?;
        let pid = process.id().unwrap_or(0);
        let group = Group(pid);
        let (Some(stdin), Some(stdout), Some(stderr)) = (
            process.stdin.take(),
            process.stdout.take(),
            process.stderr.take(),
        ) else {
            return Err(Error::internal("a child without pipes; report this"));
        };
        let child = Arc::new(Self {
            server: spec.name.clone(),
            pid,
            outbox: Mutex::default(),
            written: Notify::new(),
            pending: Mutex::default(),
            next_id: AtomicU64::new(1),
            slots: Slots::new(&spec.pool),
            acquire_timeout: Duration::from_millis(spec.pool.acquire_timeout_ms),
            stderr: Mutex::default(),
            dead: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            stop: Notify::new(),
            gone: Notify::new(),
            max_message: spec.max_message_bytes,
            owner,
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

    // -- talking

    /// Queues one line (without its end).
    pub(crate) fn send_line(&self, line: &[u8]) {
        {
            let mut outbox = lock(&self.outbox);
            if outbox.closed {
                return;
            }
            let start = outbox.bytes.len();
            outbox.bytes.extend_from_slice(line);
            // White space between tokens may hold line ends, which would end the message.
            if memchr::memchr2(b'\n', b'\r', line).is_some() {
                for byte in &mut outbox.bytes[start..] {
                    if matches!(*byte, b'\n' | b'\r') {
                        *byte = b' ';
                    }
                }
            }
            outbox.bytes.push(b'\n');
        }
        self.written.notify_one();
    }

    fn ask(&self, method: &str, params: &[u8]) -> Result<(u64, oneshot::Receiver<Reply>)> {
        let id = self.next_id.fetch_add(1, Relaxed);
        let (sender, receiver) = oneshot::channel();
        {
            // `dead` is set under this lock before the map is emptied, so nothing is left behind.
            let mut pending = lock(&self.pending);
            if self.is_dead() {
                drop(pending);
                return Err(self.crashed("is not running"));
            }
            pending.insert(id, sender);
        }
        self.send_line(&request_body(id, method, params));
        Ok((id, receiver))
    }

    /// A request of the handshake: no slot, no cancellation.
    pub(crate) async fn request(&self, method: &str, params: &[u8]) -> Reply {
        let (_, receiver) = self.ask(method, params)?;
        receiver
            .await
            .unwrap_or_else(|_| Err(self.crashed("ended")))
    }

    /// One call. Giving up (timeout, dropped future) frees the slot and, if the caller wants, tells the child.
    pub(crate) async fn call(&self, outgoing: Outgoing<'_>, params: &[u8]) -> Result<Bytes> {
        let _slot = self.slot(outgoing.deadline).await?;
        let (id, receiver) = self.ask(outgoing.method, params)?;
        let mut flight = Flight {
            child: self,
            id,
            cancels: outgoing.caller.cancels,
            over: false,
        };
        let Ok(reply) = tokio::time::timeout_at(outgoing.deadline.into(), receiver).await else {
            flight.cancels = None;
            return Err(Error::ServerTimeout {
                message: format!(
                    "server '{}' (pid {}) did not answer {} in time; check the server, or raise timeoutMs",
                    self.server, self.pid, outgoing.method
                ),
                server: self.server.clone(),
            });
        };
        flight.over = true;
        reply
            .unwrap_or_else(|_| Err(self.crashed("ended")))?
            .map_err(|fault| Error::Remote {
                fault: Box::new(fault),
                server: self.server.clone(),
            })
    }

    async fn slot(&self, deadline: Instant) -> Result<Slot<'_>> {
        let until = deadline.min(Instant::now() + self.acquire_timeout);
        self.slots.acquire(until).await.map_err(|reason| match reason {
            RejectReason::Draining => self.crashed("ended while callers waited for it"),
            _ => Error::PoolTimeout {
                message: format!(
                    "server '{}': all places of its pipe are taken ({} callers wait); slow down, or raise pool.stdioStreams",
                    self.server,
                    self.slots.waiting()
                ),
                server: self.server.clone(),
            },
        })
    }

    fn fail_all(&self, error: &Error) {
        let waiting: Vec<_> = {
            let mut pending = lock(&self.pending);
            pending.drain().collect()
        };
        for (_, sender) in waiting {
            let _ = sender.send(Err(error.clone()));
        }
    }

    fn crashed(&self, how: &str) -> Error {
        let tail: Vec<String> = lock(&self.stderr)
            .iter()
            .rev()
            .take(3)
            .rev()
            .cloned()
            .collect();
        let said = if tail.is_empty() {
            "it wrote nothing to stderr".to_owned()
        } else {
            format!("its last words: {}", tail.join(" | "))
        };
        Error::ServerCrashed {
            message: format!(
                "server '{}' (pid {}) {how}; {said}; check its command and environment, then call again",
                self.server, self.pid
            ),
            server: self.server.clone(),
        }
    }

    // -- tasks

    async fn write_loop(self: Arc<Self>, mut stdin: ChildStdin) {
        let mut batch = Vec::new();
        loop {
            let woken = self.written.notified();
            let closed = {
                let mut outbox = lock(&self.outbox);
                std::mem::swap(&mut outbox.bytes, &mut batch);
                outbox.closed
            };
            if !batch.is_empty() {
                if stdin.write_all(&batch).await.is_err() {
                    return; // the reader sees the end
                }
                batch.clear();
                batch.shrink_to(64 * 1024);
                continue;
            }
            if closed {
                return;
            }
            woken.await;
        }
    }

    async fn drain_stderr(self: Arc<Self>, mut stderr: ChildStderr) {
        let mut chunk = vec![0; 4096];
        let mut line = Vec::new();
        while let Ok(read) = stderr.read(&mut chunk).await {
            if read == 0 {
                break;
            }
            for &byte in &chunk[..read] {
                if byte == b'\n' {
                    self.keep_stderr(&mut line);
                } else if line.len() < STDERR_LINE {
                    line.push(byte);
                }
            }
        }
        self.keep_stderr(&mut line);
    }

    fn keep_stderr(&self, line: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(line).trim().to_owned();
        line.clear();
        if text.is_empty() {
            return;
        }
        let mut kept = lock(&self.stderr);
        if kept.len() == STDERR_LINES {
            kept.pop_front();
        }
        kept.push_back(text);
    }

    async fn supervise(
        self: Arc<Self>,
        mut process: tokio::process::Child,
        group: Group,
        stdout: ChildStdout,
        drained: tokio::task::JoinHandle<()>,
    ) {
        let ending = tokio::select! {
            ending = self.read_loop(stdout) => ending,
            () = self.stop.notified() => None,
        };
        {
            let mut outbox = lock(&self.outbox);
            outbox.closed = true;
        }
        self.written.notify_one();
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
        self.gone.notify_waiters();
        self.gone.notify_one();
    }

    /// Reads lines until the end (`None`) or a violation.
    async fn read_loop(&self, mut stdout: ChildStdout) -> Option<Error> {
        let mut buffer = BytesMut::with_capacity(16 * 1024);
        let mut searched = 0;
        let mut banners = 0;
        loop {
            buffer.reserve(8 * 1024);
            match stdout.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
            while let Some(end) = memchr::memchr(b'\n', &buffer[searched..]) {
                let line = buffer.split_to(searched + end + 1).freeze();
                searched = 0;
                if !self.take_line(&line.slice(..line.len() - 1)) {
                    banners += 1;
                    if self.answered.load(Relaxed) || banners > BANNER_LINES {
                        self.fail_all(&self.violation(&format!(
                            "wrote what is no JSON-RPC message to stdout: {:?}",
                            String::from_utf8_lossy(&line[..line.len().min(80)])
                        )));
                    }
                }
            }
            searched = buffer.len();
            if buffer.len() > self.max_message {
                let error = self.violation(&format!(
                    "sent a line of more than {} bytes and was stopped",
                    self.max_message
                ));
                self.fail_all(&error);
                return Some(error);
            }
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

    /// False if the line is no message.
    fn take_line(&self, line: &Bytes) -> bool {
        if line.trim_ascii().is_empty() {
            return true;
        }
        let Ok(found) = envelope::scan(line) else {
            return false;
        };
        if !found.complete {
            return false;
        }
        if found.method.is_some() {
            self.take_request(line, &found);
            return true;
        }
        let reply = match (found.result, found.error) {
            (Some(result), None) => Ok(line.slice(result.start..result.end)),
            (None, Some(error)) => Err(discovery::fault(line.slice(error.start..error.end))),
            _ => return false,
        };
        let id = found
            .id
            .and_then(|span| std::str::from_utf8(span.of(line)).ok()?.parse::<u64>().ok());
        if let Some(id) = id {
            self.answered.store(true, Relaxed);
            let sender = lock(&self.pending).remove(&id);
            if let Some(sender) = sender {
                // A receiver that is gone gave up meanwhile.
                let _ = sender.send(Ok(reply));
            }
        }
        true
    }

    /// What the server asks or tells. Nobody behind this hop can answer a question yet, so it is refused at once.
    fn take_request(&self, line: &[u8], found: &Envelope) {
        let method = found
            .method
            .and_then(|span| envelope::text(span.of(line)))
            .unwrap_or_default();
        let Some(id) = found.id else {
            if method.ends_with("/list_changed")
                && let Some(server) = self.owner.upgrade()
            {
                server.list_changed(&method);
            }
            return;
        };
        let mut reply = b"{\"jsonrpc\":\"2.0\",\"id\":".to_vec();
        reply.extend_from_slice(id.of(line));
        if method == "ping" {
            reply.extend_from_slice(b",\"result\":{}}");
        } else {
            reply.extend_from_slice(
                b",\"error\":{\"code\":-32601,\"message\":\"crossfade does not forward requests of servers to clients\"}}",
            );
        }
        self.send_line(&reply);
    }
}

/// A request in flight: forgotten on every way out, and cancelled if it was not answered.
struct Flight<'a> {
    child: &'a Child,
    id: u64,
    cancels: Option<&'a AtomicBool>,
    over: bool,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        lock(&self.child.pending).remove(&self.id);
        if self.cancels.is_none_or(|asked| asked.load(Relaxed)) {
            self.child.send_line(
                format!(
                    "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{},\"reason\":\"the caller gave up\"}}}}",
                    self.id
                )
                .as_bytes(),
            );
        }
    }
}

fn start_error(spec: &ServerSpec, program: &str, error: &std::io::Error) -> Error {
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
