//! The request, formatted once: only its id, nonce and `n` are patched in before each send.
//!
//! Rule: all patched parts have a fixed width, so the length never changes. Ids are ten digits, nonces sixteen lowercase hex
//! digits at the front of the text (cut short for a smaller payload); the rest of the text is the same filler every time.

#![allow(clippy::format_push_string)] // formatted once per connection; `write!` to a String reads worse

use crate::plan::{Era, Plan};

pub const MODERN: &str = "2026-07-28";
pub const LEGACY: &str = "2025-11-25";
/// The first id; ids stay ten digits for nine billion requests.
pub const FIRST_ID: u64 = 1_000_000_000;

#[derive(Debug)]
pub struct Template {
    bytes: Vec<u8>,
    body_at: usize,
    id_at: usize,
    text_at: usize,
    text_len: usize,
    n_at: usize,
}

impl Template {
    pub fn new(plan: &Plan) -> Self {
        let meta = match plan.era {
            Era::Modern => format!(
                r#""_meta":{{"io.modelcontextprotocol/protocolVersion":"{MODERN}","io.modelcontextprotocol/clientInfo":{{"name":"crossfade-load","version":"0.1.0"}},"io.modelcontextprotocol/clientCapabilities":{{}}}},"#
            ),
            Era::Legacy => String::new(),
        };
        let mut more = String::new();
        for (key, value) in &plan.arguments {
            more += &format!("{}:{value},", serde_json::json!(key));
        }
        let before_id = r#"{"jsonrpc":"2.0","id":"#;
        let before_text = format!(
            r#"{FIRST_ID},"method":"tools/call","params":{{{meta}"name":"{}","arguments":{{{more}"text":""#,
            plan.tool
        );
        let before_n = r#"","n":"#;
        let text = "x".repeat(plan.payload_bytes);
        let body = format!("{before_id}{before_text}{text}{before_n}{FIRST_ID}}}}}}}");
        let head = match plan.era {
            Era::Modern => head(
                plan,
                Some(MODERN),
                Some(("tools/call", &plan.tool)),
                None,
                body.len(),
            ),
            Era::Legacy => String::new(), // each connection has its own, with its session
        };
        let body_at = head.len();
        let id_at = body_at + before_id.len();
        let text_at = id_at + before_text.len();
        let n_at = text_at + plan.payload_bytes + before_n.len();
        let bytes = [head.as_bytes(), body.as_bytes()].concat();
        Self {
            bytes,
            body_at,
            id_at,
            text_at,
            text_len: plan.payload_bytes,
            n_at,
        }
    }

    /// The request with this id and nonce: head and body in modern times, the body alone for legacy.
    pub fn patch(&mut self, id: u64, nonce: u64) -> &[u8] {
        put_decimal(&mut self.bytes[self.id_at..self.id_at + 10], id);
        put_decimal(&mut self.bytes[self.n_at..self.n_at + 10], id);
        let nonce = hex(nonce);
        let length = self.text_len.min(16);
        self.bytes[self.text_at..self.text_at + length].copy_from_slice(&nonce[..length]);
        &self.bytes
    }

    pub fn body_len(&self) -> usize {
        self.bytes.len() - self.body_at
    }

    /// Whether `text` is what was sent with this nonce.
    pub fn is_echo(&self, text: &[u8], nonce: u64) -> bool {
        let length = self.text_len.min(16);
        text.len() == self.text_len
            && text[..length] == hex(nonce)[..length]
            && text[length..] == self.bytes[self.text_at + length..self.text_at + self.text_len]
    }
}

/// A request head; `named` is the modern method and tool, `session` the legacy session.
pub fn head(
    plan: &Plan,
    version: Option<&str>,
    named: Option<(&str, &str)>,
    session: Option<&str>,
    length: usize,
) -> String {
    let mut head = format!(
        "POST {} HTTP/1.1\r\nHost: {}:{}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n",
        plan.path, plan.host, plan.port
    );
    if let Some(version) = version {
        head += &format!("MCP-Protocol-Version: {version}\r\n");
    }
    if let Some((method, name)) = named {
        head += &format!("Mcp-Method: {method}\r\nMcp-Name: {name}\r\n");
    }
    if let Some(session) = session {
        head += &format!("Mcp-Session-Id: {session}\r\n");
    }
    head + &format!("Content-Length: {length}\r\n\r\n")
}

/// The legacy handshake's two messages, without their heads.
pub const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"crossfade-load","version":"0.1.0"}}}"#;
pub const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

pub fn put_decimal(into: &mut [u8], mut value: u64) {
    for digit in into.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

fn hex(value: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    for (index, digit) in digits.iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(value >> (60 - 4 * index) & 15) as usize];
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(more: &str) -> Plan {
        Plan::parse(
            format!(r#"{{"port":1,"mode":"closed","connections":1,"duration_s":1{more}}}"#)
                .as_bytes(),
        )
        .unwrap()
    }

    #[test]
    fn a_patched_request_is_valid_and_distinct() {
        for (more, size) in [
            ("", 16),
            (r#","payload_bytes":3"#, 3),
            (r#","payload_bytes":0"#, 0),
            (r#","payload_bytes":70000"#, 70_000),
        ] {
            let plan = plan(&format!(r#"{more},"arguments":{{"ms":5}}"#));
            let mut template = Template::new(&plan);
            let bytes = template.patch(1_234_567_890, 0xfeed).to_vec();
            let text = String::from_utf8(bytes).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["id"], 1_234_567_890);
            let arguments = &body["params"]["arguments"];
            assert_eq!(
                (&arguments["n"], &arguments["ms"]),
                (&1_234_567_890.into(), &5.into())
            );
            let text = arguments["text"].as_str().unwrap();
            assert_eq!(text.len(), size);
            assert!("000000000000feed".starts_with(&text[..size.min(16)]));
            assert!(template.is_echo(text.as_bytes(), 0xfeed));
            assert_eq!(template.is_echo(text.as_bytes(), 0xfeed << 48), size == 0);
        }
    }
}
