//! Listening to a server of the modern era: one `subscriptions/listen` for its lists and all wanted resources.
//!
//! The rule: when other resources are wanted it is asked anew, and the old subscription ends only once the new one is
//! acknowledged, so nothing falls between them. Source: 2026-07-28 basic/patterns/subscriptions.

use std::sync::Arc;
use std::time::Instant;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{End, Gap, PATIENCE, changes};
use crate::envelope::{self, Envelope};
use crate::error::{Error, RemoteFault};
use crate::news::List;
use crate::translate::{self, MODERN};
use crate::upstream::Server;
use crate::upstream::http::{Head, HttpLink};
use crate::upstream::message::{read_message, request_body};
use crate::upstream::stdio::StdioLink;
use crate::upstream::stream::{EventStream, Opened, Received};

pub(crate) const LISTEN: &str = "subscriptions/listen";
pub(crate) const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";

/// The params of a subscription to everything that is wanted.
fn params(resources: &[Arc<str>]) -> Vec<u8> {
    let mut out = b"{\"notifications\":{".to_vec();
    for list in List::ALL {
        out.extend_from_slice(format!("\"{}\":true,", list.flag()).as_bytes());
    }
    out.extend_from_slice(b"\"resourceSubscriptions\":[");
    for (index, uri) in resources.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        translate::push_json_string(&mut out, uri);
    }
    out.extend_from_slice(b"]},\"_meta\":");
    // No `_meta` is given, so nothing can be wrong in it.
    out.extend_from_slice(&translate::with_hop(None, b"{}").unwrap_or_default());
    out.push(b'}');
    out
}

/// Takes in what the server agreed to tell of.
fn acknowledged(server: &Server, message: &[u8], found: &Envelope, asked: &[Arc<str>]) {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Filter {
        resource_subscriptions: Vec<String>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Params<'a> {
        #[serde(borrow)]
        notifications: Option<&'a RawValue>,
    }
    let params = found.params.map_or(&b"{}"[..], |span| span.of(message));
    let params: Params<'_> = serde_json::from_slice(params).unwrap_or_default();
    let raw = params.notifications.map_or("{}", RawValue::get);
    let agreed: Filter = serde_json::from_str(raw).unwrap_or_default();
    for uri in asked {
        let taken = agreed
            .resource_subscriptions
            .iter()
            .any(|own| **own == **uri);
        let outcome = if taken {
            Ok(())
        } else {
            Err(refused(server, uri))
        };
        server.interest.settle(uri, outcome);
    }
}

fn refused(server: &Server, uri: &str) -> Error {
    Error::UnknownTarget {
        message: format!(
            "server '{}' does not tell of changes of '{uri}'; read it again from time to time",
            server.name()
        ),
        server: Some(server.name().to_owned()),
    }
}

/// The server refused to be listened to.
fn denied(server: &Server, asked: &[Arc<str>], fault: Option<&RemoteFault>) -> End {
    for uri in asked {
        let error = match fault {
            Some(fault) => Error::Remote {
                fault: Box::new(fault.clone()),
                server: server.name().to_owned(),
            },
            None => refused(server, uri),
        };
        server.interest.settle(uri, Err(error));
    }
    End::Nothing
}

/// Whether other resources are wanted than these.
async fn others_wanted(server: &Server, than: &[Arc<str>]) {
    changes(server, || server.interest.wanted() != than).await;
}

/// The error object of a message.
fn fault(message: &[u8]) -> Option<RemoteFault> {
    let found = envelope::scan(message).ok()?;
    read_message(message, &found)?.err()
}

// -- over HTTP

struct Open {
    stream: Box<EventStream>,
    resources: Vec<Arc<str>>,
}

enum Heard {
    Acknowledged,
    Other,
    /// The final result, or an error in place of it.
    Final(bool),
}

