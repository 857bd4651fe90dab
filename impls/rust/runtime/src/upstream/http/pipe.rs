//! The transport of 2024-11-05, which is deprecated and still deployed: one stream brings everything, messages are posted
//! to the endpoint that its first event names.
//!
//! The rules (2024-11-05 basic/transports, "HTTP with SSE"): the endpoint must be of the same origin, or a server could
//! send the headers of the configuration anywhere; ids are ours, so several requests are in flight at once; the end of
//! the stream ends them all, and the next call opens another one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use super::{HttpLink, head};
use crate::clock::lock;
use crate::envelope::{self, Envelope};
use crate::error::{Error, RemoteFault, Result};
use crate::gateway::voice::Voice;
use crate::translate::progress;
use crate::upstream::dedicated::PLAIN;
use crate::upstream::discovery::{self, Agreed};
use crate::upstream::message::{hop_params, read_message, request_body, with_token};
use crate::upstream::stream::{EventStream, Get, Opened};
use crate::upstream::{Caller, Outgoing};

type Reply = Result<Result<Bytes, RemoteFault>>;

#[derive(Debug)]
struct Pending {
    sender: oneshot::Sender<Reply>,
    voice: Option<Arc<Voice>>,
}

/// One open stream and the endpoint that belongs to it.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// Of a POST to the endpoint, up to the length.
    head: Vec<u8>,
    pending: Mutex<HashMap<u64, Pending>>,
    next_id: AtomicU64,
    dead: AtomicBool,
    stop: Notify,
}

impl Pipe {
    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Relaxed)
    }

    /// Nobody needs it any more.
    pub(super) fn close(&self) {
        self.stop.notify_one();
    }

    fn fail_all(&self, error: &Error) {
        let waiting: Vec<_> = {
            let mut pending = lock(&self.pending);
            self.dead.store(true, Relaxed);
            pending.drain().collect()
        };
        for (_, waiting) in waiting {
            let _ = waiting.sender.send(Err(error.clone()));
        }
    }

    fn forget(&self, id: u64) -> bool {
        lock(&self.pending).remove(&id).is_some()
    }

    fn answered(&self, data: &[u8], found: &Envelope) {
        let id = found
            .id
            .and_then(|span| std::str::from_utf8(span.of(data)).ok()?.parse().ok());
        let waiting = id.and_then(|id: u64| lock(&self.pending).remove(&id));
        if let (Some(waiting), Some(reply)) = (waiting, read_message(data, found)) {
            // A receiver that is gone gave up meanwhile.
            let _ = waiting.sender.send(Ok(reply));
        }
    }

    /// Whose request a progress message is about.
    fn voice_of(&self, data: &[u8], found: &Envelope) -> Option<(u64, Arc<Voice>)> {
        let token = progress::token_in(data, found)?;
        let id = std::str::from_utf8(token).ok()?.parse().ok()?;
        let voice = lock(&self.pending).get(&id)?.voice.clone()?;
        Some((id, voice))
    }
}

impl HttpLink {
    /// Opens the stream and shakes hands over it; `None` if there is no stream.
    pub(super) async fn open_pipe(
        self: &Arc<Self>,
        deadline: Instant,
    ) -> Result<Option<(Arc<Pipe>, Agreed)>> {
        let Opened::Stream(mut stream) = self.get_stream(&Get::default(), deadline).await? else {
            return Ok(None);
        };
        let first = tokio::time::timeout_at(deadline.into(), endpoint(&mut stream));
        let path = first
            .await
            .ok()
            .flatten()
            .and_then(|told| self.same_origin(&told));
        let path = path.ok_or_else(|| {
            let why = "opened a stream without an endpoint event of its own origin";
            self.start_error(&self.violation(why))
        })?;
        let pipe = Arc::new(Pipe {
            head: self.head_for(&path),
            pending: Mutex::default(),
            next_id: AtomicU64::new(1),
            dead: AtomicBool::new(false),
            stop: Notify::new(),
        });
        let reading = Arc::clone(&pipe);
        let link = Arc::clone(self);
        self.handle()
            .spawn(async move { link.read_pipe(&reading, *stream).await });
        // A handshake that fails, or that nobody waits for any more, ends the stream.
        let mut unfinished = Unfinished(Some(Arc::clone(&pipe)));
        let agreed = self.shake_hands(&pipe, deadline).await?;
        unfinished.0 = None;
        Ok(Some((pipe, agreed)))
    }

