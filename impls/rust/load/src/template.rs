//! The request, formatted once: only its id, its nonce and what repeats them are patched in before each send.
//!
//! Rule: all patched parts have a fixed width, so the length never changes. Ids are ten digits, nonces sixteen lowercase hex
//! digits at the front of the text (cut short for a smaller payload); the rest of the text is the same filler every time.

#![allow(clippy::format_push_string)] // formatted once per connection; `write!` to a String reads worse

use crate::plan::{Era, Plan, Target};

pub const MODERN: &str = "2026-07-28";
pub const LEGACY: &str = "2025-11-25";
/// The first id; ids stay ten digits for nine billion requests.
pub const FIRST_ID: u64 = 1_000_000_000;
/// Digits of a nonce.
const NONCE: usize = 16;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Method {
    List,
    #[default]
    Call,
    Read,
}

impl Method {
    pub const ALL: [(Self, &'static str); 3] = [
        (Self::List, "list"),
        (Self::Call, "call"),
        (Self::Read, "read"),
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::List => "tools/list",
            Self::Call => "tools/call",
            Self::Read => "resources/read",
        }
    }
}

/// Text that remembers where ids and nonces stand in it.
#[derive(Debug, Default)]
struct Draft {
    text: String,
    ids: Vec<usize>,
    nonces: Vec<usize>,
}

impl Draft {
    fn id(&mut self) {
        self.ids.push(self.text.len());
        self.text += &FIRST_ID.to_string();
    }

    fn nonce(&mut self, length: usize) {
        self.nonces.push(self.text.len());
        self.text += &"x".repeat(length);
    }

    fn moved(&self, by: usize) -> (Vec<usize>, Vec<usize>) {
        let moved = |spots: &[usize]| spots.iter().map(|at| at + by).collect();
        (moved(&self.ids), moved(&self.nonces))
    }
}

#[derive(Debug)]
pub struct Template {
    pub method: Method,
    bytes: Vec<u8>,
    ids: Vec<usize>,
    nonces: Vec<usize>,
    text_len: usize,
}

impl Template {
    /// `name` is the tool of a call and unused otherwise. Legacy: what follows the head of a connection and its session.
    pub fn new(plan: &Plan, target: &Target, method: Method, name: &str) -> Self {
        let text_len = if method == Method::Call {
            plan.payload_bytes
        } else {
            NONCE
        };
        let body = body(plan, method, name);
        let mut head = Draft::default();
        if plan.era == Era::Modern {
            head.text = self::head(plan, target, Some(MODERN), None);
            head.text += &format!("Mcp-Method: {}\r\n", method.name());
            match method {
                Method::List => {}
                Method::Call => head.text += &format!("Mcp-Name: {name}\r\n"),
                Method::Read => {
                    head.text += "Mcp-Name: ";
                    uri(plan, &mut head);
                    head.text += "\r\n";
                }
            }
        }
        head.text += &ending(body.text.len());
        let (ids, nonces) = body.moved(head.text.len());
        Self {
            method,
            bytes: [head.text.as_bytes(), body.text.as_bytes()].concat(),
            ids,
            // The body's first: answers are compared with what stands there.
            nonces: nonces.into_iter().chain(head.nonces).collect(),
            text_len,
        }
    }

    /// The request with this id and nonce: whole in modern times, for legacy all but the connection's own head.
    pub fn patch(&mut self, id: u64, nonce: u64) -> &[u8] {
        for at in &self.ids {
            put_decimal(&mut self.bytes[*at..*at + 10], id);
        }
        let nonce = hex(nonce);
        let length = self.text_len.min(NONCE);
        for at in &self.nonces {
            self.bytes[*at..*at + length].copy_from_slice(&nonce[..length]);
        }
        &self.bytes
    }

    /// Whether `text` is what was sent with this nonce.
    pub fn is_echo(&self, text: &[u8], nonce: u64) -> bool {
        let length = self.text_len.min(NONCE);
        let Some(at) = self.nonces.first() else {
            return false; // a list echoes nothing
        };
        text.len() == self.text_len
            && text[..length] == hex(nonce)[..length]
            && text[length..] == self.bytes[at + length..at + self.text_len]
    }
}

