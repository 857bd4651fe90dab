//! What the bridge between the eras is made of: tokens, cursors, event ids and replay, codes, progress tokens, rounds.

use serde_json::{Value, json};

use super::value::{Args, bytes, of_bytes, of_hex, of_some};
use crate::gateway::replay::Streams;
use crate::translate::canonical::canonical;
use crate::translate::event_id::EventId;
use crate::translate::rounds::{Asked, Retry, Round};
use crate::translate::state_token::{self, State};
use crate::translate::{codes, cursor as cursors, progress as progresses, rounds};

pub(super) fn token(name: &str, args: Args<'_>) -> Option<Value> {
    Some(match name {
        "digest" => of_hex(&state_token::request_digest(args.text(0)?, &args.bytes(1)?)),
        "make" => {
            let round = u32::try_from(args.number(2)?).ok()?;
            let state = State {
                call: args.hex(1)?,
                round,
            };
            let (expiry_ms, digest) = (args.number(3)?, args.hex(5)?);
            state_token::make(&args.hex(0)?, state, expiry_ms, args.text(4)?, &digest).into()
        }
        "read" => {
            let (now_ms, digest) = (args.number(2)?, args.hex(4)?);
            match state_token::read(&args.hex(0)?, args.text(1)?, now_ms, args.text(3)?, &digest) {
                Ok(state) => json!({"call": of_hex(&state.call), "round": state.round}),
                Err(refusal) => json!({ "refused": refusal.as_str() }),
            }
        }
        _ => return None,
    })
}

pub(super) fn cursor(name: &str, args: Args<'_>) -> Option<Value> {
    if name != "page" {
        return None;
    }
    let names: Vec<&str> = args
        .value(1)?
        .as_array()?
        .iter()
        .map(Value::as_str)
        .collect::<Option<_>>()?;
    let listed = cursors::digest(args.text(0)?, names.iter().copied());
    let size = usize::try_from(args.number(2)?).ok()?;
    let found = cursors::page(&listed, names.len(), size, args.value(3)?.as_str());
    Some(found.map_or(
        Value::Null,
        |page| json!({"start": page.start, "end": page.end, "following": page.following}),
    ))
}

pub(super) fn event_id(name: &str, args: Args<'_>) -> Option<Value> {
    Some(match name {
        "write" => EventId {
            stream: args.number(0)?,
            n: args.number(1)?,
        }
        .to_string()
        .into(),
        "read" => EventId::read(&args.bytes(0)?).map_or(Value::Null, |id| json!([id.stream, id.n])),
        _ => return None,
    })
}

/// Streams of one vector, at most.
const STREAMS: u64 = 64;

pub(super) fn replay(name: &str, args: Args<'_>) -> Option<Value> {
    if name != "after" {
        return None;
    }
    let streams = Streams::new(usize::try_from(args.number(0)?).ok()?);
    let said: Vec<(u64, Vec<u8>)> = args
        .value(1)?
        .as_array()?
        .iter()
        .map(|pair| Some((pair.get(0)?.as_u64()?, bytes(pair.get(1)?)?)))
        .collect::<Option<_>>()?;
    let opened = said.iter().map(|(stream, _)| *stream).max().unwrap_or(0);
    for _ in 0..opened.min(STREAMS) {
        streams.open(false);
    }
    for (stream, message) in &said {
        streams.add(*stream, message);
    }
    for stream in args.value(2)?.as_array()? {
        streams.end(stream.as_u64()?);
    }
    let found = EventId::read(&args.bytes(3)?).and_then(|after| streams.following(after));
    Some(found.map_or(Value::Null, |found| {
        let events = found.events.iter();
        let events: Vec<_> = events
            .map(|(id, message)| json!([id.to_string(), of_bytes(message)]))
            .collect();
        json!({"lost": found.lost, "events": events, "over": found.over})
    }))
}