    async fn shake_hands(self: &Arc<Self>, pipe: &Arc<Pipe>, deadline: Instant) -> Result<Agreed> {
        let outgoing = Outgoing {
            method: "initialize",
            params: b"",
            name: None,
            caller: Caller::default(),
            lines: b"",
            deadline,
        };
        let params = PLAIN.params();
        let result = self
            .ask_pipe(pipe, &outgoing, &params)
            .await
            .map_err(|error| self.start_error(&error))?;
        let agreed = discovery::read_initialize(&result, self.name())?;
        let note = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}";
        self.post_pipe(pipe, note, deadline).await?;
        Ok(agreed)
    }

    /// One call; see [`crate::upstream::Link::call`].
    pub(super) async fn call_pipe(self: &Arc<Self>, outgoing: Outgoing<'_>) -> Result<Bytes> {
        let params = hop_params(outgoing.params, false, &outgoing.caller)?;
        let pipe = match self.pipe() {
            Some(pipe) => pipe,
            None => self.prepared_pipe(outgoing.deadline).await?,
        };
        self.ask_pipe(&pipe, &outgoing, &params).await
    }

    async fn ask_pipe(
        self: &Arc<Self>,
        pipe: &Arc<Pipe>,
        outgoing: &Outgoing<'_>,
        params: &[u8],
    ) -> Result<Bytes> {
        let id = pipe.next_id.fetch_add(1, Relaxed);
        let (sender, receiver) = oneshot::channel();
        {
            // `dead` is set under this lock before the map is emptied, so nothing is left behind.
            let mut pending = lock(&pipe.pending);
            if pipe.is_dead() {
                return Err(self.cut_off());
            }
            let voice = outgoing.caller.voice.cloned();
            pending.insert(id, Pending { sender, voice });
        }
        let mut flight = Flight {
            link: self,
            pipe,
            id,
            cancels: outgoing.caller.cancels,
        };
        let params = with_token(params, id, &outgoing.caller);
        let body = request_body(id, outgoing.method, &params);
        self.post_pipe(pipe, &body, outgoing.deadline).await?;
        let Ok(reply) = tokio::time::timeout_at(outgoing.deadline.into(), receiver).await else {
            flight.cancels = None;
            return Err(self.timeout(outgoing.method));
        };
        reply
            .unwrap_or_else(|_| Err(self.cut_off()))?
            .map_err(|fault| Error::Remote {
                fault: Box::new(fault),
                server: self.name().to_owned(),
            })
    }

    async fn post_pipe(
        self: &Arc<Self>,
        pipe: &Pipe,
        body: &[u8],
        deadline: Instant,
    ) -> Result<()> {
        let mut request = Vec::with_capacity(pipe.head.len() + body.len() + 32);
        request.extend_from_slice(&pipe.head);
        request.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        request.extend_from_slice(body);
        let answer = self.send(&request, None, deadline, "a message").await?;
        if (200..300).contains(&answer.status) {
            return Ok(());
        }
        Err(self.violation(&format!("answered a message with HTTP {}", answer.status)))
    }

    /// Until the stream ends, or the pipe is closed.
    async fn read_pipe(self: Arc<Self>, pipe: &Arc<Pipe>, mut stream: EventStream) {
        let reading = async {
            while let Ok(Some(event)) = stream.next().await {
                self.take_message(pipe, &event.data);
            }
        };
        tokio::select! {
            () = reading => {}
            () = pipe.stop.notified() => {}
        }
        pipe.fail_all(&self.cut_off());
        self.poke();
    }

    fn take_message(self: &Arc<Self>, pipe: &Arc<Pipe>, data: &[u8]) {
        let Ok(found) = envelope::scan(data) else {
            return;
        };
        if found.method.is_none() {
            pipe.answered(data, &found);
        } else if let Some(id) = found.id {
            let (link, pipe) = (Arc::clone(self), Arc::clone(pipe));
            let ping = found
                .method
                .is_some_and(|span| span.of(data) == b"\"ping\"");
            let reply = refusal(id.of(data), ping);
            // Nobody can do anything about a failure: the server finds out by its own deadline.
            self.handle().spawn(async move {
                let until = Instant::now() + link.start_timeout;
                let _ = link.post_pipe(&pipe, &reply, until).await;
            });
        } else if let Some((id, voice)) = pipe.voice_of(data, &found) {
            voice.hear(data, &found, id);
        } else {
            self.notice(data, &found);
        }
    }

    /// The path of an endpoint, if it is of this URL's origin and can stand in a request.
    fn same_origin(&self, told: &[u8]) -> Option<String> {
        let told = std::str::from_utf8(told).ok()?.trim();
        let (host, port, path, _) = head::parse_url(self.url())?;
        let found = if told.contains("://") {
            let (their_host, their_port, path, _) = head::parse_url(told)?;
            (their_host.eq_ignore_ascii_case(&host) && their_port == port).then_some(path)?
        } else if told.starts_with("//") || told.is_empty() {
            return None;
        } else if told.starts_with('/') {
            told.to_owned()
        } else {
            let own = path.split('?').next().unwrap_or_default();
            let folder = own.rfind('/').map_or("", |at| &own[..at]);
            format!("{folder}/{told}")
        };
        let plain = found.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
        plain.then(|| found.split('#').next().unwrap_or_default().to_owned())
    }

    fn head_for(&self, path: &str) -> Vec<u8> {
        let rest = memchr::memchr(b'\n', &self.fixed).map_or(0, |at| at + 1);
        let mut out = format!("POST {path} HTTP/1.1\r\n").into_bytes();
        out.extend_from_slice(&self.fixed[rest..]);
        out
    }

    fn cut_off(&self) -> Error {
        self.crashed(&std::io::ErrorKind::UnexpectedEof.into())
    }
}

