//! Requests of servers that a legacy client answers: sent under ids of the gateway's, and the answers brought back.
//!
//! The rules: an id counts in one session only, so no answer can reach a server that another client talks to; an answer
//! is taken once; what nobody waits for any more is forgotten, and the client is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::oneshot;

use super::voice::Voice;
use crate::clock::lock;
use crate::envelope::{self, Envelope};
use crate::translate::{self, progress};
use crate::upstream::Asker;

/// Questions that wait for one client, at most.
const OPEN: usize = 256;

/// A request of a server's.
#[derive(Debug)]
pub(crate) struct Question {
    /// As the server gave it.
    pub(crate) id: Box<[u8]>,
    pub(crate) method: Box<str>,
    pub(crate) params: Option<Box<[u8]>>,
    pub(crate) asker: Asker,
}

/// What the client answered: the bytes of `result`, or of `error`.
pub(crate) type Reply = Result<Vec<u8>, Vec<u8>>;

/// Who wants the answer.
#[derive(Debug)]
pub(crate) enum By {
    Server(Asker, Box<[u8]>),
    /// The gateway itself, on behalf of a server that asked in its result.
    Gateway(oneshot::Sender<Reply>),
}

#[derive(Debug)]
struct Asked {
    by: By,
    /// The progress token that the server gave.
    token: Option<Box<[u8]>>,
    voice: Weak<Voice>,
}

/// The questions that one client has not answered yet.
#[derive(Debug, Default)]
pub(crate) struct Book {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    open: HashMap<u64, Asked>,
    ended: bool,
}

/// Whether `capabilities` (JSON) hold `name`.
pub(crate) fn declares(capabilities: &[u8], name: &str) -> bool {
    let mut found = false;
    let _ = envelope::members(capabilities, |key, value| {
        found |= envelope::text(key).as_deref() == Some(name)
            && value.of(capabilities).first() == Some(&b'{');
    });
    found
}

/// Whether a client with these capabilities can be asked anything.
pub(crate) fn is_asked(capabilities: &[u8]) -> bool {
    ["sampling", "elicitation", "roots"]
        .iter()
        .any(|name| declares(capabilities, name))
}

impl Book {
    /// Makes the request for the client; `None` if it has too many to answer already.
    pub(crate) fn ask(
        &self,
        by: By,
        method: &str,
        params: Option<&[u8]>,
        voice: &Arc<Voice>,
    ) -> Option<(u64, Vec<u8>)> {
        let mut state = lock(&self.state);
        if state.ended || state.open.len() >= OPEN {
            return None;
        }
        state.last += 1;
        let number = state.last;
        let token = params.and_then(progress::asked_for);
        let mut out = b"{\"jsonrpc\":\"2.0\",\"id\":".to_vec();
        out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        out.extend_from_slice(b",\"method\":");
        translate::push_json_string(&mut out, method);
        if let Some(params) = params {
            out.extend_from_slice(b",\"params\":");
            match token {
                Some(_) => {
                    let ours = number.to_string();
                    out.extend_from_slice(&progress::with_token(params, ours.as_bytes()));
                }
                None => out.extend_from_slice(params),
            }
        }
        out.push(b'}');
        let (token, voice) = (token.map(Into::into), Arc::downgrade(voice));
        state.open.insert(number, Asked { by, token, voice });
        Some((number, out))
    }

    /// A response of the client's; one that nobody waits for is nobody's.
    pub(crate) fn answered(&self, body: &[u8], env: &Envelope) {
        let Some(open) = env.id.and_then(|id| self.take(number(id.of(body))?)) else {
            return;
        };
        if let Some(voice) = open.voice.upgrade() {
            voice.resume();
        }
        let (result, error) = (env.result, env.error);
        match (open.by, result, error) {
            (By::Server(server, id), Some(result), None) => {
                server.answer(&id, "result", result.of(body));
            }
            (By::Server(server, id), None, Some(error)) => {
                server.answer(&id, "error", error.of(body));
            }
            (By::Server(server, id), ..) => {
                server.refuse(&id, -32603, "the client answered with no valid response");
            }
            (By::Gateway(waiting), Some(result), None) => {
                // A call that is over has no use for it.
                let _ = waiting.send(Ok(result.of(body).to_vec()));
            }
            (By::Gateway(waiting), _, error) => {
                let error = error.map_or(
                    &b"{\"code\":-32603,\"message\":\"no valid response\"}"[..],
                    |error| error.of(body),
                );
                let _ = waiting.send(Err(error.to_vec()));
            }
        }
    }

