//! What a server says beside an answer: notifications for its caller, and requests that somebody has to answer.
//!
//! The rules: what belongs to a call goes to the voice of that call and to nobody else; every request of a server is
//! answered, with a refusal if nobody behind this hop can; an answer never waits for a place in the pool that the call
//! itself may hold.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::child::Child;
use super::http::{Head, HttpLink};
use super::session::UpstreamSession;
use crate::envelope::{self, Envelope};
use crate::gateway::voice::{Question, Voice};
use crate::translate;
use crate::wire::io;

/// How long an answer to a server may take on its way.
const PATIENCE: Duration = Duration::from_secs(5);
const UNSUPPORTED: &str =
    "the client of this session takes no such requests; ask only for what it declared";

/// The way back to a server that asked.
#[derive(Clone, Debug)]
pub(crate) enum Asker {
    Http(Arc<HttpLink>, Arc<UpstreamSession>),
    Child(Weak<Child>),
}

impl Asker {
    /// Answers the server's request `id` with `member` (`result` or `error`).
    pub(crate) fn answer(&self, id: &[u8], member: &str, value: &[u8]) {
        let mut message = Vec::with_capacity(value.len() + id.len() + 40);
        message.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
        message.extend_from_slice(id);
        message.extend_from_slice(format!(",\"{member}\":").as_bytes());
        message.extend_from_slice(value);
        message.push(b'}');
        self.tell(message);
    }

    pub(crate) fn refuse(&self, id: &[u8], code: i64, why: &str) {
        let mut error = format!("{{\"code\":{code},\"message\":").into_bytes();
        translate::push_json_string(&mut error, why);
        error.push(b'}');
        self.answer(id, "error", &error);
    }

    /// Sends a message that has no answer.
    pub(crate) fn tell(&self, message: Vec<u8>) {
        match self {
            Self::Http(link, session) => link.tell(Arc::clone(session), message),
            Self::Child(child) => {
                if let Some(child) = child.upgrade() {
                    child.send_line(&message);
                }
            }
        }
    }

    /// What a server asked, given to whoever can answer it.
    pub(crate) fn asked(self, message: &[u8], found: &Envelope, voice: Option<&Arc<Voice>>) {
        let (Some(id), Some(method)) = (found.id, found.method) else {
            return;
        };
        let id = id.of(message);
        let Some(method) = envelope::text(method.of(message)) else {
            return self.refuse(id, -32600, "method must be a string");
        };
        if method == "ping" {
            return self.answer(id, "result", b"{}");
        }
        let question = Question {
            id: id.into(),
            method: method.into(),
            params: found.params.map(|span| span.of(message).into()),
            asker: self,
        };
        let refused = match voice {
            Some(voice) => voice.asked(question).err(),
            None => Some(question),
        };
        if let Some(question) = refused {
            question.asker.refuse(&question.id, -32601, UNSUPPORTED);
        }
    }
}

/// Who listens to what comes beside the answer to one request over HTTP.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ear<'a> {
    /// The request's id, which stands for the client's progress token, too.
    pub(crate) id: u64,
    pub(crate) voice: Option<&'a Arc<Voice>>,
    pub(crate) session: Option<&'a Arc<UpstreamSession>>,
    /// The session belongs to one client, and what it says of lists is for nobody else.
    pub(crate) own: bool,
}

impl Ear<'_> {
    pub(super) fn hear(&self, link: &Arc<HttpLink>, message: &[u8], found: &Envelope) {
        if found.id.is_none() {
            if let Some(voice) = self.voice {
                voice.hear(message, found, self.id);
            }
            if !self.own {
                link.notice(message, found);
            }
        } else if let Some(session) = self.session {
            let asker = Asker::Http(Arc::clone(link), Arc::clone(session));
            // Who shares a session has declared nothing in it.
            asker.asked(message, found, self.voice.filter(|_| self.own));
        }
    }
}

impl HttpLink {
    /// Sends a message without waiting for it, in a session.
    pub(crate) fn tell(self: &Arc<Self>, session: Arc<UpstreamSession>, message: Vec<u8>) {
        let link = Arc::clone(self);
        self.handle()
            .spawn(async move { link.send_on(&session, &message).await });
    }

    /// Sends a message in a session. Nobody could do anything about a failure: the server finds out by its deadlines.
    pub(crate) async fn send_on(self: &Arc<Self>, session: &UpstreamSession, message: &[u8]) {
        let until = Instant::now() + PATIENCE;
        let _ = self.post(session, message, until).await;
    }

    /// Posts a message that has no answer: over a connection that is free, or over one more.
    async fn post(
        self: &Arc<Self>,
        session: &UpstreamSession,
        message: &[u8],
        deadline: Instant,
    ) -> std::io::Result<()> {
        let head = Head {
            version: Some(&session.version),
            session: session.id.as_deref(),
            ..Head::default()
        };
        let mut request = Vec::with_capacity(message.len() + 512);
        self.write_head(&mut request, &head, message.len());
        request.extend_from_slice(message);
        let work = async {
            if let Some(mut lease) = self.pool.try_acquire() {
                let sent = self.attempt(&mut lease, &request, None).await;
                if sent.is_ok() {
                    lease.park();
                    return Ok(());
                }
            }
            let mut stream = self.pool.dial().await?;
            io::write(&mut stream, &request).await?;
            // A connection that is closed before the server has read may take the message along.
            let mut answer = Vec::new();
            io::fill(&mut stream, &mut answer).await.map(|_| ())
        };
        tokio::time::timeout_at(deadline.into(), work)
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
    }
}
