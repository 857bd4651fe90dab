//! The event stream that a legacy client opens with GET: what belongs to no request, and what it missed elsewhere.
//!
//! The rules (2025-11-25 transports, "Multiple Connections" and "Resumability"): a message goes out on one stream only, so
//! the second general stream of a session stays silent; with `Last-Event-ID` a stream goes on behind that event, and
//! whichever connection had it before loses it. Whoever comes too late for some events is told so in a comment, and of
//! changes once more, as each may have been among them.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use super::client::{Client, Turn};
use super::hears::notification;
use super::replay::EventId;
use super::sessions::Session;
use super::{Gateway, sse};
use crate::news::List;

/// A connection that listens to a session.
struct Open<'a> {
    session: &'a Session,
    gateway: &'a Gateway,
    shown: Option<Shown>,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if let Some(shown) = self.shown {
            let streams = self.session.streams(self.gateway);
            streams.leave(shown.stream, shown.taken);
        }
        self.session.streaming.fetch_sub(1, Relaxed);
        self.session.touch();
    }
}

/// The stream that this connection shows.
#[derive(Clone, Copy, Debug)]
struct Shown {
    stream: u64,
    /// What was shown last.
    n: u64,
    taken: u64,
    /// It is the one that tells of changes.
    general: bool,
}

enum Next {
    Grown,
    Beat,
    End,
    Gone,
}

pub(crate) async fn run(
    client: &mut Client,
    session: Arc<Session>,
    after: Option<Vec<u8>>,
) -> Turn {
    let gateway = Arc::clone(&client.gateway);
    session.streaming.fetch_add(1, Relaxed);
    let mut shown = choose(client, &session, after.as_deref());
    let _open = Open {
        session: &session,
        gateway: &gateway,
        shown,
    };
    let every = Duration::from_millis(gateway.manager.gateway.keep_alive_ms.max(1));
    let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    client.begin_stream(false); // its connection ends with it
    loop {
        let (ended, grown) = (session.end.notified(), session.streams(&gateway).grown());
        let mut over = session.ended.load(Relaxed) || gateway.is_closing();
        if let Some(shown) = &mut shown {
            over |= !show(client, &session, shown);
        }
        if over {
            client.output.extend_from_slice(sse::END);
        }
        if !client.deliver().await || over {
            return Turn::Close;
        }
        let next = tokio::select! {
            () = ended => Next::End,
            () = gateway.stopping() => Next::End,
            () = grown => Next::Grown,
            () = tell(&session, &gateway, shown) => Next::Grown,
            _ = beat.tick() => Next::Beat,
            () = poll_fn(|cx| if client.poll_gone(cx) { Poll::Ready(()) } else { Poll::Pending }) => Next::Gone,
        };
        client.clear_output();
        match next {
            Next::Grown | Next::End => {}
            Next::Beat => client.output.extend_from_slice(sse::BEAT),
            Next::Gone => return Turn::Close,
        }
    }
}

/// Behind which event a client wants to go on, by the head of its GET. Only these are rare, so nobody else looks for it.
pub(crate) fn last_event(head: &[u8]) -> Option<Vec<u8>> {
    const NAME: &[u8] = b"last-event-id:";
    head.split(|&byte| byte == b'\n').skip(1).find_map(|line| {
        let (name, value) = line.split_at_checked(NAME.len())?;
        name.eq_ignore_ascii_case(NAME)
            .then(|| value.trim_ascii().to_vec())
    })
}

/// Which stream a GET gets; `None` is one that stays silent.
fn choose(client: &Client, session: &Session, after: Option<&[u8]>) -> Option<Shown> {
    let gateway = &client.gateway;
    let streams = session.streams(gateway);
    let known = after.filter(|_| streams.replays()).and_then(EventId::read);
    if let Some(id) = known
        && streams.following(id).is_some()
    {
        let general = streams.is_general(id.stream);
        let hears = session.hears(gateway);
        if general && hears.listen(&gateway.manager, &List::ALL) {
            hears.missed(); // nobody listened meanwhile
        }
        return Some(Shown {
            stream: id.stream,
            n: id.n,
            taken: streams.take(id.stream),
            general,
        });
    }
    let stream = streams.open_general()?;
    session.hears(gateway).listen(&gateway.manager, &List::ALL);
    Some(Shown {
        stream,
        n: 0,
        taken: streams.take(stream),
        general: true,
    })
}

/// Puts what is new into the client's output; false if nothing will follow, or another connection has the stream.
fn show(client: &mut Client, session: &Session, shown: &mut Shown) -> bool {
    let streams = session.streams(&client.gateway);
    if !streams.has(shown.stream, shown.taken) {
        return false;
    }
    let last = EventId {
        stream: shown.stream,
        n: shown.n,
    };
    let Some(following) = streams.following(last) else {
        return false;
    };
    if following.lost > 0 {
        let text = format!(
            "{} events are lost; raise gateway.replayEvents",
            following.lost
        );
        sse::push_comment(&mut client.output, &text);
        if shown.general {
            session.hears(&client.gateway).lost();
        }
    }
    for (id, message) in &following.events {
        let text = streams.replays().then(|| id.to_string());
        sse::push_event(&mut client.output, text.as_deref(), message);
    }
    shown.n = following.last;
    !following.over
}

/// Adds the next change to the general stream.
async fn tell(session: &Session, gateway: &Gateway, shown: Option<Shown>) {
    match shown {
        Some(shown) if shown.general => {
            let item = session.hears(gateway).next().await;
            let message = notification(&item, b"");
            session.streams(gateway).add(shown.stream, &message);
        }
        _ => std::future::pending().await,
    }
}
