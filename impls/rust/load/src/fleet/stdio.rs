//! The fleet over stdio: newline-delimited JSON-RPC, one blocking read and one write per batch.
//!
//! Rule: without delays the loop never looks at a clock. Delayed answers leave in the order they fall due, and a cancelled
//! one never leaves (2026-07-28, basic/utilities/cancellation). End of input ends the server, unsent answers with it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;

use memchr::{memchr, memrchr};

use super::Config;
use super::rpc::{Hints, Server};
use super::sessions::Pipe;
use crate::sys::now_ns;
use crate::{Failure, sched};

mod noise;

const READ_BUFFER: usize = 256 * 1024;

type Delayed = (Reverse<u64>, u64, Vec<u8>);

/// The part without I/O: bytes in, answers out.
#[derive(Debug)]
pub struct Lines {
    server: Server,
    partial: Vec<u8>,
    answer: Vec<u8>,
    delayed: BinaryHeap<Delayed>,
    counter: u64,
}

impl Lines {
    pub fn new(config: &Config) -> Self {
        Self {
            server: Server::new(config),
            partial: Vec::new(),
            answer: Vec::new(),
            delayed: BinaryHeap::new(),
            counter: 0,
        }
    }

    /// Takes bytes as they were read; appends the answers that are due at once. False: the server "crashed" (a reset).
    pub fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> bool {
        while let Some(end) = memchr(b'\n', bytes) {
            let going = if self.partial.is_empty() {
                self.line(&bytes[..end], out)
            } else {
                let mut line = std::mem::take(&mut self.partial);
                line.extend_from_slice(&bytes[..end]);
                self.line(&line, out)
            };
            if !going {
                return false;
            }
            bytes = &bytes[end + 1..];
        }
        self.partial.extend_from_slice(bytes);
        true
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) -> bool {
        if line.trim_ascii().is_empty() {
            return true;
        }
        let verdict = self
            .server
            .answer(line, Hints::default(), &mut Pipe, &mut self.answer);
        if let Some(id) = self.server.cancelled.take() {
            let prefix = [br#"{"jsonrpc":"2.0","id":"#, id.as_slice(), b","].concat();
            // Before the answer there may be lines of progress.
            let answered = |lines: &[u8]| {
                let lines = lines.trim_ascii_end();
                lines[memrchr(b'\n', lines).map_or(0, |at| at + 1)..].starts_with(&prefix)
            };
            self.delayed.retain(|(_, _, lines)| !answered(lines));
        }
        if verdict.reset {
            return false;
        }
        if verdict.garbage {
            self.answer = b"this is no JSON".to_vec();
        }
        if self.answer.is_empty() {
            return true;
        }
        self.answer.push(b'\n');
        if verdict.delay_ns > 0 {
            self.counter += 1;
            self.delayed.push((
                Reverse(now_ns() + verdict.delay_ns),
                u64::MAX - self.counter,
                self.answer.clone(),
            ));
        } else {
            out.extend_from_slice(&self.answer);
        }
        true
    }

    pub fn next_due_ns(&self) -> Option<u64> {
        self.delayed.peek().map(|(Reverse(due), ..)| *due)
    }

    pub fn due(&mut self, now: u64, out: &mut Vec<u8>) {
        while self.next_due_ns().is_some_and(|due| due <= now) {
            if let Some((_, _, answer)) = self.delayed.pop() {
                out.extend_from_slice(&answer);
            }
        }
    }
}

/// Serves standard input until it ends.
pub fn serve(config: &[u8]) -> Result<(), Failure> {
    let config = Config::parse(config)?;
    if let Some(cpu) = config.cpu {
        sched::pin(cpu)?;
    }
    // Unbuffered: `Stdin` and `Stdout` would copy every byte once more and split batches at lines.
    let mut input = unbuffered(io::stdin().as_raw_fd())?;
    let mut output = unbuffered(io::stdout().as_raw_fd())?;
    let noise = noise::start(config.stderr_bytes_per_s);
    let mut lines = Lines::new(&config);
    let mut buffer = vec![0; READ_BUFFER];
    let mut out = Vec::new();
    loop {
        let readable = lines.next_due_ns().is_none_or(wait_readable);
        out.clear();
        if readable {
            let count = match input.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(Failure::io("cannot read standard input", "check the pipe")(
                        error,
                    ));
                }
            };
            if !lines.feed(&buffer[..count], &mut out) {
                return Ok(());
            }
        }
        if lines.next_due_ns().is_some() {
            lines.due(now_ns(), &mut out);
        }
        if let Some(noise) = &noise {
            noise::wait_for(noise);
        }
        if !out.is_empty() && output.write_all(&out).is_err() {
            return Ok(()); // the client is gone; there is nobody left to tell
        }
    }
}

fn unbuffered(fd: i32) -> Result<std::fs::File, Failure> {
    use std::os::fd::{BorrowedFd, OwnedFd};
    // SAFETY: standard input and output stay open for the life of the process; the file owns a duplicate.
    let owned: io::Result<OwnedFd> = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned();
    owned.map(std::fs::File::from).map_err(Failure::io(
        "cannot open a standard stream",
        "check the pipes",
    ))
}

/// Waits for input until `due_ns`; false when the time came first.
fn wait_readable(due_ns: u64) -> bool {
    let left = due_ns.saturating_sub(now_ns()).div_ceil(1_000_000);
    let mut descriptor = libc::pollfd {
        fd: 0,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one valid pollfd, and the count says so.
    unsafe {
        libc::poll(
            &raw mut descriptor,
            1,
            i32::try_from(left).unwrap_or(i32::MAX),
        ) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: &str, tool: &str, text: &str) -> String {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{{"text":"{text}","ms":60000}}}}}}"#
        )
    }

    #[test]
    fn answers_are_the_same_whole_and_byte_by_byte() {
        let text = format!(
            "{}\n\n{}\nnot json\n",
            call("1", "echo", "a\\n\\u00e9"),
            call("\"x\"", "fail", "b")
        );
        let (mut whole, mut pieces) = (Vec::new(), Vec::new());
        assert!(Lines::new(&Config::default()).feed(text.as_bytes(), &mut whole));
        let mut lines = Lines::new(&Config::default());
        for byte in text.as_bytes().chunks(1) {
            assert!(lines.feed(byte, &mut pieces));
        }
        assert_eq!(whole, pieces);
        let answers: Vec<serde_json::Value> = whole
            .split(|b| *b == b'\n')
            .filter(|l| !l.is_empty())
            .map(|l| serde_json::from_slice(l).unwrap())
            .collect();
        assert_eq!(answers[0]["result"]["content"][0]["text"], "a\n\u{e9}");
        assert_eq!(answers[0]["result"]["resultType"], "complete");
        assert_eq!(
            (&answers[1]["id"], &answers[1]["result"]["isError"]),
            (&"x".into(), &true.into())
        );
        assert_eq!(answers[2]["error"]["code"], -32700);
    }

    #[test]
    fn a_cancelled_call_is_never_answered() {
        let mut lines = Lines::new(&Config::default());
        let mut out = Vec::new();
        let cancel =
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#;
        let text = format!(
            "{}\n{}\n{cancel}\n",
            call("7", "sleep", "a"),
            call("77", "sleep", "b")
        );
        assert!(lines.feed(text.as_bytes(), &mut out));
        lines.due(u64::MAX, &mut out);
        let answer: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(answer["id"], 77);
    }
}
