//! What one client hears of changes: the lists it listens to, and the resources it subscribed to.
//!
//! The rules: interest at the servers ends with this, on every way out; what happens while the client cannot be reached
//! waits here, each thing once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::clock::lock;
use crate::error::Result;
use crate::manager::Inner;
use crate::news::{Item, List, Place, Reader};
use crate::route::{self, Subject};
use crate::upstream::Server;
use crate::upstream::interest::{Listening, Wanting};

const SUBSCRIBE: &str = "resources/subscribe";

#[derive(Debug)]
pub(crate) struct Hears {
    reader: Arc<Reader>,
    listening: Mutex<Option<Listening>>,
    resources: Mutex<HashMap<Place, Arc<Wanting>>>,
}

impl Hears {
    pub(crate) fn new(manager: &Inner) -> Self {
        Self {
            reader: manager.shared.events.news.reader(),
            listening: Mutex::default(),
            resources: Mutex::default(),
        }
    }

    /// From now on it hears of these lists; true if it heard of none before.
    pub(crate) fn listen(&self, manager: &Arc<Inner>, lists: &[List]) -> bool {
        self.reader.want_lists(lists);
        let mut listening = lock(&self.listening);
        let new = listening.is_none() && !lists.is_empty();
        if new {
            *listening = Some(Listening::new(manager));
        }
        new
    }

    /// Nobody is there to hear of lists.
    pub(crate) fn pause(&self) {
        let listening = lock(&self.listening).take();
        if listening.is_some() {
            self.reader.want_lists(&[]);
        }
    }

    /// Subscribes to a resource. `Ok(false)`: its server has neither taken nor refused it by then, and will be asked
    /// again.
    pub(crate) async fn subscribe(
        &self,
        manager: &Inner,
        uri: &str,
        deadline: Instant,
    ) -> Result<bool> {
        let server = of_resource(manager, uri).await?;
        let place: Place = (server.name().into(), uri.into());
        let wanting = {
            let mut resources = lock(&self.resources);
            let known = resources.get(&place);
            let known = known.filter(|known| Arc::ptr_eq(&known.server, &server));
            if let Some(known) = known {
                Arc::clone(known)
            } else {
                let new = Arc::new(Wanting::new(&server, uri));
                resources.insert(place.clone(), Arc::clone(&new));
                new
            }
        };
        self.reader.want(place.clone());
        // Whoever gives up while it is not settled is not subscribed.
        let mut unsettled = Unsettled(Some((self, place)));
        let settled = wanting.settled(deadline).await?;
        unsettled.0 = None;
        Ok(settled)
    }

    /// Ends all subscriptions to a resource.
    pub(crate) fn unsubscribe(&self, uri: &str) {
        let mut left = Vec::new();
        lock(&self.resources).retain(|place, wanting| {
            let stays = *place.1 != *uri;
            if !stays {
                left.push((place.clone(), Arc::clone(wanting)));
            }
            stays
        });
        for (place, _) in &left {
            self.reader.forget(place);
        }
    }

    /// Everything it listens to may have changed.
    pub(crate) fn missed(&self) {
        self.reader.changed(&List::ALL);
    }

    /// What it was told of changes did not arrive: of everything, once more.
    pub(crate) fn lost(&self) {
        self.reader.all_changed();
    }

    /// The next thing to tell. Dropping the future loses nothing; there is one who waits.
    pub(crate) async fn next(&self) -> Item {
        self.reader.next().await
    }
}

struct Unsettled<'a>(Option<(&'a Hears, Place)>);

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        if let Some((hears, place)) = self.0.take() {
            let gone = lock(&hears.resources).remove(&place);
            hears.reader.forget(&place);
            drop(gone);
        }
    }
}

/// The server that a resource is read from.
async fn of_resource(manager: &Inner, uri: &str) -> Result<Arc<Server>> {
    let subject = Subject::Uri(uri.into());
    if let Some(routed) = route::by_subject(manager, SUBSCRIBE, &subject)? {
        return Ok(routed.server);
    }
    let servers = manager.registry.load().servers.clone();
    let search = route::search_subject(manager, SUBSCRIBE, &subject, &servers);
    let routed = Box::pin(search).await?;
    Ok(routed.server)
}

/// A notification without what belongs to one hop: `extra` are further members of its params, each followed by a comma.
pub(crate) fn notification(item: &Item, extra: &[u8]) -> Vec<u8> {
    let mut out = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/".to_vec();
    match item {
        Item::Changed(list) => {
            out.extend_from_slice(list.name().as_bytes());
            out.extend_from_slice(b"/list_changed\",\"params\":{");
            out.extend_from_slice(extra.strip_suffix(b",").unwrap_or(extra));
            out.push(b'}');
        }
        Item::Updated(params) => {
            out.extend_from_slice(b"resources/updated\",\"params\":{");
            out.extend_from_slice(extra);
            out.extend_from_slice(&params[1..]);
        }
    }
    out.push(b'}');
    out
}
