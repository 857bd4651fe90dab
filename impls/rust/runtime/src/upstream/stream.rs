//! A stream of events from an HTTP server that is no answer to a call: opened by GET, or by `subscriptions/listen`.
//!
//! The rule: it has a connection of its own, outside the pool, so that listening never takes a call's place; a peer that
//! vanished without a word is found out by TCP keep-alive. Every await may be dropped and nothing read is lost.

use std::collections::VecDeque;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::http::{Head, HttpLink};
use crate::error::{Error, Result};
use crate::wire::head::Content;
use crate::wire::sse::Events;
use crate::wire::{Body, io};

/// Events that were read and not taken yet, at most; then nothing more is read.
const AHEAD: usize = 64;

/// What a GET says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Get<'a> {
    pub(crate) version: Option<&'a str>,
    pub(crate) session: Option<&'a str>,
    /// Behind which event a stream is to go on.
    pub(crate) after: Option<&'a [u8]>,
}

/// One event.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Received {
    /// Empty for `message`.
    pub(crate) kind: Vec<u8>,
    pub(crate) data: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub(crate) enum Opened {
    Stream(Box<EventStream>),
    /// Anything but a stream.
    Else {
        status: u16,
        body: Vec<u8>,
    },
}

#[derive(Debug)]
pub(crate) struct EventStream {
    link: Arc<HttpLink>,
    stream: TcpStream,
    buffer: Vec<u8>,
    body: Body,
    pub(crate) events: Events,
    ready: VecDeque<Received>,
    over: bool,
}

impl HttpLink {
    /// Opens a stream by GET.
    pub(crate) async fn get_stream(
        self: &Arc<Self>,
        get: &Get<'_>,
        deadline: Instant,
    ) -> Result<Opened> {
        let mut request = Vec::with_capacity(self.fixed.len() + 256);
        self.write_get_head(&mut request, get);
        self.open_stream(&request, Events::new(self.max_message), deadline)
            .await
    }

    /// Opens a stream by POST.
    pub(crate) async fn post_stream(
        self: &Arc<Self>,
        head: &Head<'_>,
        body: &[u8],
        deadline: Instant,
    ) -> Result<Opened> {
        let mut request = Vec::with_capacity(self.fixed.len() + 256 + body.len());
        self.write_head(&mut request, head, body.len());
        request.extend_from_slice(body);
        self.open_stream(&request, Events::new(self.max_message), deadline)
            .await
    }

    async fn open_stream(
        self: &Arc<Self>,
        request: &[u8],
        events: Events,
        deadline: Instant,
    ) -> Result<Opened> {
        let work = async {
            let mut stream = self.pool.dial().await?;
            keep_alive(&stream);
            io::write(&mut stream, request).await?;
            Ok(stream)
        };
        let opening = async {
            let stream = work
                .await
                .map_err(|why: std::io::Error| self.unreachable(&why))?;
            self.opened(stream, events).await
        };
        tokio::time::timeout_at(deadline.into(), opening)
            .await
            .unwrap_or_else(|_| Err(self.timeout("a stream of events")))
    }

    async fn opened(self: &Arc<Self>, mut stream: TcpStream, events: Events) -> Result<Opened> {
        let mut buffer = Vec::new();
        let head = loop {
            match io::fill(&mut stream, &mut buffer).await {
                Ok(0) => return Err(self.crashed(&std::io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(why) => return Err(self.crashed(&why)),
            }
            if let Some(head) = self.final_head(&mut buffer)? {
                break head;
            }
        };
        buffer.drain(..head.len);
        let mut opened = EventStream {
            link: Arc::clone(self),
            stream,
            buffer,
            body: head.body,
            events,
            ready: VecDeque::new(),
            over: false,
        };
        if head.status == 200 && head.content == Content::Events {
            return Ok(Opened::Stream(Box::new(opened)));
        }
        let body = opened.rest().await?;
        Ok(Opened::Else {
            status: head.status,
            body,
        })
    }

    fn unreachable(&self, why: &std::io::Error) -> Error {
        Error::ServerStart {
            message: format!(
                "server '{}' cannot be reached at {} ({why}); check that it runs and that the url is right",
                self.name(),
                self.url()
            ),
            server: self.name().to_owned(),
        }
    }
}

impl EventStream {
    /// The next event; `None` at the end of the stream, however it came.
    pub(crate) async fn next(&mut self) -> Result<Option<Received>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            self.take()?;
            if !self.ready.is_empty() {
                continue;
            }
            if self.over || self.body.is_done() {
                return Ok(None);
            }
            // What was cut off ends like what was ended: the same is to be done about it.
            self.over = matches!(
                io::fill(&mut self.stream, &mut self.buffer).await,
                Ok(0) | Err(_)
            );
        }
    }

    fn take(&mut self) -> Result<()> {
        let (events, ready) = (&mut self.events, &mut self.ready);
        while !self.buffer.is_empty() && ready.len() < AHEAD && !self.body.is_done() {
            let piece = self.buffer.len().min(4096);
            let mut fed = Ok(());
            let used = self
                .body
                .advance(&self.buffer[..piece], |payload| {
                    let each = events.feed_events(payload, |event| {
                        ready.push_back(Received {
                            kind: event.kind.to_vec(),
                            data: event.data.to_vec(),
                        });
                    });
                    fed = fed.and(each);
                })
                .map_err(|_| self.link.violation("sent broken chunked framing"))?;
            self.buffer.drain(..used);
            fed.map_err(|_| self.link.too_long())?;
        }
        Ok(())
    }

    /// The rest of a body that is no stream.
    async fn rest(&mut self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        loop {
            let used = self
                .body
                .advance(&self.buffer, |payload| out.extend_from_slice(payload))
                .map_err(|_| self.link.violation("sent broken chunked framing"))?;
            self.buffer.drain(..used);
            if out.len() > self.link.max_message {
                return Err(self.link.too_long());
            }
            if self.body.is_done() {
                return Ok(out);
            }
            match io::fill(&mut self.stream, &mut self.buffer).await {
                Ok(0) | Err(_) => return Ok(out),
                Ok(_) => {}
            }
        }
    }

    /// How long to wait before it is asked for again.
    pub(crate) fn pause(&self) -> Duration {
        pause(&self.events)
    }
}

/// What the server said, within reason; else a little.
pub(crate) fn pause(events: &Events) -> Duration {
    const LITTLE: u64 = 100;
    const MOST: u64 = 600_000;
    Duration::from_millis(events.retry_ms().unwrap_or(LITTLE).min(MOST))
}

/// Finds out within about a minute that the peer is gone. Where the system refuses, the stream works all the same.
fn keep_alive(stream: &TcpStream) {
    let set = |level: libc::c_int, name: libc::c_int, value: libc::c_int| {
        let size = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(4);
        // SAFETY: pointer and size describe `value`, which outlives the call; the socket is open as long as `stream`.
        unsafe {
            libc::setsockopt(
                stream.as_raw_fd(),
                level,
                name,
                (&raw const value).cast(),
                size,
            )
        };
    };
    set(libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1);
    set(libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, 10);
    set(libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 3);
    #[cfg(target_os = "linux")]
    set(libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 30);
}
