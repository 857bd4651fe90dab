//! One URL of a Streamable HTTP server: heads, the agreed era, and calls of the manager's own.
//!
//! The rule: after a 404 told that the session is gone, a call goes once into a new one, and never in a loop. The
//! gateway's streaming relay shares the heads and leases.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use super::discovery::{self, Agreed, Verdict};
use super::exchange::Answer;
use super::lease::Connections;
use super::session::UpstreamSession;
use super::{Outgoing, Server, Shared};
use crate::config::{EraSpec, ServerSpec};
use crate::envelope::{self, Envelope};
use crate::error::{Error, RemoteFault, Result};
use crate::info::Era;
use crate::translate::{self, MODERN};

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

#[derive(Debug)]
pub(crate) struct HttpLink {
    name: String,
    url: String,
    pub(super) fixed: Vec<u8>,
    pub(crate) pool: Arc<Connections>,
    era: EraSpec,
    start_timeout: Duration,
    pub(crate) max_message: usize,
    shared: Arc<Shared>,
    server: Weak<Server>,
    agreed: ArcSwapOption<Agreed>,
    /// The manager's own session with a legacy server.
    session: ArcSwapOption<UpstreamSession>,
    preparing: tokio::sync::Mutex<()>,
    ids: AtomicU64,
}

