//! Request heads for one URL: what of them is fixed, and what each request adds.
//!
//! The rule: the fixed part is built once and copied; a header of the spec that could break it (a control character, a
//! colon in the name) is left out.

use super::HttpLink;
use crate::config::ServerSpec;
use crate::translate;
use crate::upstream::stream::Get;

/// What goes into a request head besides what never changes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Head<'a> {
    pub(crate) version: Option<&'a str>,
    pub(crate) session: Option<&'a str>,
    pub(crate) method: Option<&'a str>,
    pub(crate) name: Option<&'a str>,
    /// Further lines, each ended by CRLF.
    pub(crate) lines: &'a [u8],
}

/// Host, port and path of an `http://` URL.
pub(super) fn parse_url(url: &str) -> Option<(String, u16, String, String)> {
    let rest = url.strip_prefix("http://")?;
    let cut = rest.find(['/', '?']).unwrap_or(rest.len());
    let authority = rest[..cut]
        .rsplit_once('@')
        .map_or(&rest[..cut], |(_, host)| host);
    let mut path = rest[cut..].split('#').next().unwrap_or_default().to_owned();
    if !path.starts_with('/') {
        path.insert(0, '/');
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ => (authority, 80),
    };
    let bare = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    (!bare.is_empty()).then(|| (bare, port, path, authority.to_owned()))
}

fn is_header_text(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte == b'\t' || (0x20..0x7f).contains(&byte) || byte >= 0x80)
}

/// What every request repeats: the verb, who is asked, what is accepted, and the headers of the spec.
pub(super) fn fixed_head(spec: &ServerSpec, path: &str, authority: &str) -> Vec<u8> {
    let mut fixed = format!(
        "POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nUser-Agent: {}/{}\r\n",
        translate::NAME,
        translate::VERSION
    )
    .into_bytes();
    for (name, value) in &spec.headers {
        if !name.is_empty()
            && is_header_text(name)
            && !name.contains([':', ' '])
            && is_header_text(value)
        {
            fixed.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
    }
    fixed
}

impl HttpLink {
    /// Appends a request head for a body of `length` bytes.
    pub(crate) fn write_head(&self, out: &mut Vec<u8>, head: &Head<'_>, length: usize) {
        out.extend_from_slice(&self.fixed);
        let mut line = |name: &str, value: &str| {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        };
        if let Some(version) = head.version {
            line("MCP-Protocol-Version: ", version);
        }
        if let Some(session) = head.session {
            line("Mcp-Session-Id: ", session);
        }
        if let Some(method) = head.method {
            line("Mcp-Method: ", method);
        }
        if let Some(name) = head.name {
            line("Mcp-Name: ", &translate::header_value(name));
        }
        out.extend_from_slice(head.lines);
        out.extend_from_slice(b"Content-Length: ");
        out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
    }

    /// The head of a GET that opens a stream.
    pub(crate) fn write_get_head(&self, out: &mut Vec<u8>, get: &Get<'_>) {
        out.extend_from_slice(b"GET");
        out.extend_from_slice(&self.fixed[b"POST".len()..]);
        let mut line = |name: &str, value: &[u8]| {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        };
        if let Some(version) = get.version {
            line("MCP-Protocol-Version: ", version.as_bytes());
        }
        if let Some(session) = get.session {
            line("Mcp-Session-Id: ", session.as_bytes());
        }
        if let Some(after) = get.after {
            line("Last-Event-ID: ", after);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// The head of a DELETE on the same URL.
    pub(crate) fn write_bare_head(
        &self,
        out: &mut Vec<u8>,
        verb: &str,
        session: &str,
        version: &str,
    ) {
        let rest = &self.fixed[b"POST".len()..];
        out.extend_from_slice(verb.as_bytes());
        out.extend_from_slice(rest);
        out.extend_from_slice(
            format!("MCP-Protocol-Version: {version}\r\nMcp-Session-Id: {session}\r\n\r\n")
                .as_bytes(),
        );
    }
}
