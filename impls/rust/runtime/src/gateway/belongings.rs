//! What a legacy client has with servers besides its sessions over HTTP: children, and what it tells all of them.
//!
//! The rule: it has one child with an instance at most, and all of them end with its session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::sessions::Session;
use crate::clock::lock;
use crate::error::{Error, Result};
use crate::upstream::StdioLink;
use crate::upstream::dedicated::OwnChild;

/// How long servers may take to hear of another log level.
const PATIENCE: Duration = Duration::from_secs(10);

impl Session {
    /// The child of this client, if it has one that lives.
    pub(crate) fn child(&self, link: &Arc<StdioLink>) -> Option<Arc<OwnChild>> {
        let children = lock(&self.children);
        children
            .iter()
            .find(|(known, own)| Arc::ptr_eq(known, link) && !own.child.is_dead())
            .map(|(_, own)| Arc::clone(own))
    }

    /// The child of this client, started now if it has none.
    pub(crate) async fn open_child(
        &self,
        link: &Arc<StdioLink>,
        deadline: Instant,
    ) -> Result<Arc<OwnChild>> {
        if let Some(found) = self.child(link) {
            return Ok(found);
        }
        let _one = self.opening.lock().await;
        if let Some(found) = self.child(link) {
            return Ok(found);
        }
        let own = link.start_guest(self, deadline).await?;
        let mut children = lock(&self.children);
        if self.ended.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Error::ManagerClosed {
                message: "the session of this client is over; initialize again".to_owned(),
            });
        }
        children.retain(|(_, own)| !own.child.is_dead());
        children.push((Arc::clone(link), Arc::clone(&own)));
        Ok(own)
    }

    /// Has all its servers log from `level` on, those that can, now and later.
    pub(crate) async fn set_level(&self, level: &str) {
        self.wants(level);
        let until = Instant::now() + PATIENCE;
        for (link, session) in self.upstreams() {
            session.set_level(&link, level, until).await;
        }
        let children = lock(&self.children).clone();
        for (link, own) in children {
            link.set_level(&own, level, until).await;
        }
    }

    /// Tells all servers that know this client.
    pub(crate) fn tell_all(&self, note: &[u8]) {
        for (link, session) in self.upstreams() {
            link.tell(session, note.to_vec());
        }
        for (_, own) in lock(&self.children).iter() {
            own.child.send_line(note);
        }
    }

    /// The session is over: its children end.
    pub(super) fn end_children(&self) {
        lock(&self.children).clear();
    }
}
