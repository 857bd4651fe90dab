//! How instances and revisions of a server come and go.
//!
//! The rule: whoever changes a row or the choice between rows does it here, so that the fleet that everybody reads is
//! always the newest, and whoever waits for an instance looks again.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use super::Server;
use super::fleet::{Candidate, Fleet};
use super::instance::Instance;
use super::revision::Revision;
use crate::clock::lock;
use crate::config::ServerSpec;
use crate::deploy::Watch;
use crate::error::{Error, Result};
use crate::events::EventKind;
use crate::info::ServerState;
use crate::storage::Claim;
use crate::upstream::Link;

impl Server {
    fn arrange(&self, edit: impl FnOnce(&Fleet) -> Fleet) {
        {
            let _one = lock(&self.arranging);
            let new = edit(&self.fleet.load());
            self.fleet.store(Arc::new(new));
        }
        self.changed.notify_waiters();
        self.interest.poke();
    }

    fn rearranged(&self) {
        self.arrange(|fleet| fleet.with(fleet.candidate.clone()));
    }

    /// A revision of this server without instances.
    pub(crate) fn revise(&self, number: u32, spec: Arc<ServerSpec>) -> Arc<Revision> {
        Revision::new(number, spec, self.seed.wrapping_add(u64::from(number) - 1))
    }

    /// The revision that serves from now on.
    pub(crate) fn install(self: &Arc<Self>, revision: Arc<Revision>) {
        self.traffic.adopt(&revision.spec);
        self.arrange(|_| Fleet::new(revision, None, None));
        self.catalog.invalidate();
        self.count_quick();
        self.watch_health();
    }

    /// A second revision that gets `share_percent` of the calls.
    pub(crate) fn propose(&self, revision: &Arc<Revision>, share_percent: u8) {
        self.arrange(|fleet| {
            let turn = Arc::clone(&self.turn);
            let candidate = Candidate::new(Arc::clone(revision), u64::from(share_percent), turn);
            fleet.with(Some(Arc::new(candidate)))
        });
    }

    /// The second revision gets no calls any more.
    pub(crate) fn withdraw(&self) {
        self.arrange(|fleet| fleet.with(None));
    }

    /// Who looks on from now on.
    pub(crate) fn watch(&self, watch: Option<Arc<Watch>>) {
        self.arrange(|fleet| {
            Fleet::new(Arc::clone(&fleet.current), fleet.candidate.clone(), watch)
        });
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.fleet.load().watch.is_some()
    }

    /// A child ended by itself, or did not start.
    pub(crate) fn lost(&self, error: &Error) {
        let links = self.fleet.load().current.links();
        if self.draining.load(Relaxed) || !links.iter().any(Link::is_down) {
            return; // it is of a revision that does not serve yet, or not any more
        }
        self.look(Some(error.message()));
    }

    /// Somebody wants its instances now.
    pub(crate) fn forgive(&self) {
        self.fleet.load().links().iter().for_each(Link::forgive);
    }

    /// A child came up.
    pub(crate) fn regained(&self) {
        if matches!(
            self.state(),
            ServerState::Unhealthy | ServerState::Degraded | ServerState::Maintenance
        ) {
            self.fleet.load().current.regained();
            self.look(None);
        }
    }

    /// A child came back as another process.
    pub(crate) fn restarted(&self, old: u32, new: u32) {
        self.restarts.fetch_add(1, Relaxed);
        self.shared.events.send(
            EventKind::Restart,
            self.name(),
            Some(&old.to_string()),
            Some(&new.to_string()),
        );
    }

    /// Shows what is wrong without a change of state.
    pub(crate) fn note_trouble(&self, error: &Error) {
        self.last_error.store(Some(Arc::new(error.message())));
    }

    /// A new instance in a free slot, with its storage claimed; it is not started and takes no calls.
    pub(crate) fn add(self: &Arc<Self>, revision: &Revision, slot: usize) -> Result<Arc<Instance>> {
        let owner: Weak<Self> = Arc::downgrade(self);
        let shared = &self.shared;
        let wanted = revision.spec.storage.as_ref();
        let claim = wanted
            .map(|wanted| shared.storage.claim(shared, self.name(), wanted))
            .transpose()?;
        let directory = claim.as_ref().map(Claim::path);
        let link = Link::new(&revision.spec, slot, shared, owner, directory.as_deref());
        Ok(revision.put(slot, link, claim))
    }

    /// Fills the slots of the current revision; they start when they are called.
    pub(crate) fn populate(self: &Arc<Self>) -> Result<()> {
        let revision = Arc::clone(&self.fleet.load().current);
        for slot in revision.free() {
            let instance = self.add(&revision, slot)?;
            self.open(&revision, &instance);
        }
        Ok(())
    }

    /// Gives back what a closed instance has claimed; `None` does what the claim says.
    pub(crate) async fn release(&self, instance: &Instance, keep: Option<bool>) {
        if let Some(claim) = instance.take_claim() {
            self.shared.storage.release(claim, keep).await;
        }
    }

    /// Gives back what all of its closed instances have claimed, and what was kept for it.
    pub(crate) async fn release_all(&self, keep: Option<bool>) {
        let fleet = self.fleet.load_full();
        for instance in fleet.revisions().flat_map(|revision| revision.everybody()) {
            self.release(&instance, keep).await;
        }
        let said = fleet.current.spec.storage.as_ref();
        if !keep.unwrap_or(said.is_some_and(|claim| claim.keep)) {
            self.shared.storage.forget(self.name()).await;
        }
    }

    /// From now on it takes calls.
    pub(crate) fn open(&self, revision: &Revision, instance: &Instance) {
        revision.open(instance);
        self.rearranged();
    }

    /// From now on it takes no calls; false if that was so before.
    pub(crate) fn retire(&self, revision: &Revision, instance: &Arc<Instance>) -> bool {
        let done = revision.retire(instance);
        self.rearranged();
        done
    }
}
