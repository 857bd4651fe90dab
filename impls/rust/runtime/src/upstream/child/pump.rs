//! The three pipes of a child: lines queued for stdin, lines read from stdout, bytes from stderr.
//!
//! The rule: stderr is always drained; a line longer than the limit ends the child, not the memory; writes are batched.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

use super::Child;
use crate::clock::lock;
use crate::error::Error;

/// Lines on stdout that are no JSON and come before the handshake is over are banners, up to this many.
const BANNER_LINES: u32 = 100;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    closed: bool,
}

impl Child {
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

    /// Takes no more lines; stdin is closed after what is queued.
    pub(super) fn hang_up(&self) {
        {
            let mut outbox = lock(&self.outbox);
            outbox.closed = true;
        }
        self.written.notify_one();
    }

    pub(super) async fn write_loop(self: Arc<Self>, mut stdin: ChildStdin) {
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

    pub(super) async fn drain_stderr(self: Arc<Self>, mut stderr: ChildStderr) {
        let mut chunk = vec![0; 4096];
        while let Ok(read) = stderr.read(&mut chunk).await {
            if read == 0 {
                break;
            }
            lock(&self.voice).received(&chunk[..read]);
        }
        lock(&self.voice).ended();
    }

    /// Reads lines until the end (`None`) or a violation.
    pub(super) async fn read_loop(&self, mut stdout: ChildStdout) -> Option<Error> {
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
}
