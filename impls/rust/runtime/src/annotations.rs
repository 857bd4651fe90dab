//! `x-mcp-header`: arguments of a tool that its server wants repeated in headers `Mcp-Param-*`.
//!
//! The rule: a tool whose annotations break the rules is dropped, or the server and an intermediary could read
//! different values (2026-07-28 streamable-http, "Custom Headers from Tool Parameters").

use serde_json::Value;

use crate::envelope;
use crate::translate;

const KEY: &str = "x-mcp-header";

/// A header's name, and the path of properties to its argument.
pub(crate) type Annotation = (String, Vec<String>);

/// The annotations of an input schema, or `None` if one breaks the rules.
pub(crate) fn read(schema: &Value) -> Option<Vec<Annotation>> {
    let mut found = Vec::new();
    walk(schema, &mut Vec::new(), &mut found, true).then_some(found)
}

/// True if a definition may have annotations at all; cheap.
pub(crate) fn suspected(definition: &[u8]) -> bool {
    memchr::memmem::find(definition, KEY.as_bytes()).is_some()
}

fn walk(
    node: &Value,
    path: &mut Vec<String>,
    found: &mut Vec<Annotation>,
    reachable: bool,
) -> bool {
    let object = match node {
        Value::Array(items) => return items.iter().all(|item| walk(item, path, found, false)),
        Value::Object(object) => object,
        _ => return true,
    };
    if let Some(name) = object.get(KEY) {
        let name = name.as_str().filter(|name| is_token(name));
        let primitive = matches!(
            object.get("type").and_then(Value::as_str),
            Some("string" | "integer" | "boolean")
        );
        match name {
            Some(name)
                if primitive
                    && reachable
                    && !path.is_empty()
                    && !found
                        .iter()
                        .any(|(known, _)| known.eq_ignore_ascii_case(name)) =>
            {
                found.push((name.to_owned(), path.clone()));
            }
            _ => return false,
        }
    }
    object
        .iter()
        .all(|(key, child)| match (key.as_str(), child) {
            // Data, not schemas.
            ("default" | "const" | "enum" | "examples", _) => true,
            ("properties", Value::Object(properties)) => {
                properties.iter().all(|(property, schema)| {
                    path.push(property.clone());
                    let valid = walk(schema, path, found, reachable);
                    path.pop();
                    valid
                })
            }
            _ => walk(child, path, found, false),
        })
}

fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+.^_`|~-".contains(&byte))
}

/// The header lines that `params.arguments` call for; arguments that are absent or null have none, nor have those that
/// no annotation can be about (objects, arrays, fractions, integers that JavaScript cannot hold).
pub(crate) fn lines(annotations: &[Annotation], params: &[u8]) -> Vec<u8> {
    let arguments = arguments(params);
    let mut out = Vec::new();
    for (name, path) in annotations {
        let Some(text) = plain(argument(&arguments, path)) else {
            continue;
        };
        out.extend_from_slice(
            format!("Mcp-Param-{name}: {}\r\n", translate::header_value(&text)).as_bytes(),
        );
    }
    out
}

/// `params.arguments`, or null if a number in them is beyond all that a reader holds; what else there is is not read.
fn arguments(params: &[u8]) -> Value {
    let mut found = None;
    let _ = envelope::members(params, |key, value| {
        if *envelope::plain_key(key) == *b"\"arguments\"" {
            found = Some(value);
        }
    });
    let read = found.and_then(|at| serde_json::from_slice(at.of(params)).ok());
    read.unwrap_or_default()
}

fn argument<'a>(arguments: &'a Value, path: &[String]) -> &'a Value {
    let value = path
        .iter()
        .try_fold(arguments, |value, step| value.get(step));
    value.unwrap_or(&Value::Null)
}

/// An argument as its header says it.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => integer(number).map(|integer| integer.to_string()),
        _ => None,
    }
}

/// The first header `Mcp-Param-*` that is not what `params.arguments` call for; `sent` finds one by the rest of its name.
/// Integers are compared as numbers (streamable-http, "Server Validation").
pub(crate) fn mismatch<'a, 'h>(
    annotations: &'a [Annotation],
    params: &[u8],
    sent: impl Fn(&str) -> Option<&'h [u8]>,
) -> Option<&'a str> {
    let arguments = arguments(params);
    let differs = |(name, path): &&Annotation| {
        let value = argument(&arguments, path);
        let (wanted, sent) = match (plain(value), sent(name)) {
            (None, None) => return false,
            (Some(wanted), Some(sent)) => (wanted, sent),
            _ => return true,
        };
        let visible = |&byte: &u8| matches!(byte, b'\t' | b' '..=b'~');
        if !sent.iter().all(visible) {
            return true;
        }
        match translate::header_text(sent) {
            Some(text) if text == wanted => false,
            Some(text) if value.is_number() => {
                let number = serde_json::from_str(&text).ok();
                number.as_ref().and_then(integer).map(|n| n.to_string()) != Some(wanted)
            }
            _ => true,
        }
    };
    let found = annotations.iter().find(differs);
    found.map(|(name, _)| name.as_str())
}

/// An integer, however it is written (`42.0`, `4.2e1`), if JavaScript can hold it.
#[allow(clippy::cast_possible_truncation)] // in range, as is checked
fn integer(number: &serde_json::Number) -> Option<i64> {
    const SAFE: i64 = (1 << 53) - 1;
    #[allow(clippy::cast_precision_loss)] // none: it is the largest that has none
    let fits = |value: f64| value.abs() <= SAFE as f64 && value.fract() == 0.0;
    number
        .as_i64()
        .filter(|value| (-SAFE..=SAFE).contains(value))
        .or_else(|| {
            let value = number.as_f64().filter(|_| number.is_f64())?;
            fits(value).then_some(value as i64)
        })
}

/// Whether a tool's definition says that calling it twice does no harm (`idempotentHint`, `readOnlyHint`).
pub(crate) fn may_repeat(definition: &[u8]) -> bool {
    let mut said = false;
    if memchr::memmem::find(definition, b"Hint\"").is_none() {
        return said;
    }
    let _ = envelope::members(definition, |key, hints| {
        if key == b"\"annotations\"" {
            let hints = hints.of(definition);
            let _ = envelope::members(hints, |key, value| {
                said |= matches!(key, b"\"idempotentHint\"" | b"\"readOnlyHint\"")
                    && value.of(hints) == b"true";
            });
        }
    });
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nested_annotations_become_lines_and_absent_arguments_none() {
        let schema = json!({"type": "object", "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "deep": {"type": "object", "properties": {"n": {"type": "integer", "x-mcp-header": "N"}}},
            "gone": {"type": "boolean", "x-mcp-header": "Gone"}}});
        let annotations = read(&schema).expect("valid");
        let params = br#"{"name":"t","arguments":{"region":"a\nb","deep":{"n":-7},"gone":null}}"#;
        let lines = String::from_utf8(lines(&annotations, params)).expect("ascii");
        assert!(lines.contains("Mcp-Param-N: -7\r\n"));
        assert!(lines.contains("Mcp-Param-Region: =?base64?YQpi?=\r\n"));
        assert!(!lines.contains("Gone"));
    }

    #[test]
    fn annotations_that_break_a_rule_are_found() {
        let wrong = |property: Value| read(&json!({"properties": {"a": property}})).is_none();
        assert!(wrong(json!({"type": "number", "x-mcp-header": "A"})));
        assert!(wrong(json!({"type": "string", "x-mcp-header": "A b"})));
        assert!(wrong(json!({"type": "string", "x-mcp-header": ""})));
        assert!(wrong(
            json!({"type": "array", "items": {"type": "string", "x-mcp-header": "A"}})
        ));
        assert!(wrong(
            json!({"anyOf": [{"type": "string", "x-mcp-header": "A"}]})
        ));
        assert!(!wrong(json!({"type": "string", "enum": ["x-mcp-header"]})));
        let twice = json!({"type": "string", "x-mcp-header": "A"});
        assert!(
            read(
                &json!({"properties": {"a": twice, "b": {"type": "string", "x-mcp-header": "a"}}})
            )
            .is_none()
        );
    }

    #[test]
    fn only_a_hint_that_is_true_says_that_a_tool_may_be_called_twice() {
        let tool = |hints: &str| format!(r#"{{"name":"a","annotations":{hints}}}"#);
        for hints in [
            "{\"idempotentHint\":true}",
            "{\"title\":\"x\",\"readOnlyHint\": true}",
        ] {
            assert!(may_repeat(tool(hints).as_bytes()), "{hints}");
        }
        for hints in [
            "{}",
            "{\"idempotentHint\":false}",
            "{\"idempotentHint\":\"true\"}",
            "[]",
            "{\"openWorldHint\":true}",
        ] {
            assert!(!may_repeat(tool(hints).as_bytes()), "{hints}");
        }
        assert!(!may_repeat(br#"{"inputSchema":{"readOnlyHint":true}}"#));
    }
}
