//! The gateway between two independent HTTP implementations (hyper on both sides): our codec has no private dialect.

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use bytes::Bytes;
use common::{Upstream, until};
use crossfade_runtime::{Config, GatewayHandle, Manager, ServerSpec};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Served {
    upstream: Arc<Upstream>,
    manager: Arc<Manager>,
    gateway: GatewayHandle,
}

async fn served(upstream: Upstream) -> Served {
    let (upstream, address) = upstream.start().await;
    let spec = ServerSpec {
        name: "fix".to_owned(),
        urls: vec![format!("http://{address}/mcp")],
        ..ServerSpec::default()
    };
    let config = Config {
        servers: vec![spec],
        ..Config::default()
    };
    let manager = Manager::new(config, tokio::runtime::Handle::current());
    manager.start().await.expect("starts");
    let gateway = manager.serve("127.0.0.1", 0).await.expect("a free port");
    Served {
        upstream,
        manager,
        gateway,
    }
}

fn call(text: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": "a", "method": "tools/call", "params": {"name": "fix__echo",
        "arguments": {"text": text, "odd": 1.50}, "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {}, "x-vendor/k": [1]}}})
}

fn post(body: &Value) -> Request<Full<Bytes>> {
    Request::post("/mcp")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-name", "fix__echo")
        .body(Full::from(body.to_string()))
        .expect("valid")
}

async fn sender(served: &Served) -> hyper::client::conn::http1::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(served.gateway.addr())
        .await
        .expect("listening");
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .expect("http");
    tokio::spawn(connection);
    sender
}

async fn json_of(response: Response<hyper::body::Incoming>) -> (StatusCode, Value) {
    let status = response.status();
    let body = response
        .into_body()
        .collect()
        .await
        .expect("whole")
        .to_bytes();
    (status, serde_json::from_slice(&body).expect("json"))
}

#[tokio::test]
async fn calls_of_all_sizes_pass_and_only_the_name_changes() {
    let served = served(Upstream::default()).await;
    let mut sender = sender(&served).await;
    for size in [0, 16, 3_000, 16_384, 70_000, 1 << 20] {
        let text = "é".repeat(size / 2);
        let (status, answer) =
            json_of(sender.send_request(post(&call(&text))).await.expect("sent")).await;
        assert_eq!(status, 200);
        assert_eq!(answer["id"], "a");
        assert_eq!(
            answer["result"]["content"][0]["text"],
            Value::from(text.clone()),
            "{size}"
        );
        let seen = served
            .upstream
            .calls
            .lock()
            .expect("alive")
            .pop()
            .expect("it arrived");
        let mut wanted = call(&text);
        wanted["params"]["name"] = "echo".into();
        assert_eq!(seen, wanted);
        assert_eq!(
            served
                .upstream
                .names
                .lock()
                .expect("alive")
                .pop()
                .as_deref(),
            Some("echo")
        );
    }
    assert_eq!(served.manager.metrics().requests, 6);
    served.manager.close(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_modern_client_of_a_legacy_server_gets_what_its_revision_requires() {
    let served = served(Upstream {
        legacy: true,
        ..Upstream::default()
    })
    .await;
    let mut sender = sender(&served).await;
    let (_, answer) = json_of(sender.send_request(post(&call("x"))).await.expect("sent")).await;
    assert_eq!(answer["result"]["resultType"], "complete");
    let seen = served
        .upstream
        .calls
        .lock()
        .expect("alive")
        .pop()
        .expect("it arrived");
    assert_eq!(seen["params"]["_meta"], json!({"x-vendor/k": [1]}));
    served.manager.close(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_client_that_leaves_closes_its_connection_upstream() {
    let served = served(Upstream::default()).await;
    let mut sender = sender(&served).await;
    json_of(
        sender
            .send_request(post(&call("warm")))
            .await
            .expect("sent"),
    )
    .await;
    served.upstream.hold.store(true, SeqCst);
    let waiting =
        tokio::spawn(async move { sender.send_request(post(&call("x"))).await.map(|_| ()) });
    until("the call upstream", || {
        served.upstream.in_flight.load(SeqCst) == 1
    })
    .await;
    waiting.abort();
    until("hyper to notice", || {
        served.upstream.in_flight.load(SeqCst) == 0
    })
    .await;
    until("the books to balance", || {
        served.manager.metrics().in_flight == 0
    })
    .await;
    served.upstream.hold.store(false, SeqCst);
    served.manager.close(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_request_byte_by_byte_and_two_at_once_are_the_same_requests() {
    let served = served(Upstream::default()).await;
    let body = call("drip").to_string();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: fix__echo\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(served.gateway.addr())
        .await
        .expect("listening");
    stream.set_nodelay(true).expect("tcp");
    for byte in request.as_bytes() {
        stream.write_all(&[*byte]).await.expect("open");
    }
    stream
        .write_all(request.repeat(2).as_bytes())
        .await
        .expect("open");
    let mut seen = Vec::new();
    while memchr::memmem::find_iter(&seen, b"\"drip\"").count() < 3 {
        assert_ne!(
            stream.read_buf(&mut seen).await.expect("open"),
            0,
            "closed early"
        );
    }
    assert_eq!(
        memchr::memmem::find_iter(&seen, b"HTTP/1.1 200 OK").count(),
        3
    );
    served.manager.close(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_closed_gateway_ends_idle_connections_and_frees_its_port() {
    let served = served(Upstream::default()).await;
    let mut idle = TcpStream::connect(served.gateway.addr())
        .await
        .expect("listening");
    until("the connection", || served.manager.metrics().clients == 1).await;
    served.gateway.close(Duration::from_secs(1)).await;
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap_or(0), 0);
    assert!(TcpStream::connect(served.gateway.addr()).await.is_err());
    served
        .manager
        .serve("127.0.0.1", served.gateway.addr().port())
        .await
        .expect("the port is free again");
    served.manager.close(Duration::from_secs(1)).await;
}
