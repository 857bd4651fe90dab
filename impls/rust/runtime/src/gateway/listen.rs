//! `subscriptions/listen` of modern clients: an acknowledgement, then what the client asked for and nothing else.
//!
//! The rules (2026-07-28 basic/patterns/subscriptions): every message carries the id of the request; the acknowledgement
//! comes first and names what is honoured; when the gateway ends it, the request gets its result.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::answer::{Answer, INVALID_PARAMS};
use super::client::{Client, Turn};
use super::hears::{Hears, notification};
use super::{Gateway, sse};
use crate::envelope::{self, Envelope};
use crate::news::List;

/// How long the acknowledgement waits for servers.
const PATIENCE: Duration = Duration::from_secs(5);
const MINE: &str = "io.modelcontextprotocol/subscriptionId";

/// One open subscription.
#[derive(Debug)]
pub(crate) struct Listen {
    id: Box<[u8]>,
    hears: Hears,
    acknowledgement: Vec<u8>,
}

/// What the client asked for.
#[derive(Debug, Default, Eq, PartialEq)]
struct Filter {
    lists: Vec<List>,
    resources: Option<Vec<String>>,
}

fn filter(body: &[u8], env: &Envelope) -> Result<Filter, &'static str> {
    const WRONG: &str = "params.notifications must be an object of booleans and resourceSubscriptions, an array of strings";
    let params = env.params.map_or(&b"{}"[..], |span| span.of(body));
    let mut found = None;
    let _ = envelope::members(params, |key, value| {
        if key == b"\"notifications\"" {
            found = Some(value.of(params));
        }
    });
    let raw = found.ok_or("params.notifications is missing; say what to listen to")?;
    let (mut filter, mut wrong) = (Filter::default(), false);
    envelope::members(raw, |key, value| {
        let (key, value) = (envelope::text(key), value.of(raw));
        let key = key.as_deref().unwrap_or_default();
        if let Some(list) = List::ALL.into_iter().find(|list| list.flag() == key) {
            match value {
                b"true" => filter.lists.push(list),
                b"false" | b"null" => {}
                _ => wrong = true,
            }
        } else if key == "resourceSubscriptions" && value != b"null" {
            let uris = serde_json::from_slice(value);
            wrong |= uris.is_err();
            filter.resources = uris.ok();
        }
    })
    .map_err(|_| WRONG)?;
    if wrong { Err(WRONG) } else { Ok(filter) }
}

impl Listen {
    /// Opens a subscription; an answer if it cannot be.
    pub(crate) async fn open(
        gateway: &Gateway,
        id: &[u8],
        body: &[u8],
        env: &Envelope,
    ) -> Result<Self, Box<Answer>> {
        let Filter { lists, resources } = filter(body, env).map_err(|why| {
            let why = Answer::rpc_error(200, Some(id), INVALID_PARAMS, why);
            Box::new(why)
        })?;
        let manager = &gateway.manager;
        let hears = Hears::new(manager);
        hears.listen(manager, &lists);
        let mut honoured = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        for uri in resources.iter().flatten() {
            if hears.subscribe(manager, uri, deadline).await.is_ok() {
                honoured.push(uri);
            }
        }
        let mut filter = Vec::new();
        for list in lists {
            filter.push(format!("\"{}\":true", list.flag()));
        }
        if resources.is_some() {
            filter.push(format!(
                "\"resourceSubscriptions\":{}",
                serde_json::json!(honoured)
            ));
        }
        let mut listen = Self {
            id: id.into(),
            hears,
            acknowledgement: Vec::new(),
        };
        listen.acknowledgement = [
            &b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/subscriptions/acknowledged\",\"params\":{"[..],
            &listen.meta(),
            b"\"notifications\":{",
            filter.join(",").as_bytes(),
            b"}}}",
        ]
        .concat();
        Ok(listen)
    }

    /// The member that every message carries, and a comma.
    fn meta(&self) -> Vec<u8> {
        let mut out = format!("\"_meta\":{{\"{MINE}\":").into_bytes();
        out.extend_from_slice(&self.id);
        out.extend_from_slice(b"},");
        out
    }

    pub(crate) fn acknowledgement(&self) -> &[u8] {
        &self.acknowledgement
    }

    /// The next message. Dropping the future loses nothing.
    pub(crate) async fn next(&self) -> Vec<u8> {
        notification(&self.hears.next().await, &self.meta())
    }

