//! The change between a legacy server's requests to its client and the `input_required` rounds of 2026-07-28.
//!
//! The rules: params, results and `requestState` pass byte for byte; only where they stand changes. Sources: 2026-07-28
//! basic/patterns/mrtr, and client/{elicitation,sampling,roots} of both eras.

use std::borrow::Cow;

use super::{members, push_json_string, push_member};
use crate::envelope::{self, Fault, Span};

const RESPONSES: &[u8] = b"\"inputResponses\"";
const STATE: &[u8] = b"\"requestState\"";

/// What should be a round is none; the text says what is wrong with it.
pub(crate) type BadRound = String;

/// One request to the client. `params` is JSON.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Asked {
    pub(crate) key: String,
    pub(crate) method: String,
    pub(crate) params: Option<Vec<u8>>,
}

/// An `input_required` result. `state` is the JSON of `requestState`, quotes and escapes as they were.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Round {
    pub(crate) asked: Vec<Asked>,
    pub(crate) state: Option<Vec<u8>>,
}

/// What a modern client's retry brings: responses by key in their order, and `requestState` as JSON.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Retry {
    pub(crate) responses: Vec<(String, Vec<u8>)>,
    pub(crate) state: Option<Vec<u8>>,
}

/// The capability that a client must have declared to be asked `method`; a server may ask for nothing else.
pub(crate) fn capability(method: &str) -> Option<&'static str> {
    match method {
        "sampling/createMessage" => Some("sampling"),
        "elicitation/create" => Some("elicitation"),
        "roots/list" => Some("roots"),
        _ => None,
    }
}

/// Whether a request may be answered with `input_required`.
pub(crate) fn may_ask(method: &str) -> bool {
    matches!(method, "tools/call" | "prompts/get" | "resources/read")
}

/// The key of the `n`-th request of a call, counted from 1.
pub(crate) fn input_key(n: u64) -> String {
    format!("input-{n}")
}

/// The result that asks a modern client.
pub(crate) fn input_required(asked: &[Asked], state: &str) -> Vec<u8> {
    let mut out = b"{\"resultType\":\"input_required\",\"inputRequests\":{".to_vec();
    for (index, one) in asked.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_json_string(&mut out, &one.key);
        out.extend_from_slice(b":{\"method\":");
        push_json_string(&mut out, &one.method);
        if let Some(params) = &one.params {
            out.extend_from_slice(b",\"params\":");
            out.extend_from_slice(params);
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"},\"requestState\":");
    push_json_string(&mut out, state);
    out.push(b'}');
    out
}

/// Whether a result asks for input. Cheap for those that do not.
pub(crate) fn is_input_required(result: &[u8]) -> bool {
    let may = |what: &[u8]| memchr::memmem::find(result, what).is_some();
    (may(b"input_required") || may(b"\\u"))
        && members::value_of(result, b"\"resultType\"")
            .ok()
            .flatten()
            .is_some_and(|at| text(at.of(result)).as_deref() == Some("input_required"))
}

/// What a modern server's `input_required` result asks for, in its order.
pub(crate) fn read_round(result: &[u8]) -> Result<Round, BadRound> {
    let fields = object(result, "the result")?;
    let state = state_of(&fields, result, "requestState")?;
    let mut asked = Vec::new();
    if let Some(at) = get(&fields, "inputRequests") {
        let raw = at.of(result);
        for (key, at) in object(raw, "inputRequests")? {
            asked.push(read_asked(key, at.of(raw))?);
        }
    }
    if state.is_none() && asked.is_empty() {
        return Err("there is neither inputRequests nor requestState".to_owned());
    }
    Ok(Round { asked, state })
}

fn read_asked(key: String, raw: &[u8]) -> Result<Asked, BadRound> {
    let what = format!("inputRequests[{key:?}]");
    let fields = object(raw, &what)?;
    let method = get(&fields, "method").and_then(|at| text(at.of(raw)));
    let Some(method) = method.filter(|method| capability(method).is_some()) else {
        return Err(format!("{what} has a method that no client answers"));
    };
    let params = get(&fields, "params").map(|at| at.of(raw));
    if params.is_some_and(|params| !is_object(params)) {
        return Err(format!("{what}.params is no object"));
    }
    Ok(Asked {
        key,
        method: method.into_owned(),
        params: params.map(<[u8]>::to_vec),
    })
}

