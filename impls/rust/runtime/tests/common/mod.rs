//! An upstream over hyper, for tests: an independent HTTP implementation on the other side of our codec.
#![allow(dead_code)] // not every test uses every knob

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A modern echo server; what it saw and what it is doing can be looked at.
#[derive(Debug, Default)]
pub struct Upstream {
    pub calls: Mutex<Vec<Value>>,
    pub names: Mutex<Vec<String>>,
    pub in_flight: AtomicUsize,
    pub hold: AtomicBool,
    /// Takes calls and closes the connection instead of an answer.
    pub hang_up: bool,
    pub legacy: bool,
}

impl Upstream {
    pub async fn start(self) -> (Arc<Self>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let upstream = Arc::new(self);
        let shared = Arc::clone(&upstream);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let upstream = Arc::clone(&shared);
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(move |request| {
                        Arc::clone(&upstream).answer(request)
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        (upstream, address)
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, std::io::Error> {
        struct Busy(Arc<Upstream>);
        impl Drop for Busy {
            fn drop(&mut self) {
                self.0.in_flight.fetch_sub(1, SeqCst);
            }
        }
        let name = request
            .headers()
            .get("mcp-name")
            .map(|value| value.to_str().expect("ascii").to_owned());
        let body = request
            .into_body()
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        let message: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let id = message["id"].clone();
        if id.is_null() {
            return Ok(Response::builder()
                .status(202)
                .body(Full::default())
                .expect("valid"));
        }
        let result = match message["method"].as_str() {
            Some("server/discover") if self.legacy => {
                let refusal = json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "what?"}});
                return Ok(json_response(&refusal));
            }
            Some("server/discover") => {
                json!({"resultType": "complete", "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {}}, "ttlMs": 0, "cacheScope": "private"})
            }
            Some("initialize") => {
                json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                "serverInfo": {"name": "up", "version": "1"}})
            }
            Some("tools/list") => {
                json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "private",
                "tools": [{"name": "echo", "inputSchema": {"type": "object", "$defs": {"kept": {}}}}]})
            }
            _ if self.hang_up => return Err(std::io::ErrorKind::ConnectionAborted.into()),
            _ => {
                self.in_flight.fetch_add(1, SeqCst);
                let _busy = Busy(Arc::clone(&self));
                self.calls.lock().expect("alive").push(message.clone());
                self.names.lock().expect("alive").extend(name);
                while self.hold.load(SeqCst) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                json!({"resultType": "complete", "content": [{"type": "text",
                    "text": message["params"]["arguments"]["text"]}]})
            }
        };
        Ok(json_response(
            &json!({"jsonrpc": "2.0", "id": id, "result": result}),
        ))
    }
}

fn json_response(message: &Value) -> Response<Full<Bytes>> {
    Response::builder()
        .header("content-type", "application/json")
        .body(Full::from(message.to_string()))
        .expect("valid")
}

/// Waits until `done` holds; a test that waits for ever says for what.
pub async fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..5_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never happened: {what}");
}