    /// The last message: it ended as it should.
    pub(crate) fn over(&self) -> Vec<u8> {
        let mut result = b"{".to_vec();
        result.extend_from_slice(&self.meta());
        result.extend_from_slice(b"\"resultType\":\"complete\"}");
        let mut out = Vec::new();
        super::answer::push_result(&mut out, &self.id, &result);
        out
    }
}

enum Next {
    Told(Vec<u8>),
    Beat,
    Over,
    Gone,
}

/// A subscription over HTTP: the answer is a stream of events.
pub(crate) async fn run(
    client: &mut Client,
    id: &[u8],
    body: &[u8],
    env: &Envelope,
    keep_alive: bool,
) -> Turn {
    let gateway = Arc::clone(&client.gateway);
    let opening = Box::pin(Listen::open(&gateway, id, body, env));
    let listen = match client.attend(opening, None).await {
        super::client::Attended::Done(Ok(listen)) => listen,
        super::client::Attended::Done(Err(refused)) => {
            return client.respond(&refused, keep_alive).await;
        }
        _ => return Turn::Close,
    };
    let every = Duration::from_millis(gateway.manager.gateway.keep_alive_ms.max(1));
    let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    client.begin_stream(keep_alive);
    sse::push_event(&mut client.output, None, listen.acknowledgement());
    loop {
        if !client.deliver().await {
            return Turn::Close;
        }
        let next = tokio::select! {
            () = gateway.stopping() => Next::Over,
            told = listen.next() => Next::Told(told),
            _ = beat.tick() => Next::Beat,
            () = poll_fn(|cx| if client.poll_gone(cx) { Poll::Ready(()) } else { Poll::Pending }) => Next::Gone,
        };
        client.clear_output();
        match next {
            Next::Told(message) => sse::push_event(&mut client.output, None, &message),
            Next::Beat => client.output.extend_from_slice(sse::BEAT),
            Next::Gone => return Turn::Close,
            Next::Over => {
                sse::push_event(&mut client.output, None, &listen.over());
                client.output.extend_from_slice(sse::END);
                client.deliver().await;
                return Turn::Close;
            }
        }
    }
}

/// `resources/subscribe` and `resources/unsubscribe` of a legacy client.
pub(crate) async fn subscribe(
    gateway: &Gateway,
    session: &super::sessions::Session,
    id: &[u8],
    on: bool,
    body: &[u8],
    env: &Envelope,
) -> Answer {
    let uri = env
        .members
        .uri
        .and_then(|span| envelope::text(span.of(body)));
    let Some(uri) = uri else {
        let why = "params.uri is missing or no string; send the URI of a resource";
        return Answer::rpc_error(200, Some(id), INVALID_PARAMS, why);
    };
    let hears = session.hears(gateway);
    if !on {
        hears.unsubscribe(&uri);
        return Answer::result(id, b"{}");
    }
    let deadline = Instant::now() + PATIENCE * 2;
    match hears.subscribe(&gateway.manager, &uri, deadline).await {
        Ok(true) => Answer::result(id, b"{}"),
        Ok(false) => {
            hears.unsubscribe(&uri);
            let mut why = b"the server of '".to_vec();
            why.extend_from_slice(uri.as_bytes());
            why.extend_from_slice(
                b"' did not answer the subscription in time; subscribe again later",
            );
            Answer::rpc_error(200, Some(id), -32603, &String::from_utf8_lossy(&why))
        }
        Err(error) => {
            gateway.manager.shared.metrics.error(error.code());
            Answer::failure(id, &error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(notifications: &str) -> Result<Filter, &'static str> {
        let body = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"subscriptions/listen\",\"params\":{{{notifications}}}}}"
        );
        let env = envelope::scan(body.as_bytes()).expect("valid");
        filter(body.as_bytes(), &env)
    }

    #[test]
    fn only_what_is_asked_for_in_the_right_form_is_listened_to() {
        let found = read(
            r#""notifications":{"toolsListChanged":true,"promptsListChanged":false,"x":1,"resourceSubscriptions":["a://b"]}"#,
        );
        let wanted = Filter {
            lists: vec![List::Tools],
            resources: Some(vec!["a://b".to_owned()]),
        };
        assert_eq!(found, Ok(wanted));
        assert_eq!(read(r#""notifications":{}"#), Ok(Filter::default()));
        for wrong in [
            "",
            r#""notifications":[]"#,
            r#""notifications":{"toolsListChanged":1}"#,
            r#""notifications":{"resourceSubscriptions":"a://b"}"#,
            r#""notifications":{"resourceSubscriptions":[1]}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
