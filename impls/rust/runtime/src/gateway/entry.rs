//! What a relayed request passes before an instance is chosen, where its server has policies: see `upstream::traffic`.
//!
//! The rule: while it waits for a place its client is watched, and a request that is refused here was not sent on.

use super::answer::Answer;
use super::client::{Attended, Client, Inbound, Turn};
use super::dispatch::Forward;
use super::sessions::InFlight;
use crate::error::Error;
use crate::upstream::{Pass, Place};

/// Let in. Keeps what the request was given until it is dropped.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// What affinity goes by.
    pub(super) key: u64,
    _place: Option<Place>,
    _pass: Pass,
}

impl Entry {
    pub(super) async fn new(
        client: &mut Client,
        inbound: &Inbound,
        forward: &Forward,
        flight: Option<&InFlight>,
    ) -> Result<Self, Turn> {
        let Some(routed) = &forward.routed else {
            return Err(Turn::Close);
        };
        let server = &routed.server;
        let (method, name) = (forward.verb.method(), routed.name.as_deref());
        let principal = client.principal(inbound);
        let pass = match server.let_in(method, name, principal) {
            Ok(pass) => pass,
            Err(error) => return Err(fail(client, inbound, &forward.id, &error).await),
        };
        let key = server.traffic.key(forward.who.session(), principal, name);
        let entering = Box::pin(server.place(server.deadline(None)));
        match client.attend(entering, flight).await {
            Attended::Done(Ok(place)) => Ok(Self {
                key,
                _place: place,
                _pass: pass,
            }),
            Attended::Done(Err(error)) => Err(fail(client, inbound, &forward.id, &error).await),
            // Nothing of JSON-RPC may be sent for a cancelled request.
            Attended::Cancelled => Err(decline(client, inbound, &Answer::accepted()).await),
            Attended::Gone => Err(Turn::Close),
        }
    }
}

/// Answers a request of which nothing was sent on.
pub(super) async fn fail(client: &mut Client, inbound: &Inbound, id: &[u8], error: &Error) -> Turn {
    client.gateway.manager.shared.metrics.error(error.code());
    decline(client, inbound, &Answer::failure(id, error)).await
}

async fn decline(client: &mut Client, inbound: &Inbound, answer: &Answer) -> Turn {
    let whole = inbound.have == inbound.length;
    client.input.drain(..inbound.head_len + inbound.have);
    client.respond(answer, inbound.keep_alive && whole).await
}
