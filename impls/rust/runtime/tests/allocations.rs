//! What a relayed request costs in memory: allocations of the gateway's own thread, counted and bounded.
//!
//! The rule: upstream and client run on threads of their own, and the upstream is bytes over a socket, so that every
//! allocation that is counted is the gateway's. Buffers are lent and given back; what is left are the small pieces that
//! each request owns (its id, the route's names, the edit that renames its tool).

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crossfade_runtime::{Config, Manager, ServerSpec};

/// Allocations per relayed request at most. Raise it only with a reason.
const MOST: u64 = 8;
/// Bytes per relayed request at most: far less than one buffer.
const MOST_BYTES: u64 = 256;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of its own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and `pointer` came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller keeps the contract of `realloc`, and `pointer` came from `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn count(bytes: usize) {
    if COUNTED.try_with(Cell::get).unwrap_or(false) {
        ALLOCATIONS.fetch_add(1, Relaxed);
        BYTES.fetch_add(bytes as u64, Relaxed);
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One message over HTTP/1.1 at the beginning of `seen`, if it is complete: its length, and its body.
fn message(seen: &[u8]) -> Option<(usize, &[u8])> {
    let head = memchr::memmem::find(seen, b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&seen[..head])
        .expect("ascii")
        .to_ascii_lowercase();
    let length: usize = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .and_then(|value| value.trim().parse().ok())
        .expect("a length");
    let body = seen.get(head..head + length)?;
    Some((head + length, body))
}

/// A modern server that answers everything at once, with `size` bytes of text.
fn upstream(size: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || answer(stream.expect("open"), size));
        }
    });
    address
}

fn answer(mut stream: TcpStream, size: usize) {
    let text = "x".repeat(size);
    let mut seen = Vec::new();
    let mut chunk = vec![0; 65_536];
    loop {
        let read = stream.read(&mut chunk).unwrap_or(0);
        if read == 0 {
            return;
        }
        seen.extend_from_slice(&chunk[..read]);
        while let Some((length, body)) = message(&seen) {
            let message: serde_json::Value = serde_json::from_slice(body).expect("json");
            let result = if message["method"] == "server/discover" {
                r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}"#
                    .to_owned()
            } else {
                format!(
                    r#"{{"resultType":"complete","content":[{{"type":"text","text":"{text}"}}]}}"#
                )
            };
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#,
                message["id"]
            );
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            stream
                .write_all(&[head.as_bytes(), body.as_bytes()].concat())
                .expect("open");
            seen.drain(..length);
        }
    }
}

fn request(size: usize) -> Vec<u8> {
    let text = "y".repeat(size);
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"fix__echo","arguments":{{"text":"{text}"}},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
    );
    format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: fix__echo\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn calls(client: &mut TcpStream, request: &[u8], times: usize) {
    let mut seen = Vec::new();
    let mut chunk = vec![0; 65_536];
    for _ in 0..times {
        client.write_all(request).expect("open");
        seen.clear();
        loop {
            let read = client.read(&mut chunk).expect("open");
            assert_ne!(read, 0, "closed");
            seen.extend_from_slice(&chunk[..read]);
            if let Some((length, body)) = message(&seen) {
                assert!(memchr::memmem::find(body, b"\"result\"").is_some());
                assert_eq!(length, seen.len());
                break;
            }
        }
    }
}

/// Allocations and bytes per request, rounded up.
fn cost(address: SocketAddr, size: usize, times: u64) -> (u64, u64) {
    let mut client = TcpStream::connect(address).expect("listening");
    client.set_nodelay(true).expect("tcp");
    let request = request(size);
    calls(&mut client, &request, 200); // buffers, connections and the era are there now
    let before = (ALLOCATIONS.load(Relaxed), BYTES.load(Relaxed));
    calls(
        &mut client,
        &request,
        usize::try_from(times).expect("small"),
    );
    let after = (ALLOCATIONS.load(Relaxed), BYTES.load(Relaxed));
    (
        (after.0 - before.0).div_ceil(times),
        (after.1 - before.1).div_ceil(times),
    )
}

#[test]
fn a_relayed_request_reuses_its_buffers() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .on_thread_start(|| COUNTED.set(true))
        .enable_all()
        .build()
        .expect("a runtime");
    for size in [16, 4_096] {
        let spec = ServerSpec {
            name: "fix".to_owned(),
            urls: vec![format!("http://{}/mcp", upstream(size))],
            ..ServerSpec::default()
        };
        let config = Config {
            servers: vec![spec],
            ..Config::default()
        };
        let manager = Manager::new(config, runtime.handle().clone());
        let gateway = runtime.block_on(async {
            manager.start().await.expect("starts");
            manager.serve("127.0.0.1", 0).await.expect("a free port")
        });
        let (allocations, bytes) = cost(gateway.addr(), size, 2_000);
        println!(
            "relay of {size} B: {allocations} allocations, {bytes} bytes allocated per request"
        );
        assert!(allocations <= MOST, "{allocations} allocations per request");
        assert!(bytes <= MOST_BYTES, "{bytes} bytes allocated per request");
        runtime.block_on(manager.close(Duration::ZERO));
    }
}
