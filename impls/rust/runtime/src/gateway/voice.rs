//! The voice of one request: what its server says before the answer, on its way to the client that asked.
//!
//! The rules: a voice belongs to one request, so nothing of it can reach another client; who speaks never waits in here
//! (the reader of a child's pipe serves many), so what a client is too slow for is dropped when the queue is full; the
//! client's own progress token comes back, whatever stood for it upstream.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::asking::By;
pub(crate) use super::asking::Question;
use super::patience::{Over, Patience};
use super::round::Round;
use super::sessions::Session;
use crate::clock::lock;
use crate::envelope::{self, Envelope};
use crate::translate::{progress, rounds};

/// Messages that wait for a client, and their bytes, at most.
const MESSAGES: usize = 256;
const BYTES: usize = 1 << 20;

/// Who answers what the server asks in the middle of the request.
#[derive(Debug, Default)]
pub(crate) enum Manner {
    /// Nobody.
    #[default]
    Nobody,
    /// The legacy client of this session, in its own time.
    Session(Arc<Session>),
    /// A modern client, when it sends the request again.
    Rounds(Round),
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Vec<u8>>,
    bytes: usize,
    reader: Option<Waker>,
    token: Option<Box<[u8]>>,
    logs: bool,
}

impl State {
    fn is_full(&self) -> bool {
        self.queue.len() >= MESSAGES || self.bytes >= BYTES
    }
}

/// The way of messages from a server to the client of one request.
#[derive(Debug)]
pub(crate) struct Voice {
    state: Mutex<State>,
    manner: Manner,
    patience: Patience,
    /// How long the client may take to answer.
    limit: Duration,
    /// There is room again.
    read: Notify,
}

