//! The hot route: a request to an HTTP server and its answer, as bytes, in the client's own task.
//!
//! The rule: what must change is spliced, everything else passes untouched; `passage` moves the bytes.

mod words;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::futures::Notified;

pub(super) use words::words;
use words::{Request, watched, write_request};

use super::client::{Client, Inbound, Turn};
use super::dispatch::{Forward, Plan, Way, Who, faulty};
use super::entry::{Entry, fail};
use super::passage::{Job, Retold};
use super::sessions::{Entered, InFlight};
use crate::envelope::Envelope;
use crate::error::Result;
use crate::info::Era;
use crate::upstream::http::HttpLink;
use crate::upstream::session::UpstreamSession;
use crate::upstream::{Link, Wish};

/// Asks the server for its era, then goes the way that follows.
pub(crate) async fn learn(
    client: &mut Client,
    forward: Forward,
    inbound: &Inbound,
    env: &Envelope,
) -> Turn {
    // A server may take long to start, and the session is in use meanwhile.
    let _in_use = forward
        .who
        .session()
        .map(|session| session.enter(&forward.id));
    if let Some(routed) = &forward.routed {
        let server = Arc::clone(&routed.server);
        let deadline = server.deadline(None);
        let outcome = match server.admit(Wish::default(), deadline).await {
            Ok(ticket) => {
                let ready = ticket.link().ready(deadline).await.map(|_| ());
                if ready.is_err() {
                    ticket.settle_with(&ready);
                }
                ready
            }
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            return fail(client, inbound, &forward.id, &error).await;
        }
    }
    match forward.way() {
        Way::Relay { edits_meta } => run(client, forward, inbound, env, edits_meta).await,
        // A second instance may be the one that was asked; the call asks again.
        Way::Call | Way::Unknown => client.work(Plan::Forward(forward), inbound, env).await,
    }
}

pub(crate) async fn run(
    client: &mut Client,
    forward: Forward,
    inbound: &Inbound,
    env: &Envelope,
    edits_meta: bool,
) -> Turn {
    let Forward {
        verb,
        id,
        who,
        routed: Some(routed),
        ..
    } = &forward
    else {
        return Turn::Close;
    };
    let watch = match watched(client, inbound, env) {
        Ok(watch) => watch,
        Err(fault) => return client.respond(&faulty(fault), false).await,
    };
    let entered: Option<Entered> = who.session().map(|session| session.enter(id));
    let server = &routed.server;
    let deadline = server.deadline(None);
    let flight = entered.as_ref().map(|entered| Arc::clone(&entered.flight));
    let entry = if server.traffic.is_plain() {
        Entry::default()
    } else {
        match Box::pin(Entry::new(client, inbound, &forward, flight.as_deref())).await {
            Ok(entry) => entry,
            Err(turn) => return turn,
        }
    };
    // A legacy client goes where it has its session.
    let pinned = |link: &Link| match (who, link) {
        (Who::Legacy(session), Link::Http(link)) => session.upstream(link).is_some(),
        _ => false,
    };
    let wish = Wish {
        pinned: (entered.is_some() && !server.fleet().current.spec.stateless).then_some(&pinned),
        key: entry.key,
        ..Wish::default()
    };
    let ticket = match server.admit(wish, deadline).await {
        Ok(ticket) => ticket,
        Err(error) => return fail(client, inbound, id, &error).await,
    };
    let Link::Http(link) = ticket.link() else {
        return Turn::Close;
    };
    let link = Arc::clone(link);
    let stateless = ticket.seat.revision.spec.stateless;
    let (session, failed) = match ground(&link, who, stateless, edits_meta, deadline).await {
        Ok(Ground::Free) => (None, None),
        Ok(Ground::Session(session)) => (Some(session), None),
        Ok(Ground::OtherEra) => {
            drop((ticket, entry, entered));
            let forward = Forward {
                let_in: true,
                ..forward
            };
            return Box::pin(client.work(Plan::Forward(forward), inbound, env)).await;
        }
        Err(error) => (None, Some(error)),
    };
    write_request(
        client,
        &link,
        inbound,
        &Request {
            env,
            who,
            method: verb.method(),
            name: routed.name.as_deref(),
            rename: routed.edit.as_ref(),
            edits_meta,
            session: session.as_deref(),
        },
    );
    client.input.drain(..inbound.head_len + inbound.have);
    client.deadline(deadline);
    let mut job = Job {
        client,
        link,
        server,
        id,
        own: who.session(),
        modern_client: who.is_modern(),
        method: verb.method(),
        deadline,
        unsent: inbound.length - inbound.have,
        watch,
        session,
        cancelled: flight.as_deref().map(cancelled),
        keep_alive: inbound.keep_alive,
    };
    let retold = Retold {
        who,
        name: routed.name.as_deref(),
        edits_meta,
        key: entry.key,
        whole: inbound.have == inbound.length,
    };
    let turn = job.run(failed, ticket, &retold).await;
    drop((entry, entered));
    turn
}

fn cancelled(flight: &InFlight) -> Pin<Box<Notified<'_>>> {
    Box::pin(flight.wake.notified())
}

/// What the request stands on; on the hot route there is nothing to wait for.
async fn ground(
    link: &Arc<HttpLink>,
    who: &Who,
    stateless: bool,
    edits_meta: bool,
    deadline: Instant,
) -> Result<Ground> {
    if link.era() == Some(Era::Modern) && (who.is_modern() || edits_meta) {
        return Ok(Ground::Free);
    }
    Box::pin(prepare(link, who, stateless, edits_meta, deadline)).await
}

/// What a request stands on.
pub(super) enum Ground {
    Free,
    Session(Arc<UpstreamSession>),
    /// An update is under way, and this instance speaks another era than the one that the way was chosen by.
    OtherEra,
}

/// The session to speak in; legacy servers only.
pub(super) async fn prepare(
    link: &Arc<HttpLink>,
    who: &Who,
    stateless: bool,
    edits_meta: bool,
    deadline: Instant,
) -> Result<Ground> {
    let agreed = link.ready(deadline).await?;
    if link.is_pipe() {
        return Ok(Ground::OtherEra);
    }
    let session = match (agreed.era, who) {
        (Era::Modern, Who::Modern(_)) => None,
        (Era::Modern, Who::Legacy(_)) if edits_meta => None,
        (Era::Legacy, Who::Legacy(_)) if stateless => link.shared_session(),
        (Era::Legacy, Who::Legacy(session)) => match session.upstream(link) {
            Some(found) => Some(found),
            None => Some(session.open_upstream(link, None, deadline).await?),
        },
        _ => return Ok(Ground::OtherEra),
    };
    Ok(session.map_or(Ground::Free, Ground::Session))
}