/// Host, port and path of an `http://` URL.
pub(crate) fn parse_url(url: &str) -> Option<(String, u16, String, String)> {
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

impl HttpLink {
    pub(crate) fn new(
        spec: &ServerSpec,
        url: &str,
        shared: &Arc<Shared>,
        server: Weak<Server>,
    ) -> Arc<Self> {
        // A URL that cannot be parsed fails at connect, with its text in the message.
        let (host, port, path, authority) =
            parse_url(url).unwrap_or_else(|| (url.to_owned(), 80, "/".to_owned(), String::new()));
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
        Arc::new(Self {
            name: spec.name.clone(),
            url: url.to_owned(),
            fixed,
            pool: Connections::new(spec, url, (host, port), shared.handle.clone()),
            era: spec.era,
            start_timeout: Duration::from_millis(spec.start_timeout_ms),
            max_message: spec.max_message_bytes,
            shared: Arc::clone(shared),
            server,
            agreed: ArcSwapOption::empty(),
            session: ArcSwapOption::empty(),
            preparing: tokio::sync::Mutex::new(()),
            ids: AtomicU64::new(1),
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn agreed(&self) -> Option<Arc<Agreed>> {
        self.agreed.load_full()
    }

    /// The agreed era, if there is one already; cheaper than [`HttpLink::agreed`].
    pub(crate) fn era(&self) -> Option<Era> {
        self.agreed.load().as_ref().map(|agreed| agreed.era)
    }

    /// True if the manager's own conversation has a session id, which makes ids shared.
    pub(crate) fn shared_session(&self) -> Option<Arc<UpstreamSession>> {
        self.session.load_full()
    }

    pub(crate) fn connections(&self) -> usize {
        self.pool.open()
    }

    pub(crate) fn tick(&self) {
        self.pool.tick();
    }

    pub(crate) async fn close(&self) {
        if let Some(session) = self.session.swap(None) {
            let _ = tokio::time::timeout(Duration::from_secs(1), session.end(self)).await;
        }
        self.pool.drain();
    }

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

    /// The head of a DELETE or GET on the same URL.
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

    // -- errors

    pub(crate) fn crashed(&self, why: &std::io::Error) -> Error {
        Error::ServerCrashed {
            message: format!(
                "server '{}' at {} closed the connection during the call ({why}); check its log, then call again",
                self.name, self.url
            ),
            server: self.name.clone(),
        }
    }

    pub(crate) fn violation(&self, what: &str) -> Error {
        Error::ProtocolViolation {
            message: format!(
                "server '{}' at {} {what}; check the server and its url",
                self.name, self.url
            ),
            server: self.name.clone(),
        }
    }

    pub(crate) fn too_long(&self) -> Error {
        Error::ProtocolViolation {
            message: format!(
                "server '{}' at {} sent a message of more than {} bytes; raise maxMessageBytes if that is intended",
                self.name, self.url, self.max_message
            ),
            server: self.name.clone(),
        }
    }

    pub(crate) fn timeout(&self, method: &str) -> Error {
        Error::ServerTimeout {
            message: format!(
                "server '{}' at {} did not answer {method} in time; check the server, or raise timeoutMs",
                self.name, self.url
            ),
            server: self.name.clone(),
        }
    }

    // -- calls of the manager's own

    /// The agreement; finds it out first if nobody has. Callers share one attempt.
    pub(crate) async fn ready(self: &Arc<Self>, deadline: Instant) -> Result<Arc<Agreed>> {
        if let Some(agreed) = self.agreed.load_full() {
            return Ok(agreed);
        }
        Box::pin(self.prepare(deadline)).await
    }

    async fn prepare(self: &Arc<Self>, deadline: Instant) -> Result<Arc<Agreed>> {
        let limit = deadline.min(Instant::now() + self.start_timeout);
        let _one = self.preparing.lock().await;
        if let Some(agreed) = self.agreed.load_full() {
            return Ok(agreed);
        }
        let agreed = match self.era {
            EraSpec::Legacy => None,
            EraSpec::Auto | EraSpec::Modern => match self.discover(limit).await? {
                Verdict::Modern(agreed) => Some(agreed),
                Verdict::Legacy if self.era == EraSpec::Auto => None,
                Verdict::Legacy => {
                    return Err(
                        self.no_era("it does not answer server/discover as a modern server")
                    );
                }
                Verdict::Stranger(why) => return Err(self.no_era(&why)),
            },
        };
        let agreed = if let Some(agreed) = agreed {
            agreed
        } else {
            let (session, agreed) = UpstreamSession::open(self, limit).await?;
            self.session.store(Some(Arc::new(session)));
            agreed
        };
        let agreed = Arc::new(agreed);
        self.agreed.store(Some(Arc::clone(&agreed)));
        Ok(agreed)
    }

    fn no_era(&self, why: &str) -> Error {
        Error::ServerStart {
            message: format!(
                "server '{}' at {}: no MCP revision could be agreed on ({why}); check the url, or set era",
                self.name, self.url
            ),
            server: self.name.clone(),
        }
    }

    async fn discover(self: &Arc<Self>, deadline: Instant) -> Result<Verdict> {
        let head = Head {
            version: Some(MODERN),
            method: Some("server/discover"),
            ..Head::default()
        };
        let answer = self
            .roundtrip(
                &head,
                "server/discover",
                &discovery::discover_params(),
                deadline,
            )
            .await;
        match answer {
            Ok((answer, _)) => match self.read(&answer) {
                Ok(read) => Ok(discovery::judge(&read)),
                Err(_) => Ok(Verdict::Legacy), // no JSON-RPC in it: basic/versioning says fall back
            },
            Err(error @ Error::ServerStart { .. }) => Err(error),
            Err(error) => Err(self.start_error(&error)),
        }
    }

    pub(crate) fn start_error(&self, error: &Error) -> Error {
        Error::ServerStart {
            message: error.message(),
            server: self.name.clone(),
        }
    }

    /// Sends `method` with an id of the manager's own.
    pub(crate) async fn roundtrip(
        self: &Arc<Self>,
        head: &Head<'_>,
        method: &str,
        params: &[u8],
        deadline: Instant,
    ) -> Result<(Answer, u64)> {
        let id = self.next_id();
        Ok((self.ask(id, head, method, params, deadline).await?, id))
    }

    fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Relaxed)
    }

    async fn ask(
        self: &Arc<Self>,
        id: u64,
        head: &Head<'_>,
        method: &str,
        params: &[u8],
        deadline: Instant,
    ) -> Result<Answer> {
        let body = request_body(id, method, params);
        let mut request = Vec::with_capacity(self.fixed.len() + 256 + body.len());
        self.write_head(&mut request, head, body.len());
        request.extend_from_slice(&body);
        self.send(&request, Some(id), deadline, method).await
    }

    /// One call; see [`super::Link::call`].
    pub(crate) async fn call(self: &Arc<Self>, outgoing: Outgoing<'_>) -> Result<Bytes> {
        let agreed = self.ready(outgoing.deadline).await?;
        let modern = agreed.era == Era::Modern;
        let params = hop_params(outgoing.params, modern, outgoing.caller.capabilities)?;
        let mut renewed = false;
        loop {
            let session = self.session.load_full().filter(|_| !modern);
            let head = Head {
                version: Some(&agreed.version),
                session: session.as_ref().and_then(|session| session.id.as_deref()),
                method: modern.then_some(outgoing.method),
                name: outgoing.name.filter(|_| modern),
                lines: outgoing.lines,
            };
            let id = self.next_id();
            let mut given_up = GivenUp {
                link: self,
                session: session.clone(),
                id,
                cancels: outgoing.caller.cancels,
                over: modern,
            };
            let answer = self
                .ask(id, &head, outgoing.method, &params, outgoing.deadline)
                .await;
            given_up.over |= !matches!(answer, Err(Error::ServerTimeout { .. }));
            drop(given_up);
            let answer = answer?;
            if answer.status == 404 && head.session.is_some() && !renewed {
                // The session is gone; once anew, and never in a loop (2025-11-25 transports, "Session Management" 4).
                renewed = true;
                self.renew(session.as_deref(), outgoing.deadline).await?;
                continue;
            }
            return match self.read(&answer)? {
                Ok(result) => Ok(result),
                Err(fault) => Err(Error::Remote {
                    fault: Box::new(fault),
                    server: self.name.clone(),
                }),
            };
        }
    }

    /// Opens a new session of the manager's own, unless somebody else just did.
    pub(crate) async fn renew(
        self: &Arc<Self>,
        old: Option<&UpstreamSession>,
        deadline: Instant,
    ) -> Result<()> {
        let _one = self.preparing.lock().await;
        let current = self.session.load_full();
        if current.as_deref().and_then(|session| session.id.as_deref())
            != old.and_then(|session| session.id.as_deref())
        {
            return Ok(());
        }
        let (session, _) = UpstreamSession::open(self, deadline).await?;
        self.session.store(Some(Arc::new(session)));
        Ok(())
    }

    /// The result or error object of a JSON-RPC answer.
    pub(crate) fn read(&self, answer: &Answer) -> Result<Result<Bytes, RemoteFault>> {
        let Ok(found) = envelope::scan(&answer.body) else {
            return Err(self.no_answer(answer));
        };
        read_message(&answer.body, &found).ok_or_else(|| self.no_answer(answer))
    }

    fn no_answer(&self, answer: &Answer) -> Error {
        let what = match (answer.status, answer.body.is_empty()) {
            (200, true) => "ended its answer without a JSON-RPC response".to_owned(),
            (200, false) => format!(
                "answered what is no JSON-RPC response: {:?}",
                String::from_utf8_lossy(&answer.body[..answer.body.len().min(80)])
            ),
            (status, _) => format!("answered HTTP {status} without a JSON-RPC response"),
        };
        self.violation(&what)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Sends a notification without waiting for it.
    pub(crate) fn tell(self: &Arc<Self>, session: Arc<UpstreamSession>, note: Vec<u8>) {
        let link = Arc::clone(self);
        self.shared.handle.spawn(async move {
            let head = Head {
                version: Some(&session.version),
                session: session.id.as_deref(),
                ..Head::default()
            };
            // Whoever cancels has no use for an answer.
            let _ = link
                .exchange(&head, &note, None, Instant::now() + Duration::from_secs(5))
                .await;
        });
    }

    pub(crate) fn notice(&self, message: &[u8], found: &Envelope) {
        let Some(method) = found
            .method
            .and_then(|span| envelope::text(span.of(message)))
        else {
            return;
        };
        if method.ends_with("/list_changed")
            && let Some(server) = self.server.upgrade()
        {
            server.list_changed(&method);
        }
    }
}

/// Result or error object of a complete response message.
pub(crate) fn read_message(body: &[u8], found: &Envelope) -> Option<Result<Bytes, RemoteFault>> {
    if !found.complete || found.method.is_some() {
        return None;
    }
    match (found.result, found.error) {
        (Some(result), None) => Some(Ok(Bytes::copy_from_slice(result.of(body)))),
        (None, Some(error)) => Some(Err(discovery::fault(Bytes::copy_from_slice(
            error.of(body),
        )))),
        _ => None,
    }
}

/// A JSON-RPC request whose params are JSON already (empty for none).
pub(crate) fn request_body(id: u64, method: &str, params: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(64 + method.len() + params.len());
    body.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    body.extend_from_slice(itoa::Buffer::new().format(id).as_bytes());
    body.extend_from_slice(b",\"method\":");
    translate::push_json_string(&mut body, method);
    if !params.is_empty() {
        body.extend_from_slice(b",\"params\":");
        body.extend_from_slice(params);
    }
    body.push(b'}');
    body
}

/// `params` with `_meta` as the next hop wants it.
pub(crate) fn hop_params(params: &[u8], modern: bool, capabilities: &[u8]) -> Result<Vec<u8>> {
    let params: &[u8] = if params.is_empty() { b"{}" } else { params };
    let bad = |fault| Error::Config {
        message: format!("params are not a JSON object ({fault:?}); pass one"),
    };
    let found = envelope::scan_params(params).map_err(bad)?;
    let edit = translate::meta_edit(params, &found, modern, capabilities).map_err(bad)?;
    let mut out = Vec::with_capacity(params.len() + 256);
    translate::splice(params, edit.as_slice(), &mut out);
    Ok(out)
}

/// Tells a legacy server that nobody waits any more: to it a closed connection is no cancellation.
struct GivenUp<'a> {
    link: &'a Arc<HttpLink>,
    session: Option<Arc<UpstreamSession>>,
    id: u64,
    cancels: Option<&'a AtomicBool>,
    over: bool,
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take().filter(|_| !self.over)
            && self.cancels.is_none_or(|asked| asked.load(Relaxed))
        {
            let note = format!(
                "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{}}}}}",
                self.id
            );
            self.link.tell(session, note.into_bytes());
        }
    }
}
