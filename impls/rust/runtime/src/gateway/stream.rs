//! The event stream that a legacy client opens with GET: list changes, and comment lines that keep it open.
//!
//! The rule: a message goes out on one stream only, so the second stream of a session stays silent (2025-11-25
//! transports, "Multiple Connections").

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use super::client::{Client, Turn};
use super::sessions::Session;
use crate::events::EventKind;
use crate::wire::io;

const KEEP_ALIVE: Duration = Duration::from_secs(15);
const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\
    X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n";

struct Open<'a>(&'a Session);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.streaming.store(false, Relaxed);
        self.0.touch();
    }
}

enum Next {
    Event(Vec<u8>),
    Beat,
    End,
    Gone,
}

pub(crate) async fn run(client: &mut Client, session: Arc<Session>) -> Turn {
    let open = (!session.streaming.swap(true, Relaxed)).then(|| Open(&session));
    let speaks = open.is_some();
    let events = client.gateway.manager.shared.events.subscribe();
    let closing = Arc::clone(&client.gateway);
    if io::write(&mut client.stream, HEAD).await.is_err() {
        return Turn::Close;
    }
    let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
    loop {
        let ended = session.end.notified();
        if session.ended.load(Relaxed) || closing.is_closing() {
            let _ = io::write(&mut client.stream, b"0\r\n\r\n").await;
            return Turn::Close;
        }
        let next = tokio::select! {
            event = events.recv() => match event {
                Some(event) if event.kind == EventKind::ListChanged && speaks => {
                    Next::Event(format!(
                        "event: message\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/{}/list_changed\"}}\n\n",
                        event.new.as_deref().unwrap_or("tools")
                    ).into_bytes())
                }
                Some(_) => continue,
                None => Next::End,
            },
            _ = beat.tick() => Next::Beat,
            () = ended => continue,
            () = closing.stopping() => continue,
            () = poll_fn(|cx| if client.poll_gone(cx) { Poll::Ready(()) } else { Poll::Pending }) => Next::Gone,
        };
        let payload: &[u8] = match &next {
            Next::Event(event) => event,
            Next::Beat => b":\n\n",
            Next::End => {
                let _ = io::write(&mut client.stream, b"0\r\n\r\n").await;
                return Turn::Close;
            }
            Next::Gone => return Turn::Close,
        };
        let mut chunk = format!("{:x}\r\n", payload.len()).into_bytes();
        chunk.extend_from_slice(payload);
        chunk.extend_from_slice(b"\r\n");
        if io::write(&mut client.stream, &chunk).await.is_err() {
            return Turn::Close;
        }
    }
}
