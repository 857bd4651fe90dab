//! What a message must carry to be served: eras, sessions, handshakes, and headers that repeat the body.

use serde_json::{Value, json};

use super::value::{Args, bytes, of_some};
use crate::envelope::{self, Envelope};
use crate::translate::session::{self as rules, Modern, Refusal, Repeated, Said};

fn of_refusal(refusal: &Refusal) -> Value {
    json!({"status": refusal.status, "code": refusal.code})
}

/// A whole message, if it is one.
fn message(body: &[u8]) -> Option<(Envelope, Said<'_>)> {
    let env = envelope::scan(body).ok().filter(|env| env.complete)?;
    let said = rules::read(body, &env).ok()?;
    Some((env, said))
}

pub(super) fn session(name: &str, args: Args<'_>) -> Option<Value> {
    let first = args.some_bytes(0)?;
    let first = first.as_deref();
    Some(match name {
        "era" => match message(&args.bytes(1)?) {
            Some((_, said)) if said.is_modern(first) => "modern".into(),
            Some(_) => "legacy".into(),
            None => json!({"bad": true}),
        },
        "verdict" => {
            let found = args.text(1)?;
            let known = (found == "known").then_some(());
            match rules::verdict(first, found != "none", known) {
                Ok(()) => Value::Null,
                Err(refusal) => of_refusal(&refusal),
            }
        }
        "agree" => rules::agree(first).into(),
        "id" => of_some(first.filter(|value| rules::is_id(value))),
        _ => return None,
    })
}

pub(super) fn modern(name: &str, args: Args<'_>) -> Option<Value> {
    let (headers, body) = (args.value(0)?, args.bytes(1)?);
    if name != "verdict" {
        return None;
    }
    let of = |name: &str| headers.get(name).and_then(bytes);
    let (version, method, called) = (of("version"), of("method"), of("name"));
    let repeated = headers.is_object().then_some(Repeated {
        version: version.as_deref(),
        method: method.as_deref(),
        name: called.as_deref(),
    });
    let Some((env, said)) = message(&body) else {
        return Some(json!({"bad": true}));
    };
    Some(match rules::modern(repeated, &body, &env, &said) {
        Ok(Modern::Whole) => "more".into(),
        Ok(Modern::Request(_) | Modern::Notification) => Value::Null,
        Err(refusal) => of_refusal(&refusal),
    })
}
