//! Calls of modern clients to legacy servers that ask in the middle: they stay open upstream while the client answers.
//!
//! The rules: a call that waits for its client is found by its `requestState` alone, which is authenticated and bound to
//! principal, request and time, and good for one round; whatever is wrong with it touches no call. A call ends with the
//! client that waits for it, or when the client has not come back in time; then the server is told.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::Gateway;
use super::round::Round;
use super::voice::{Manner, Voice};
use crate::clock::lock;
use crate::error::{Error, Result};
use crate::manager::Inner;
use crate::translate::state_token::{self, Digest, State};
use crate::translate::{progress, rounds};
use crate::upstream::{Outgoing, Owned, Server};

/// Calls that wait for their clients, at most.
const CALLS: usize = 1024;
/// Questions that come so soon after another one go into the same round.
const TOGETHER: Duration = Duration::from_millis(10);

/// A call under way upstream. It ends when this is dropped.
#[derive(Debug)]
struct Call {
    id: [u8; 16],
    round: u32,
    voice: Arc<Voice>,
    done: oneshot::Receiver<Result<Bytes>>,
    task: AbortHandle,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The calls of one gateway that wait for their clients.
#[derive(Debug)]
pub(crate) struct Suspended {
    key: [u8; 32],
    calls: Arc<Mutex<HashMap<[u8; 16], Call>>>,
}

impl Suspended {
    pub(crate) fn new() -> Self {
        Self {
            key: random(),
            calls: Arc::default(),
        }
    }

    /// Ends all of them.
    pub(crate) fn clear(&self) {
        let all = std::mem::take(&mut *lock(&self.calls));
        drop(all);
    }

    /// The call that `token` is for; it waits no longer.
    fn resume(&self, token: &str, principal: &str, digest: &Digest) -> Result<Call> {
        let read = state_token::read(&self.key, token, now_ms(), principal, digest);
        let state = read.map_err(|why| refused(why.as_str()))?;
        let mut calls = lock(&self.calls);
        if calls
            .get(&state.call)
            .is_some_and(|call| call.round == state.round)
            && let Some(call) = calls.remove(&state.call)
        {
            return Ok(call);
        }
        Err(refused("used, or its call is over"))
    }

