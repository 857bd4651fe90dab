//! Listening to a server of the legacy era: its GET stream over HTTP, its pipe over stdio, and a subscription per resource.
//!
//! The rules: all of it happens in the manager's own session; a stream that told its place is resumed behind it
//! (2025-11-25 transports, "Resumability and Redelivery"), so nothing was missed; a server without such a stream (405)
//! is not asked again in this session.

use std::sync::Arc;
use std::time::Instant;

use super::{End, Gap, PATIENCE, changes};
use crate::envelope;
use crate::error::Result;
use crate::translate;
use crate::upstream::http::HttpLink;
use crate::upstream::stream::{EventStream, Get, Opened};
use crate::upstream::{Caller, Link, Outgoing, Server};

pub(super) async fn run(server: &Arc<Server>, link: &Link, gap: &mut Gap) -> End {
    let conversation = link.conversation();
    let other = changes(server, || link.conversation() != conversation);
    let end = tokio::select! {
        end = listen(server, link, gap) => end,
        () = subscribe(server, link) => End::Lost,
        () = other => gap.renewed(),
    };
    if end != End::Failed {
        server.interest.unsettle();
    }
    end
}

async fn listen(server: &Arc<Server>, link: &Link, gap: &mut Gap) -> End {
    match link {
        Link::Http(http) if !http.is_pipe() && announces(link) => stream(server, http, gap).await,
        _ => {
            // What it says comes with its answers, or it has nothing to say.
            gap.open(server, false);
            std::future::pending().await
        }
    }
}

fn announces(link: &Link) -> bool {
    link.agreed().is_none_or(|agreed| agreed.announces())
}

async fn stream(server: &Arc<Server>, link: &Arc<HttpLink>, gap: &mut Gap) -> End {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let Some(session) = link.shared_session() else {
            return End::Failed;
        };
        let get = Get {
            version: Some(&session.version),
            session: session.id.as_deref(),
            after: after.as_deref(),
        };
        match link.get_stream(&get, Instant::now() + PATIENCE).await {
            Ok(Opened::Stream(mut open)) => {
                gap.open(server, after.is_some());
                read(server, &mut open).await;
                after = open.events.last_id().map(<[u8]>::to_vec).or(after);
                tokio::time::sleep(open.pause()).await;
                if after.is_none() {
                    return End::Lost;
                }
            }
            Ok(Opened::Else { status: 404, .. }) if session.id.is_some() => {
                // The session is gone, and what it was subscribed to with it.
                let renewed = link.renew(Some(&session), Instant::now() + PATIENCE);
                if Box::pin(renewed).await.is_err() {
                    return End::Failed;
                }
                // There is another conversation now, and whoever looks for that goes on with it.
                std::future::pending::<()>().await;
            }
            Ok(Opened::Else { status, .. }) if (400..500).contains(&status) => {
                gap.open(server, false);
                // Subscriptions may still be told of beside answers.
                std::future::pending::<()>().await;
            }
            _ => return End::Failed,
        }
    }
}

/// Until the stream ends.
async fn read(server: &Arc<Server>, open: &mut EventStream) {
    while let Ok(Some(event)) = open.next().await {
        if let Ok(found) = envelope::scan(&event.data)
            && found.complete
            && found.id.is_none()
            && let Some(method) = found
                .method
                .and_then(|span| envelope::text(span.of(&event.data)))
        {
            server.heard(&method, &event.data, &found);
        }
    }
}

/// Keeps the server's subscriptions as they are wanted. Never resolves.
async fn subscribe(server: &Arc<Server>, link: &Link) {
    let interest = &server.interest;
    loop {
        for uri in interest.to_tell() {
            let outcome = tell(link, "resources/subscribe", &uri).await;
            interest.settle(&uri, outcome);
        }
        forget(link, interest.to_forget()).await;
        let idle = || interest.to_tell().is_empty() && !interest.leaves();
        changes(server, || !idle()).await;
    }
}

/// Nobody wants these any more. What a server answers to that does not matter.
pub(super) async fn forget(link: &Link, left: Vec<Arc<str>>) {
    if link
        .agreed()
        .is_none_or(|agreed| agreed.era != crate::info::Era::Legacy)
    {
        return;
    }
    for uri in left {
        let _ = tell(link, "resources/unsubscribe", &uri).await;
    }
}

async fn tell(link: &Link, method: &str, uri: &str) -> Result<()> {
    let mut params = b"{\"uri\":".to_vec();
    translate::push_json_string(&mut params, uri);
    params.push(b'}');
    let outgoing = Outgoing {
        method,
        params: &params,
        name: None,
        caller: Caller::default(),
        lines: b"",
        deadline: Instant::now() + PATIENCE,
    };
    link.call(outgoing).await.map(|_| ())
}