pub(super) async fn http(server: &Arc<Server>, link: &Arc<HttpLink>, gap: &mut Gap) -> End {
    let mut open: Option<Open> = None;
    loop {
        let resources = server.interest.wanted();
        let opening = tokio::time::timeout(PATIENCE, subscribe(server, link, resources));
        let opened = match &mut open {
            None => opening.await,
            // What the old one tells meanwhile counts.
            Some(old) => tokio::select! {
                opened = opening => opened,
                () = listen(server, &mut old.stream) => return End::Lost,
            },
        };
        let mut new = match opened {
            Ok(Ok(new)) => new,
            Ok(Err(end)) => return end,
            Err(_) => return End::Failed,
        };
        drop(open.take());
        gap.open(server, false);
        server.interest.to_forget();
        tokio::select! {
            () = listen(server, &mut new.stream) => return End::Lost,
            () = others_wanted(server, &new.resources) => {}
        }
        open = Some(new);
    }
}

/// Opens a subscription and waits for its acknowledgement.
async fn subscribe(
    server: &Arc<Server>,
    link: &Arc<HttpLink>,
    resources: Vec<Arc<str>>,
) -> Result<Open, End> {
    let head = Head {
        version: Some(MODERN),
        method: Some(LISTEN),
        ..Head::default()
    };
    let body = request_body(link.next_id(), LISTEN, &params(&resources));
    let opened = link
        .post_stream(&head, &body, Instant::now() + PATIENCE)
        .await
        .map_err(|_| End::Failed)?;
    let mut stream = match opened {
        Opened::Stream(stream) => stream,
        Opened::Else { status, body } if status < 500 => {
            return Err(denied(server, &resources, fault(&body).as_ref()));
        }
        Opened::Else { .. } => return Err(End::Failed),
    };
    loop {
        let Ok(Some(event)) = stream.next().await else {
            return Err(End::Failed);
        };
        match hear(server, &event, &resources) {
            Heard::Acknowledged => return Ok(Open { stream, resources }),
            Heard::Other => {}
            Heard::Final(true) => return Err(End::Failed),
            Heard::Final(false) => {
                return Err(denied(server, &resources, fault(&event.data).as_ref()));
            }
        }
    }
}

/// Until the stream ends.
async fn listen(server: &Arc<Server>, stream: &mut EventStream) {
    while let Ok(Some(event)) = stream.next().await {
        if let Heard::Final(_) = hear(server, &event, &[]) {
            return;
        }
    }
}

fn hear(server: &Server, event: &Received, asked: &[Arc<str>]) -> Heard {
    let message = &event.data;
    let Ok(found) = envelope::scan(message) else {
        return Heard::Other;
    };
    let Some(method) = found
        .method
        .and_then(|span| envelope::text(span.of(message)))
    else {
        return Heard::Final(found.result.is_some());
    };
    if method == ACKNOWLEDGED {
        acknowledged(server, message, &found, asked);
        return Heard::Acknowledged;
    }
    server.heard(&method, message, &found);
    Heard::Other
}

// -- over stdio

pub(super) async fn child(server: &Arc<Server>, link: &Arc<StdioLink>, gap: &mut Gap) -> End {
    let mut open = None;
    loop {
        let resources = server.interest.wanted();
        let Ok((child, _)) = link.live(Instant::now() + PATIENCE).await else {
            return End::Failed;
        };
        let Ok(mut new) = child.listen(&params(&resources)) else {
            return End::Failed;
        };
        match tokio::time::timeout(PATIENCE, new.begun()).await {
            Ok(Ok(message)) => {
                if let Ok(found) = envelope::scan(&message) {
                    acknowledged(server, &message, &found, &resources);
                }
            }
            Ok(Err(Ok(Err(fault)))) => return denied(server, &resources, Some(&fault)),
            _ => return End::Failed,
        }
        drop(open.take());
        gap.open(server, false);
        server.interest.to_forget();
        tokio::select! {
            _ = new.answer() => return End::Lost,
            () = others_wanted(server, &resources) => {}
        }
        open = Some(new);
    }
}
