//! The translation as operations on JSON, for the vectors (`impls/vectors/TRANSLATION.md`), the native module's
//! differential tests and the fuzz targets.
//!
//! The rule: an operation only carries values to the function it is named after and back; what a value means is decided
//! there. Bytes are a JSON string of their UTF-8, or `{"b64": "..."}` where they have none.

mod bridge;
pub mod laws;
mod session;
mod value;
mod wire;

use serde_json::Value;

/// Performs the operation `op` with its arguments. `Err` tells what the caller got wrong, not what the operation found.
pub fn step(op: &str, args: &[Value]) -> Result<Value, String> {
    let (family, name) = op.split_once('.').unwrap_or((op, ""));
    let args = value::Args(args);
    match family {
        "token" => bridge::token(name, args),
        "cursor" => bridge::cursor(name, args),
        "event_id" => bridge::event_id(name, args),
        "replay" => bridge::replay(name, args),
        "code" => bridge::code(name, args),
        "progress" => bridge::progress(name, args),
        "round" => bridge::round(name, args),
        "json" => bridge::json(name, args),
        "name" => wire::name(name, args),
        "envelope" => wire::envelope(name, args),
        "session" => session::session(name, args),
        "modern" => session::modern(name, args),
        "meta" => wire::meta(name, args),
        "result" => wire::result(name, args),
        "header" => wire::header(name, args),
        "events" => wire::events(name, args),
        "http" => wire::http(name, args),
        _ => None,
    }
    .ok_or_else(|| format!("no operation {op:?} with these arguments; see TRANSLATION.md"))
}

/// [`step`], from and to the text of JSON.
pub fn step_json(op: &str, args: &str) -> Result<String, String> {
    let args: Vec<Value> =
        serde_json::from_str(args).map_err(|error| format!("args: {error}; pass a JSON array"))?;
    step(op, &args).map(|answer| answer.to_string())
}