    /// Progress that the client tells of a question; for the server that asked, with the token that it gave.
    pub(crate) fn progressed(&self, body: &[u8], env: &Envelope) {
        let Some(ours) = progress::token_in(body, env) else {
            return;
        };
        let told = {
            let state = lock(&self.state);
            let asked = number(ours).and_then(|number| state.open.get(&number));
            match asked {
                Some(Asked {
                    by: By::Server(server, _),
                    token: Some(token),
                    ..
                }) => Some((server.clone(), token.clone())),
                _ => None,
            }
        };
        if let Some((server, token)) = told
            && let Some(note) = progress::retold(body, env, &token)
        {
            server.tell(note);
        }
    }

    /// The server that asked `id` on this voice does not want the answer any more; what to tell the client.
    pub(crate) fn withdrawn(&self, id: &[u8], voice: &Arc<Voice>) -> Option<Vec<u8>> {
        let number = {
            let state = lock(&self.state);
            let mut open = state.open.iter();
            open.find(|(_, asked)| {
                std::ptr::eq(asked.voice.as_ptr(), Arc::as_ptr(voice))
                    && matches!(&asked.by, By::Server(_, asked) if **asked == *id)
            })
            .map(|(number, _)| *number)
        }?;
        self.take(number)?;
        Some(cancelled(number))
    }

    /// Nobody waits for the answer to `number` any more.
    pub(crate) fn forget(&self, number: u64) -> Option<Vec<u8>> {
        self.take(number).map(|_| cancelled(number))
    }

    /// The client was silent for too long: the servers that asked on this voice are told; what to tell the client.
    pub(crate) fn refuse(&self, voice: &Arc<Voice>, why: &str) -> Vec<Vec<u8>> {
        let silent: Vec<_> = {
            let mut state = lock(&self.state);
            let asked = |open: &Asked| {
                std::ptr::eq(open.voice.as_ptr(), Arc::as_ptr(voice))
                    && matches!(open.by, By::Server(..))
            };
            state.open.extract_if(|_, open| asked(open)).collect()
        };
        let mut notes = Vec::new();
        for (number, open) in silent {
            if let By::Server(server, id) = open.by {
                server.refuse(&id, -32603, why);
            }
            notes.push(cancelled(number));
        }
        notes
    }

    /// The call of this voice is over, and with it all that its server asked: what to tell the client.
    pub(crate) fn over(&self, voice: *const Voice) -> Vec<Vec<u8>> {
        let mut notes = Vec::new();
        lock(&self.state).open.retain(|number, asked| {
            let over = std::ptr::eq(asked.voice.as_ptr(), voice);
            if over {
                notes.push(cancelled(*number));
            }
            !over
        });
        notes
    }

    /// The client answers nothing any more; who asked is told.
    pub(crate) fn end(&self) {
        let open = {
            let mut state = lock(&self.state);
            state.ended = true;
            std::mem::take(&mut state.open)
        };
        for (_, asked) in open {
            if let By::Server(server, id) = asked.by {
                server.refuse(&id, -32603, "the client has left");
            }
        }
    }

    fn take(&self, number: u64) -> Option<Asked> {
        lock(&self.state).open.remove(&number)
    }
}

fn number(token: &[u8]) -> Option<u64> {
    std::str::from_utf8(token).ok()?.parse().ok()
}

fn cancelled(number: u64) -> Vec<u8> {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{number},\"reason\":\"nobody waits for the answer any more\"}}}}"
    )
    .into_bytes()
}