    /// Keeps a call until its client comes back; false if there are too many: then it is over.
    fn keep(&self, call: Call, limit: Duration, manager: &Inner) -> bool {
        let (id, round) = (call.id, call.round);
        {
            let mut calls = lock(&self.calls);
            if calls.len() >= CALLS {
                return false;
            }
            calls.insert(id, call);
        }
        let calls = Arc::downgrade(&self.calls);
        manager.shared.handle.spawn(async move {
            tokio::time::sleep(limit).await;
            let over = calls.upgrade().and_then(|calls| {
                let mut calls = lock(&calls);
                let late = calls.get(&id).is_some_and(|call| call.round == round);
                late.then(|| calls.remove(&id)).flatten()
            });
            drop(over);
        });
        true
    }
}

fn refused(why: &str) -> Error {
    Error::Config {
        message: format!(
            "params.requestState is not valid here ({why}); send the request again without it"
        ),
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // SAFETY: the pointer and length describe `bytes`; requests of up to 256 bytes are never cut short (getrandom(2)).
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    assert_eq!(got.cast_unsigned(), N, "the system gives no randomness");
    bytes
}

/// Asks a legacy server, or goes on with a call that waited; the result, or what the client has to answer first.
/// `asked` are the params as the client sent them.
pub(super) async fn call(
    gateway: &Gateway,
    server: &Arc<Server>,
    outgoing: Outgoing<'_>,
    asked: &[u8],
    can_be_asked: bool,
) -> Result<Bytes> {
    let bad = |why: String| Error::Config {
        message: format!("{why}; send what the server asked for"),
    };
    let plain = rounds::without_round(outgoing.params)
        .map_err(|_| bad("params are no object".to_owned()))?;
    let retry = rounds::read_retry(if asked.is_empty() { b"{}" } else { asked }).map_err(bad)?;
    let outgoing = Outgoing {
        params: &plain,
        ..outgoing
    };
    if !can_be_asked && retry.state.is_none() {
        return gateway.manager.ask(server, outgoing).await;
    }
    let digest = state_token::request_digest(
        outgoing.method,
        if asked.is_empty() { b"{}" } else { asked },
    );
    let principal = outgoing.caller.principal.text().into_owned();
    let call = if let Some(state) = &retry.state {
        let token = rounds::state_text(state);
        let call = gateway.suspended.resume(&token, &principal, &digest)?;
        call.voice.answer(&retry.responses);
        call.voice
            .speak_to(progress::asked_for(asked), outgoing.caller.level.is_some());
        call
    } else {
        begin(gateway, server, &outgoing)
    };
    Box::pin(attend(gateway, server, call, outgoing, &principal, &digest)).await
}

/// Starts a call that outlives the request of its client.
fn begin(gateway: &Gateway, server: &Arc<Server>, outgoing: &Outgoing<'_>) -> Call {
    let round = Round::new(outgoing.caller.capabilities);
    let limit = gateway.input_limit();
    let token = progress::asked_for(outgoing.params);
    let logs = outgoing.caller.level.is_some();
    // Who comes back too late finds that the call is over, and not that its questions were refused.
    let voice = Voice::new(token, logs, Manner::Rounds(round), limit * 2);
    let (told, done) = oneshot::channel();
    let owned = Owned::new(outgoing, Some(Arc::clone(&voice)));
    let (manager, server) = (Arc::clone(&gateway.manager), Arc::clone(server));
    let handle = manager.shared.handle.clone();
    let task = handle.spawn(async move {
        let outcome = manager.ask(&server, owned.outgoing()).await;
        // Nobody waits any more if the receiver is gone, and then this is about to be aborted.
        let _ = told.send(outcome);
    });
    Call {
        id: random(),
        round: 0,
        voice,
        done,
        task: task.abort_handle(),
    }
}

enum Next {
    Said(Vec<u8>),
    Done(Result<Bytes>),
    Asked,
}

/// Waits for the call's end or its next round, while what it says is passed on.
async fn attend(
    gateway: &Gateway,
    server: &Server,
    mut call: Call,
    outgoing: Outgoing<'_>,
    principal: &str,
    digest: &Digest,
) -> Result<Bytes> {
    let say = |message| {
        if let Some(client) = outgoing.caller.voice {
            client.say(message);
        }
    };
    // The call is a task of its own: it may speak and end between two looks, and what it said goes out before its end.
    let pass_on = |call: &Call| call.voice.rest().into_iter().for_each(say);
    loop {
        match next(&mut call).await {
            Next::Said(message) => {
                say(message);
                continue;
            }
            Next::Done(outcome) => {
                pass_on(&call);
                return outcome;
            }
            Next::Asked => {}
        }
        tokio::time::sleep(TOGETHER).await;
        let over = call.done.try_recv();
        pass_on(&call);
        if let Ok(outcome) = over {
            return outcome;
        }
        let questions = call.voice.round();
        if questions.is_empty() {
            continue; // withdrawn
        }
        call.round += 1;
        let limit = gateway.input_limit();
        let expiry = now_ms().saturating_add(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        let state = State {
            call: call.id,
            round: call.round,
        };
        let token = state_token::make(&gateway.suspended.key, state, expiry, principal, digest);
        if gateway.suspended.keep(call, limit, &gateway.manager) {
            return Ok(rounds::input_required(&questions, &token).into());
        }
        return Err(Error::LoadShed {
            message: format!(
                "{CALLS} calls wait for their clients' input already; call again later"
            ),
            server: server.name().to_owned(),
        });
    }
}

async fn next(call: &mut Call) -> Next {
    poll_fn(|cx| {
        if let Poll::Ready(done) = std::pin::Pin::new(&mut call.done).poll(cx) {
            let ended = || {
                Err(Error::internal(
                    "a call ended without an answer; report this",
                ))
            };
            return Poll::Ready(Next::Done(done.unwrap_or_else(|_| ended())));
        }
        if let Poll::Ready(said) = call.voice.poll_said(cx) {
            return Poll::Ready(Next::Said(said));
        }
        if call.voice.is_asked() {
            return Poll::Ready(Next::Asked);
        }
        Poll::Pending
    })
    .await
}