fn body(plan: &Plan, method: Method, name: &str) -> Draft {
    let mut body = Draft::default();
    body.text += r#"{"jsonrpc":"2.0","id":"#;
    body.id();
    body.text += &format!(r#","method":"{}","params":{{"#, method.name());
    let modern = plan.era == Era::Modern;
    let progress = plan.events > 0 && method == Method::Call;
    if modern || progress {
        body.text += r#""_meta":{"#;
        if modern {
            body.text += &format!(
                r#""io.modelcontextprotocol/protocolVersion":"{MODERN}","io.modelcontextprotocol/clientInfo":{{"name":"crossfade-load","version":"0.1.0"}},"io.modelcontextprotocol/clientCapabilities":{{}}"#
            );
        }
        if progress {
            body.text += if modern { "," } else { "" };
            body.text += r#""progressToken":"#;
            body.id();
        }
        body.text += "}";
        body.text += if method == Method::List { "" } else { "," };
    }
    match method {
        Method::List => {}
        Method::Call => {
            body.text += &format!(r#""name":"{name}","arguments":{{"#);
            for (key, value) in &plan.arguments {
                body.text += &format!("{}:{value},", serde_json::json!(key));
            }
            if progress {
                body.text += &format!(r#""events":{},"#, plan.events);
            }
            body.text += r#""text":""#;
            body.nonce(plan.payload_bytes);
            body.text += r#"","n":"#;
            body.id();
            body.text += "}";
        }
        Method::Read => {
            body.text += r#""uri":""#;
            uri(plan, &mut body);
            body.text += "\"";
        }
    }
    body.text += "}}";
    body
}

fn uri(plan: &Plan, into: &mut Draft) {
    let (before, after) = plan.uri.split_once("{text}").unwrap_or((&plan.uri, ""));
    into.text += before;
    into.nonce(NONCE);
    into.text += after;
}

/// The head of a POST up to what [`ending`] adds; `session` is the legacy session.
pub fn head(plan: &Plan, target: &Target, version: Option<&str>, session: Option<&str>) -> String {
    let mut head = format!(
        "POST {} HTTP/1.1\r\nHost: {}:{}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n",
        plan.path, target.host, target.port
    );
    if let Some(version) = version {
        head += &format!("MCP-Protocol-Version: {version}\r\n");
    }
    if let Some(session) = session {
        head += &format!("Mcp-Session-Id: {session}\r\n");
    }
    head
}

/// What ends a head before a body of this length.
pub fn ending(length: usize) -> String {
    format!("Content-Length: {length}\r\n\r\n")
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

    fn patched(plan: &Plan, method: Method) -> (Template, String, serde_json::Value) {
        let mut template = Template::new(plan, &plan.targets[0], method, "echo");
        let text = String::from_utf8(template.patch(1_234_567_890, 0xfeed).to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["id"], 1_234_567_890);
        (template, head.to_owned(), body)
    }

    #[test]
    fn a_patched_request_is_valid_and_distinct() {
        for (more, size) in [
            ("", 16),
            (r#","payload_bytes":3"#, 3),
            (r#","payload_bytes":0"#, 0),
            (r#","payload_bytes":70000"#, 70_000),
            (r#","era":"legacy""#, 16),
        ] {
            let plan = plan(&format!(r#"{more},"arguments":{{"ms":5}}"#));
            let (template, _, body) = patched(&plan, Method::Call);
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

    #[test]
    fn lists_reads_and_progress_are_asked_for_in_both_eras() {
        for era in ["modern", "legacy"] {
            let plan = plan(&format!(
                r#","era":"{era}","events":3,"uri":"a://b/{{text}}/c","mix":{{"read":1}}"#
            ));
            let (_, _, call) = patched(&plan, Method::Call);
            assert_eq!(call["params"]["_meta"]["progressToken"], 1_234_567_890);
            assert_eq!(call["params"]["arguments"]["events"], 3);
            let (_, _, list) = patched(&plan, Method::List);
            assert_eq!(list["method"], "tools/list");
            assert!(list["params"]["_meta"]["progressToken"].is_null());
            let (template, head, read) = patched(&plan, Method::Read);
            let uri = "a://b/000000000000feed/c";
            assert_eq!(read["params"]["uri"], uri);
            assert_eq!(head.contains(&format!("Mcp-Name: {uri}")), era == "modern");
            assert!(template.is_echo(b"000000000000feed", 0xfeed));
        }
    }
}