/// What a request brings of an earlier round.
pub(crate) fn read_retry(params: &[u8]) -> Result<Retry, BadRound> {
    let fields = object(params, "params")?;
    let state = state_of(&fields, params, "params.requestState")?;
    let mut responses = Vec::new();
    if let Some(at) = get(&fields, "inputResponses") {
        let raw = at.of(params);
        for (key, at) in object(raw, "params.inputResponses")? {
            if !is_object(at.of(raw)) {
                return Err(format!("params.inputResponses[{key:?}] is no object"));
            }
            responses.push((key, at.of(raw).to_vec()));
        }
    }
    Ok(Retry { responses, state })
}

/// `requestState` decoded.
pub(crate) fn state_text(state: &[u8]) -> Cow<'_, str> {
    text(state).unwrap_or_default()
}

/// The params of the next try at a modern server: with this round's input, without that of earlier ones.
pub(crate) fn next_params(
    params: &[u8],
    responses: &[(String, Vec<u8>)],
    state: Option<&[u8]>,
) -> Result<Vec<u8>, Fault> {
    let rest = without_round(params)?;
    let mut fields = Vec::new();
    if !responses.is_empty() {
        let mut answers = vec![b'{'];
        for (key, value) in responses {
            let mut name = Vec::new();
            push_json_string(&mut name, key);
            push_member(&mut answers, &name, value);
        }
        answers.push(b'}');
        fields.push([RESPONSES, b":", &answers].concat());
    }
    if let Some(state) = state {
        fields.push([STATE, b":", state].concat());
    }
    members::added(&rest, &fields)
}

/// Params for a legacy server, which knows of no rounds.
pub(crate) fn without_round(params: &[u8]) -> Result<Cow<'_, [u8]>, Fault> {
    members::without(params, &[RESPONSES, STATE])
}

/// The input that stands for a legacy client's error answer; `None`: the call ends with that error.
pub(crate) fn refused(method: &str) -> Option<&'static [u8]> {
    (method == "elicitation/create").then_some(b"{\"action\":\"cancel\"}")
}

/// A modern server's request as a legacy client knows it: elicitation by URL has an id there (2025-11-25).
pub(crate) fn request_to_legacy<'a>(
    method: &str,
    params: &'a [u8],
    unique: &str,
) -> Result<Cow<'a, [u8]>, BadRound> {
    if method != "elicitation/create" {
        return Ok(params.into());
    }
    let fields = object(params, "params")?;
    let mode = get(&fields, "mode").and_then(|at| text(at.of(params)));
    if mode.as_deref() != Some("url") || get(&fields, "elicitationId").is_some() {
        return Ok(params.into());
    }
    let mut id = b"\"elicitationId\":".to_vec();
    push_json_string(&mut id, unique);
    members::added(params, &[id])
        .map(Cow::Owned)
        .map_err(|_| "params is no object".to_owned())
}

/// Whether a client with these capabilities (JSON) may be asked `method`.
pub(crate) fn declares(capabilities: &[u8], method: &str) -> bool {
    capability(method).is_some_and(|key| {
        members::value_of(capabilities, format!("\"{key}\"").as_bytes())
            .ok()
            .flatten()
            .is_some_and(|at| is_object(at.of(capabilities)))
    })
}

/// The `data` of error -32021 about `method`.
pub(crate) fn missing_capability(method: &str) -> String {
    let key = capability(method).unwrap_or_default();
    format!("{{\"requiredCapabilities\":{{\"{key}\":{{}}}}}}")
}

fn get(fields: &[(String, Span)], key: &str) -> Option<Span> {
    fields
        .iter()
        .find(|(name, _)| name == key)
        .map(|(_, at)| *at)
}

fn state_of(
    fields: &[(String, Span)],
    raw: &[u8],
    what: &str,
) -> Result<Option<Vec<u8>>, BadRound> {
    match get(fields, "requestState").map(|at| at.of(raw)) {
        Some(state) if text(state).is_none() => Err(format!("{what} is no string")),
        state => Ok(state.map(<[u8]>::to_vec)),
    }
}

fn object(raw: &[u8], what: &str) -> Result<Vec<(String, Span)>, BadRound> {
    let mut found: Vec<(String, Span)> = Vec::new();
    let mut odd = false;
    envelope::members(raw, |key, value| match text(key) {
        Some(key) => found.push((key.into_owned(), value)),
        None => odd = true,
    })
    .map_err(|_| format!("{what} is no object"))?;
    let mut names: Vec<_> = found.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    if odd || names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(format!("{what} has a member that stands twice"));
    }
    Ok(found)
}

fn text(token: &[u8]) -> Option<Cow<'_, str>> {
    envelope::text(token)
}

fn is_object(raw: &[u8]) -> bool {
    envelope::members(raw, |_, _| {}).is_ok()
}
