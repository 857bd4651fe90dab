//! A legacy server that asks in the middle of a call: whoever asked it answers, and nobody else can.

mod asker;

use std::net::SocketAddr;
use std::time::Duration;

use asker::{Asker, Stream, post};
use crossfade_runtime::{Config, GatewayHandle, Manager, ServerSpec};
use serde_json::{Value, json};
use std::sync::Arc;

async fn gateway(address: SocketAddr) -> (Arc<Manager>, GatewayHandle) {
    let spec = ServerSpec {
        name: "ask".to_owned(),
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
    (manager, gateway)
}

const MODERN: &str =
    "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: ask__it\r\n";
const REPLY: &str = r#"{"roots":[{"uri":"file:///x","n":1.50}]}"#;

fn call(id: u64, more: &Value) -> String {
    let mut params = json!({"name": "ask__it", "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {"roots": {}}}});
    for (key, value) in more.as_object().expect("an object") {
        params[key] = value.clone();
    }
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string()
}

async fn modern(gateway: SocketAddr, heads: &str, id: u64, more: &Value) -> Value {
    let answer = post(gateway, &format!("{MODERN}{heads}"), &call(id, more)).await;
    serde_json::from_str(&answer.body).expect("one JSON body")
}

#[tokio::test]
async fn a_suspended_call_is_resumed_once_and_only_by_who_was_asked() {
    let (server, address) = Asker::start().await;
    let (manager, gateway) = gateway(address).await;
    let to = gateway.addr();
    let mine = "Authorization: Bearer mine\r\n";
    let asked = modern(to, mine, 1, &json!({})).await;
    let result = &asked["result"];
    assert_eq!(result["resultType"], "input_required", "{asked}");
    assert_eq!(result["inputRequests"]["input-1"]["method"], "roots/list");
    assert_eq!(server.capabilities(), [json!({}), json!({"roots": {}})]);
    let token = result["requestState"].as_str().expect("a token").to_owned();
    let reply: Value = serde_json::from_str(REPLY).expect("valid");
    let answers = json!({"input-1": reply, "nobody-asked": {}});
    let retry = |token: &str| json!({"requestState": token, "inputResponses": answers});
    let mut forged = token.clone().into_bytes();
    forged[30] ^= 1;
    let forged = String::from_utf8(forged).expect("text");
    for (heads, more) in [
        (mine, retry(&forged)),
        (mine, retry("")),
        ("Authorization: Bearer other\r\n", retry(&token)),
        (
            mine,
            json!({"requestState": token, "arguments": {"other": 1}}),
        ),
    ] {
        let refused = modern(to, heads, 2, &more).await;
        assert_eq!(refused["error"]["code"], -32602, "{refused}");
    }
    // What is missing is asked for again; what was wrong before has harmed nothing.
    let again = modern(to, mine, 3, &json!({"requestState": token})).await;
    let result = &again["result"];
    assert_eq!(result["inputRequests"]["input-1"]["method"], "roots/list");
    let next = result["requestState"].as_str().expect("a token").to_owned();
    let used = modern(to, mine, 4, &retry(&token)).await;
    assert_eq!(used["error"]["code"], -32602, "{used}");
    let done = modern(to, mine, 5, &retry(&next)).await;
    assert_eq!(done["result"]["content"], reply, "{done}");
    let used = modern(to, mine, 6, &retry(&next)).await;
    assert_eq!(used["error"]["code"], -32602, "{used}");
    assert_eq!(server.calls(), 1);
    manager.close(Duration::ZERO).await;
}

async fn session(to: SocketAddr, capabilities: &Value) -> String {
    let message = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": {"name": "c", "version": "1"}}});
    let answer = post(to, "", &message.to_string()).await;
    let line = answer
        .head
        .lines()
        .find(|line| line.starts_with("Mcp-Session-Id"));
    format!("{}\r\n", line.expect("a session"))
}

const CALL: &str =
    r#"{"jsonrpc":"2.0","id":"q","method":"tools/call","params":{"name":"ask__it"}}"#;

#[tokio::test]
async fn a_legacy_client_answers_its_own_question_and_no_other_clients() {
    let (server, address) = Asker::start().await;
    let (manager, gateway) = gateway(address).await;
    let to = gateway.addr();
    let roots = json!({"roots": {}});
    let (mine, other) = (session(to, &roots).await, session(to, &roots).await);
    let mut stream = Stream::open(to, &mine, CALL).await;
    let question = stream
        .message(|message| message["method"] == "roots/list")
        .await;
    let answer = |result: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#,
            question["id"]
        )
    };
    let foreign = post(to, &other, &answer(r#"{"roots":[]}"#)).await;
    assert!(foreign.head.starts_with("HTTP/1.1 202"), "{}", foreign.head);
    let own = post(to, &mine, &answer(REPLY)).await;
    assert!(own.head.starts_with("HTTP/1.1 202"), "{}", own.head);
    let done = stream.message(|message| message["id"] == "q").await;
    let reply: Value = serde_json::from_str(REPLY).expect("valid");
    assert_eq!(done["result"]["content"], reply);
    assert_eq!(server.capabilities().last(), Some(&roots));
    manager.close(Duration::ZERO).await;
}

#[tokio::test]
async fn a_client_that_declared_nothing_is_not_asked_and_its_stream_has_our_event_ids() {
    let (_server, address) = Asker::start().await;
    let (manager, gateway) = gateway(address).await;
    let to = gateway.addr();
    let mine = session(to, &json!({})).await;
    let answer = post(to, &mine, CALL).await;
    let text = &answer.body;
    assert!(!text.contains("roots/list"), "{text}");
    assert!(text.contains(r#""progressToken":"t""#), "{text}");
    assert!(text.contains("-32601"), "the server was told so: {text}");
    assert!(
        text.contains("id: 1-2") && !text.contains("theirs"),
        "{text}"
    );
    manager.close(Duration::ZERO).await;
}