pub(super) fn code(name: &str, args: Args<'_>) -> Option<Value> {
    Some(match name {
        "status" => codes::http_status(args.value(0)?.as_i64()?).into(),
        "to_modern" => codes::code_to_modern(args.text(0)?, args.value(1)?.as_i64()?).into(),
        "error_to_modern" => of_bytes(&codes::error_to_modern(args.text(0)?, &args.bytes(1)?)),
        _ => return None,
    })
}

pub(super) fn progress(name: &str, args: Args<'_>) -> Option<Value> {
    let params = args.bytes(0)?;
    Some(match name {
        "token" => of_some(progresses::token_of(&params)),
        "asked" => of_some(progresses::asked_for(&params)),
        "with" => of_bytes(&progresses::with_token(&params, &args.bytes(1)?)),
        "restored" => of_bytes(&progresses::restored(&params, &args.bytes(1)?)),
        _ => return None,
    })
}

pub(super) fn json(name: &str, args: Args<'_>) -> Option<Value> {
    (name == "canonical").then(|| Some(of_bytes(&canonical(&args.bytes(0)?, &[]))))?
}

pub(super) fn round(name: &str, args: Args<'_>) -> Option<Value> {
    Some(match name {
        "key" => rounds::input_key(args.number(0)?).into(),
        "write" => {
            let asked: Option<Vec<_>> = args.value(0)?.as_array()?.iter().map(read_asked).collect();
            of_bytes(&rounds::input_required(&asked?, args.text(1)?))
        }
        "is" => rounds::is_input_required(&args.bytes(0)?).into(),
        "read" => match rounds::read_round(&args.bytes(0)?) {
            Ok(Round { asked, state }) => {
                let text = state
                    .as_deref()
                    .map(|state| rounds::state_text(state).into_owned());
                json!({"asked": asked.iter().map(of_asked).collect::<Value>(),
                    "state": of_some(state.as_deref()), "text": text})
            }
            Err(_) => json!({"bad": true}),
        },
        "retry" => match rounds::read_retry(&args.bytes(0)?) {
            Ok(Retry { responses, state }) => {
                let responses: Vec<_> = responses
                    .iter()
                    .map(|(key, value)| json!([key, of_bytes(value)]))
                    .collect();
                json!({"responses": responses, "state": of_some(state.as_deref())})
            }
            Err(_) => json!({"bad": true}),
        },
        "next" => {
            let responses: Option<Vec<_>> = args
                .value(1)?
                .as_array()?
                .iter()
                .map(|pair| Some((pair.get(0)?.as_str()?.to_owned(), bytes(pair.get(1)?)?)))
                .collect();
            let state = args.some_bytes(2)?;
            rounds::next_params(&args.bytes(0)?, &responses?, state.as_deref())
                .map_or(json!({"bad": true}), |params| of_bytes(&params))
        }
        "without" => rounds::without_round(&args.bytes(0)?)
            .map_or(json!({"bad": true}), |params| of_bytes(&params)),
        "to_legacy" => rounds::request_to_legacy(args.text(0)?, &args.bytes(1)?, args.text(2)?)
            .map_or(json!({"bad": true}), |params| of_bytes(&params)),
        "refused" => of_some(rounds::refused(args.text(0)?)),
        "may_ask" => rounds::may_ask(args.text(0)?).into(),
        "declares" => rounds::declares(&args.bytes(0)?, args.text(1)?).into(),
        "missing" => of_bytes(rounds::missing_capability(args.text(0)?).as_bytes()),
        _ => return None,
    })
}

fn read_asked(value: &Value) -> Option<Asked> {
    Some(Asked {
        key: value.get(0)?.as_str()?.to_owned(),
        method: value.get(1)?.as_str()?.to_owned(),
        params: match value.get(2)? {
            Value::Null => None,
            params => Some(bytes(params)?),
        },
    })
}

fn of_asked(asked: &Asked) -> Value {
    json!([asked.key, asked.method, of_some(asked.params.as_deref())])
}
