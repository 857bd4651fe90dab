//! A subscription over a child's pipe: a request that is answered only when it ends.
//!
//! The rule: dropping it tells the child, unless the child ended it; it takes no place of a call.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::Child;
use super::calls::Reply;
use crate::clock::lock;
use crate::envelope::{self, Envelope};
use crate::error::Result;
use crate::upstream::Caller;

/// The key of `_meta` that names the subscription which a message belongs to.
pub(crate) const SUBSCRIPTION_KEY: &str = "io.modelcontextprotocol/subscriptionId";

#[derive(Debug)]
pub(crate) struct Listening {
    child: Arc<Child>,
    id: u64,
    answer: oneshot::Receiver<Reply>,
    acknowledged: oneshot::Receiver<Bytes>,
    over: bool,
}

impl Child {
    pub(crate) fn listen(self: &Arc<Self>, params: &[u8]) -> Result<Listening> {
        let (sender, acknowledged) = oneshot::channel();
        // Held until it is entered, so that no acknowledgement comes before.
        let mut subscribing = lock(&self.subscribing);
        let (id, answer) = self.ask("subscriptions/listen", params, &Caller::default())?;
        subscribing.insert(id, sender);
        drop(subscribing);
        Ok(Listening {
            child: Arc::clone(self),
            id,
            answer,
            acknowledged,
            over: false,
        })
    }

    /// Takes the acknowledgement of a subscription; false if the message is none.
    pub(super) fn acknowledged(&self, method: &str, line: &Bytes, found: &Envelope) -> bool {
        if method != "notifications/subscriptions/acknowledged" {
            return false;
        }
        let waiting = subscription(line, found).and_then(|id| lock(&self.subscribing).remove(&id));
        if let Some(waiting) = waiting {
            // Whoever is gone gave up meanwhile.
            let _ = waiting.send(line.clone());
        }
        true
    }
}

/// The subscription that a message belongs to.
fn subscription(line: &[u8], found: &Envelope) -> Option<u64> {
    let meta = found.members.meta?.of(line);
    let mut id = None;
    envelope::members(meta, |key, value| {
        if envelope::text(key).as_deref() == Some(SUBSCRIPTION_KEY) {
            id = std::str::from_utf8(value.of(meta))
                .ok()
                .and_then(|text| text.parse().ok());
        }
    })
    .ok()?;
    id
}

impl Listening {
    /// Resolves when the child ends the subscription, or refuses it, or dies. Not to be awaited again after that.
    pub(crate) async fn answer(&mut self) -> Reply {
        let answer = (&mut self.answer).await;
        self.over = true;
        answer.unwrap_or_else(|_| Err(self.child.crashed("ended")))
    }

    /// The acknowledgement, or the answer in place of it.
    pub(crate) async fn begun(&mut self) -> std::result::Result<Bytes, Reply> {
        tokio::select! {
            Ok(message) = &mut self.acknowledged => Ok(message),
            answer = &mut self.answer => {
                self.over = true;
                Err(answer.unwrap_or_else(|_| Err(self.child.crashed("ended"))))
            }
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        lock(&self.child.subscribing).remove(&self.id);
        if self.over {
            return;
        }
        lock(&self.child.pending).remove(&self.id);
        self.child.send_line(
            format!(
                "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{}}}}}",
                self.id
            )
            .as_bytes(),
        );
    }
}