impl Voice {
    /// `token`: the progress token of the request, as the client wrote it. `logs`: it wants log messages.
    pub(crate) fn new(
        token: Option<&[u8]>,
        logs: bool,
        manner: Manner,
        limit: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            manner,
            limit,
            patience: Patience::default(),
            state: Mutex::new(State {
                token: token.map(Into::into),
                logs,
                ..State::default()
            }),
            read: Notify::new(),
        })
    }

    // -- who speaks

    /// Whether the client wants to be told of progress.
    pub(crate) fn wants_progress(&self) -> bool {
        lock(&self.state).token.is_some()
    }

    /// A notification of the server's; `standing` is the token that stood for the client's.
    pub(crate) fn hear(self: &Arc<Self>, message: &[u8], found: &Envelope, standing: u64) {
        let Some(method) = found
            .method
            .and_then(|span| envelope::text(span.of(message)))
        else {
            return;
        };
        match &*method {
            "notifications/progress" => {
                let told = {
                    let state = lock(&self.state);
                    let token = state.token.as_deref();
                    token.and_then(|token| restored(message, found, standing, token))
                };
                if let Some(told) = told {
                    self.say(told);
                }
            }
            "notifications/message" if lock(&self.state).logs => {
                self.say(message.to_vec());
            }
            "notifications/cancelled" => {
                if let Some(id) = found.members.request_id {
                    self.withdrawn(id.of(message));
                }
            }
            _ => {}
        }
    }

    /// A request of the server's; given back if nobody answers such requests here.
    pub(crate) fn asked(self: &Arc<Self>, question: Question) -> Result<(), Question> {
        let may = |capabilities: &[u8]| {
            let method = &question.method;
            rounds::capability(method).is_none() || rounds::declares(capabilities, method)
        };
        let session = match &self.manner {
            Manner::Session(session) if may(&session.capabilities) => session,
            // What has no capability has no form in which a modern client could be asked.
            Manner::Rounds(round)
                if may(&round.capabilities) && rounds::capability(&question.method).is_some() =>
            {
                round.ask(question)?;
                self.patience.hold();
                self.wake();
                return Ok(());
            }
            _ => return Err(question),
        };
        let Question {
            id,
            method,
            params,
            asker,
        } = question;
        let by = By::Server(asker.clone(), id.clone());
        let asked = session.asked.ask(by, &method, params.as_deref(), self);
        let Some((number, message)) = asked else {
            asker.refuse(
                &id,
                -32603,
                "the client has too much to answer; ask again later",
            );
            return Ok(());
        };
        self.patience.hold();
        if !self.say(message) {
            self.resume();
            session.asked.forget(number);
            asker.refuse(
                &id,
                -32603,
                "the client is too slow for more; ask again later",
            );
        }
        Ok(())
    }

    /// The server does not want to know any more what it asked.
    fn withdrawn(self: &Arc<Self>, id: &[u8]) {
        match &self.manner {
            Manner::Session(session) => {
                if let Some(note) = session.asked.withdrawn(id, self) {
                    self.resume();
                    self.say(note);
                }
            }
            Manner::Rounds(round) if round.withdrawn(id) => self.resume(),
            _ => {}
        }
    }

    /// The client has answered something.
    pub(crate) fn resume(&self) {
        self.patience.release();
    }

    /// `work`, unless the server's time is over before; what its client takes to answer does not count.
    pub(crate) async fn within<W: Future>(
        self: &Arc<Self>,
        deadline: Instant,
        work: W,
    ) -> Option<W::Output> {
        let mut work = std::pin::pin!(work);
        loop {
            let waiting = self.patience.within(deadline, self.limit, work.as_mut());
            match waiting.await {
                Ok(done) => return Some(done),
                Err(Over::Server) => return None,
                Err(Over::Client) => self.refuse("the client did not answer in time"),
            }
        }
    }

    /// Nobody will answer what is open: the server is told so, and a client that may still try, too.
    fn refuse(self: &Arc<Self>, why: &str) {
        match &self.manner {
            Manner::Session(session) => {
                for note in session.asked.refuse(self, why) {
                    self.say(note);
                }
            }
            Manner::Rounds(round) => {
                round.refuse(why);
            }
            Manner::Nobody => {}
        }
        self.patience.clear();
    }

    // -- rounds

    /// Whether the client has to answer something.
    pub(crate) fn is_asked(&self) -> bool {
        matches!(&self.manner, Manner::Rounds(round) if round.is_open())
    }

    /// What the client has to answer.
    pub(crate) fn round(&self) -> Vec<rounds::Asked> {
        match &self.manner {
            Manner::Rounds(round) => round.asked(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn answer(&self, responses: &[(String, Vec<u8>)]) {
        if let Manner::Rounds(round) = &self.manner {
            for _ in 0..round.answer(responses) {
                self.resume();
            }
        }
    }

    /// Another request of the client's listens from now on.
    pub(crate) fn speak_to(&self, token: Option<&[u8]>, logs: bool) {
        let mut state = lock(&self.state);
        state.token = token.map(Into::into);
        state.logs = logs;
    }

    fn wake(&self) {
        let reader = lock(&self.state).reader.take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Queues a message for the client; false if there is no room.
    pub(crate) fn say(&self, message: Vec<u8>) -> bool {
        let reader = {
            let mut state = lock(&self.state);
            if state.is_full() {
                return false;
            }
            state.bytes += message.len();
            state.queue.push_back(message);
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
        true
    }

    /// Waits until there is room: for those who can let their server wait.
    pub(crate) async fn room(&self) {
        loop {
            let read = self.read.notified();
            if !lock(&self.state).is_full() {
                return;
            }
            read.await;
        }
    }

    // -- who listens

    /// The request is answered: what was said before that and not read yet, and what its questions still need.
    pub(crate) fn rest(self: &Arc<Self>) -> Vec<Vec<u8>> {
        let mut rest: Vec<_> = {
            let mut state = lock(&self.state);
            state.bytes = 0;
            state.queue.drain(..).collect()
        };
        self.read.notify_waiters();
        if let Manner::Session(session) = &self.manner {
            rest.extend(session.asked.over(Arc::as_ptr(self)));
        }
        rest
    }

    /// The next message for the client.
    pub(crate) fn poll_said(&self, cx: &mut Context<'_>) -> Poll<Vec<u8>> {
        let said = {
            let mut state = lock(&self.state);
            let Some(said) = state.queue.pop_front() else {
                state.reader = Some(cx.waker().clone());
                return Poll::Pending;
            };
            state.bytes -= said.len();
            said
        };
        self.read.notify_waiters();
        Poll::Ready(said)
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        if let Manner::Session(session) = &self.manner {
            // The call is over; who would be told of it is told nothing more about it.
            session.asked.over(std::ptr::from_ref(self));
        }
    }
}

/// A progress message with the client's token in place of the one that stood for it; `None` if it is about another.
fn restored(message: &[u8], found: &Envelope, standing: u64, token: &[u8]) -> Option<Vec<u8>> {
    let theirs = progress::token_in(message, found)?;
    if theirs != itoa::Buffer::new().format(standing).as_bytes() {
        return None;
    }
    progress::retold(message, found, token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    fn hear(voice: &Arc<Voice>, message: &str, standing: u64) {
        let found = envelope::scan(message.as_bytes()).expect("valid");
        voice.hear(message.as_bytes(), &found, standing);
    }

    fn said(voice: &Voice) -> Option<String> {
        let mut cx = Context::from_waker(Waker::noop());
        match voice.poll_said(&mut cx) {
            Poll::Ready(said) => Some(String::from_utf8(said).expect("text")),
            Poll::Pending => None,
        }
    }

    #[test]
    fn progress_of_another_request_is_not_heard_and_the_own_token_comes_back() {
        let voice = Voice::new(Some(b"\"mine\""), false, Manner::Nobody, Duration::ZERO);
        let progress = |token: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token}, "x":1.50}}}}"#
            )
        };
        hear(&voice, &progress("8"), 7);
        hear(&voice, &progress("\"7\""), 7);
        assert_eq!(said(&voice), None);
        hear(&voice, &progress("7"), 7);
        assert_eq!(said(&voice), Some(progress("\"mine\"")));
        let mute = Voice::new(None, false, Manner::Nobody, Duration::ZERO);
        hear(&mute, &progress("7"), 7);
        assert_eq!(said(&mute), None);
    }

    #[test]
    fn log_messages_go_only_to_who_wants_them() {
        let log = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}"#;
        for wanted in [true, false] {
            let voice = Voice::new(None, wanted, Manner::Nobody, Duration::ZERO);
            hear(&voice, log, 7);
            assert_eq!(said(&voice).is_some(), wanted);
        }
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_costs_a_bounded_queue_and_reading_makes_room() {
        let voice = Voice::new(None, true, Manner::Nobody, Duration::ZERO);
        let taken = (0..10_000).filter(|_| voice.say(vec![b'x'; 10])).count();
        assert_eq!(taken, MESSAGES);
        let (room, ()) = tokio::join!(voice.room(), async {
            poll_fn(|cx| voice.poll_said(cx)).await;
        });
        assert_eq!(room, ());
        assert!(voice.say(Vec::new()));
    }
}
