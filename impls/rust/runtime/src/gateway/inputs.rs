//! A modern server that answers `input_required`, and a legacy client: its requests go to the client, and the same
//! request goes to the server again, with the answers and the server's state.
//!
//! The rules (2026-07-28 basic/patterns/mrtr): `requestState` goes back byte for byte; a request that brings no answers
//! is sent again after a pause; nobody goes round for ever; a client is asked nothing that it did not declare.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::Gateway;
use super::asking::{By, Reply};
use super::calling::fault;
use super::sessions::Session;
use super::voice::Voice;
use crate::error::{Error, Result};
use crate::translate::rounds::{self, Asked};
use crate::upstream::{Outgoing, Server};

const ROUNDS: u32 = 16;
const PAUSE: Duration = Duration::from_millis(50);

/// Goes on until the server gives a result.
pub(super) async fn go_on(
    gateway: &Gateway,
    server: &Arc<Server>,
    outgoing: Outgoing<'_>,
    session: &Arc<Session>,
    mut result: Bytes,
) -> Result<Bytes> {
    let violation = |why: &str| Error::ProtocolViolation {
        message: format!(
            "server '{}' answered {} with input_required, but {why}; check the server",
            server.name(),
            outgoing.method
        ),
        server: server.name().to_owned(),
    };
    let Some(voice) = outgoing.caller.voice else {
        return Err(violation("nobody can be asked"));
    };
    for round in 0..ROUNDS {
        let found = rounds::read_round(&result).map_err(|why| violation(&why))?;
        let responses = if found.asked.is_empty() {
            tokio::time::sleep(PAUSE * round).await;
            Vec::new()
        } else {
            ask_all(gateway, server, session, voice, found.asked).await?
        };
        let params = rounds::next_params(outgoing.params, &responses, found.state.as_deref())
            .map_err(|_| violation("params are no object"))?;
        let again = Outgoing {
            params: &params,
            deadline: server.deadline(None),
            ..outgoing
        };
        result = gateway.manager.ask(server, again).await?;
        if !rounds::is_input_required(&result) {
            return Ok(result);
        }
    }
    Err(violation(&format!(
        "has done so {ROUNDS} times for one request"
    )))
}

/// The client's answers, in the order of the questions.
async fn ask_all(
    gateway: &Gateway,
    server: &Arc<Server>,
    session: &Arc<Session>,
    voice: &Arc<Voice>,
    asked: Vec<Asked>,
) -> Result<Vec<(String, Vec<u8>)>> {
    for one in &asked {
        if !rounds::declares(&session.capabilities, &one.method) {
            let data = rounds::missing_capability(&one.method);
            let message = format!(
                "server '{}' needs {} of its client, which did not declare it; declare it in initialize",
                server.name(),
                one.method
            );
            return Err(fault(server.name(), -32021, &message, Some(&data)));
        }
    }
    let limit = gateway.input_limit();
    let mut waiting = JoinSet::new();
    let mut keys = Vec::new();
    for (index, one) in asked.into_iter().enumerate() {
        let unique = format!("{}-{}", session.id, index);
        let params = one.params.as_deref().map(|params| {
            rounds::request_to_legacy(&one.method, params, &unique)
                .map(std::borrow::Cow::into_owned)
        });
        let params = params
            .transpose()
            .map_err(|why| fault(server.name(), -32603, &why, None))?;
        let question = (session, voice, &*one.method, params.as_deref());
        let asking = ask(question, limit)?;
        keys.push((one.key, one.method));
        waiting.spawn_on(
            async move { (index, asking.await) },
            &gateway.manager.shared.handle,
        );
    }
    let mut answers: Vec<Option<Vec<u8>>> = vec![None; keys.len()];
    while let Some(done) = waiting.join_next().await {
        let (index, reply) =
            done.map_err(|error| Error::internal(format!("{error}; report this")))?;
        answers[index] = Some(accept(server, &keys[index].1, reply, limit)?);
    }
    let keys = keys.into_iter().map(|(key, _)| key);
    Ok(keys.zip(answers.into_iter().flatten()).collect())
}

type Question<'a> = (&'a Arc<Session>, &'a Arc<Voice>, &'a str, Option<&'a [u8]>);

/// Sends one request to the client; its answer, or `None` if none came in time.
fn ask(
    (session, voice, method, params): Question<'_>,
    limit: Duration,
) -> Result<impl Future<Output = Option<Reply>> + use<>> {
    let (told, reply) = tokio::sync::oneshot::channel();
    let asked = session.asked.ask(By::Gateway(told), method, params, voice);
    let slow = || {
        Error::internal(
            "the client has too much to answer or to read already; answer it, then call again",
        )
    };
    let (number, message) = asked.ok_or_else(slow)?;
    if !voice.say(message) {
        session.asked.forget(number);
        return Err(slow());
    }
    let (session, voice) = (Arc::clone(session), Arc::downgrade(voice));
    Ok(async move {
        if let Ok(reply) = tokio::time::timeout(limit, reply).await {
            return reply.ok();
        }
        if let (Some(note), Some(voice)) = (session.asked.forget(number), voice.upgrade()) {
            voice.say(note);
        }
        None
    })
}

/// What the server gets of an answer.
fn accept(server: &Server, method: &str, reply: Option<Reply>, limit: Duration) -> Result<Vec<u8>> {
    match reply {
        Some(Ok(result)) => Ok(result),
        Some(Err(error)) => match rounds::refused(method) {
            Some(instead) => Ok(instead.to_vec()),
            None => Err(Error::Remote {
                fault: Box::new(crate::upstream::fault(error.into())),
                server: server.name().to_owned(),
            }),
        },
        None => Err(Error::internal(format!(
            "the client did not answer {method} within {} ms; answer sooner, or raise gateway.inputTimeoutMs",
            limit.as_millis()
        ))),
    }
}
