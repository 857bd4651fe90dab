//! A legacy server over bytes whose only tool asks for the roots of its client, and a client that reads streams.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(10);

/// What the server saw.
#[derive(Debug)]
pub struct Asker {
    capabilities: Mutex<Vec<Value>>,
    calls: Mutex<usize>,
    answer: watch::Sender<Option<Value>>,
}

impl Asker {
    pub async fn start() -> (Arc<Self>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let asker = Arc::new(Self {
            capabilities: Mutex::default(),
            calls: Mutex::default(),
            answer: watch::channel(None).0,
        });
        let shared = Arc::clone(&asker);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&shared).serve(stream));
            }
        });
        (asker, address)
    }

    /// With which capabilities it was initialised, each time.
    pub fn capabilities(&self) -> Vec<Value> {
        self.capabilities.lock().expect("alive").clone()
    }

    pub fn calls(&self) -> usize {
        *self.calls.lock().expect("alive")
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let mut seen = Vec::new();
        while let Some(message) = read(&mut stream, &mut seen).await {
            let id = message["id"].clone();
            let result = match message["method"].as_str() {
                Some("initialize") => {
                    let declared = message["params"]["capabilities"].clone();
                    self.capabilities.lock().expect("alive").push(declared);
                    json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                        "serverInfo": {"name": "asker", "version": "1"}})
                }
                Some("tools/call") => {
                    self.ask(&mut stream, &id).await;
                    continue;
                }
                Some("server/discover") => {
                    let error = json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "what?"}});
                    reply(&mut stream, "200 OK", &error.to_string()).await;
                    continue;
                }
                _ => {
                    if message["id"] == "ours" {
                        self.answer.send_replace(Some(message));
                    }
                    reply(&mut stream, "202 Accepted", "").await;
                    continue;
                }
            };
            let answer = json!({"jsonrpc": "2.0", "id": id, "result": result});
            reply(&mut stream, "200 OK", &answer.to_string()).await;
        }
    }

    async fn ask(&self, stream: &mut TcpStream, id: &Value) {
        *self.calls.lock().expect("alive") += 1;
        let mut answers = self.answer.subscribe();
        let head =
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
        let told = json!({"jsonrpc": "2.0", "method": "notifications/progress",
            "params": {"progressToken": "t", "progress": 1}});
        let asked = json!({"jsonrpc": "2.0", "id": "ours", "method": "roots/list"});
        let begin = format!("{head}id: theirs\ndata: {told}\n\nid: theirs2\ndata: {asked}\n\n");
        stream.write_all(begin.as_bytes()).await.expect("open");
        let waiting = async {
            answers
                .wait_for(Option::is_some)
                .await
                .map(|found| found.clone())
        };
        let Ok(Ok(Some(answer))) = tokio::time::timeout(PATIENCE, waiting).await else {
            return;
        };
        let content = if answer["result"].is_null() {
            answer["error"].clone()
        } else {
            answer["result"].clone()
        };
        let done = json!({"jsonrpc": "2.0", "id": id, "result": {"content": content}});
        let end = format!("data: {done}\n\n");
        let _ = stream.write_all(end.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

async fn reply(stream: &mut TcpStream, status: &str, body: &str) {
    let kind = "Content-Type: application/json\r\nMcp-Session-Id: s";
    let head = format!(
        "HTTP/1.1 {status}\r\n{kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
}

/// The next message that was posted.
async fn read(stream: &mut TcpStream, seen: &mut Vec<u8>) -> Option<Value> {
    loop {
        if let Some(end) = memchr::memmem::find(seen, b"\r\n\r\n").map(|at| at + 4) {
            let head = String::from_utf8_lossy(&seen[..end]).to_ascii_lowercase();
            let line = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let length = line.map_or(0, |text| text.trim().parse().expect("a number"));
            if seen.len() >= end + length {
                let message = serde_json::from_slice(&seen[end..end + length]);
                seen.drain(..end + length);
                return Some(message.unwrap_or(Value::Null));
            }
        }
        if stream.read_buf(seen).await.ok()? == 0 {
            return None;
        }
    }
}

/// A whole response.
pub struct Answer {
    pub head: String,
    pub body: String,
}

fn request(to: SocketAddr, heads: &str, body: &str) -> String {
    format!(
        "POST /mcp HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nConnection: close\r\n{heads}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub async fn post(to: SocketAddr, heads: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(to).await.expect("listening");
    let request = request(to, heads, body);
    stream.write_all(request.as_bytes()).await.expect("open");
    let mut seen = Vec::new();
    let reading = stream.read_to_end(&mut seen);
    tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("in time")
        .expect("readable");
    let text = String::from_utf8(seen).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    Answer {
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// An answer that comes as a stream.
pub struct Stream {
    stream: TcpStream,
    seen: Vec<u8>,
}

impl Stream {
    pub async fn open(to: SocketAddr, heads: &str, body: &str) -> Self {
        let mut stream = TcpStream::connect(to).await.expect("listening");
        let request = request(to, heads, body);
        stream.write_all(request.as_bytes()).await.expect("open");
        let seen = Vec::new();
        Self { stream, seen }
    }

    /// The first message that is `wanted`, however often it is looked for.
    pub async fn message(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let text = String::from_utf8_lossy(&self.seen);
            let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
            let mut messages = data.filter_map(|data| serde_json::from_str(data).ok());
            if let Some(found) = messages.find(|message| wanted(message)) {
                return found;
            }
            let reading = self.stream.read_buf(&mut self.seen);
            let read = tokio::time::timeout(PATIENCE, reading)
                .await
                .expect("in time");
            assert_ne!(read.expect("readable"), 0, "it ended without it");
        }
    }
}