/// What the first event says, if it is the right one.
async fn endpoint(stream: &mut EventStream) -> Option<Vec<u8>> {
    let event = stream.next().await.ok()??;
    (event.kind == b"endpoint").then_some(event.data)
}

/// The answer to a server that asks: this hop declared nothing.
fn refusal(id: &[u8], ping: bool) -> Vec<u8> {
    let mut reply = b"{\"jsonrpc\":\"2.0\",\"id\":".to_vec();
    reply.extend_from_slice(id);
    reply.extend_from_slice(if ping {
        b",\"result\":{}}"
    } else {
        b",\"error\":{\"code\":-32601,\"message\":\"the client of this session takes no such requests\"}}"
    });
    reply
}

struct Unfinished(Option<Arc<Pipe>>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(pipe) = &self.0 {
            pipe.close();
        }
    }
}

/// A request in flight: forgotten on every way out, and cancelled if it was not answered.
struct Flight<'a> {
    link: &'a Arc<HttpLink>,
    pipe: &'a Arc<Pipe>,
    id: u64,
    cancels: Option<&'a AtomicBool>,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if !self.pipe.forget(self.id) || self.cancels.is_some_and(|asked| !asked.load(Relaxed)) {
            return;
        }
        let note = format!(
            "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{}}}}}",
            self.id
        );
        let (link, pipe) = (Arc::clone(self.link), Arc::clone(self.pipe));
        self.link.handle().spawn(async move {
            let until = Instant::now() + link.start_timeout;
            let _ = link.post_pipe(&pipe, note.as_bytes(), until).await;
        });
    }
}
