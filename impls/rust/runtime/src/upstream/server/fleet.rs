//! Which revisions of a server take calls, and in which shares.
//!
//! The rule: a fleet never changes; a new one takes its place at once, and whoever chose from the old one either holds
//! a seat that is drained before it goes, or is refused and looks again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::instance::Instance;
use super::revision::{Refusal, Revision};
use crate::deploy::Watch;
use crate::upstream::Link;

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// What a caller wants of the choice.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wish<'a> {
    /// Tells the instance that keeps something of the caller's own; it is taken if it serves.
    pub(crate) pinned: Option<&'a (dyn Fn(&Link) -> bool + Sync)>,
    /// Where it was tried already: these come last, or not at all.
    pub(crate) tried: &'a [Link],
    pub(crate) only_others: bool,
    /// What balancer `rendezvous` goes by.
    pub(crate) key: u64,
}

/// An instance that was chosen, and where it stands.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) revision: Arc<Revision>,
    pub(crate) instance: Arc<Instance>,
}

/// A new revision and its part of the calls.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) revision: Arc<Revision>,
    pub(crate) share_percent: u64,
    turn: Arc<AtomicU64>,
}

/// The revisions at one moment.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) current: Arc<Revision>,
    pub(crate) candidate: Option<Arc<Candidate>>,
    /// Who looks on while a candidate is judged. Then no call goes the short way.
    pub(crate) watch: Option<Arc<Watch>>,
    /// An instance that takes calls, for what all of them have in common; `None` while none does.
    pub(crate) front: Option<Link>,
}

impl Candidate {
    pub(super) fn new(revision: Arc<Revision>, share_percent: u64, turn: Arc<AtomicU64>) -> Self {
        Self {
            revision,
            share_percent,
            turn,
        }
    }

    /// Whether the next call is its own, evenly spread. The turns are a Weyl sequence (multiples of the golden ratio): a
    /// count would fall into step with callers that take turns, too.
    fn is_next(&self) -> bool {
        if self.share_percent == 0 {
            return false;
        }
        let turn = self.turn.fetch_add(GOLDEN, Relaxed).wrapping_add(GOLDEN);
        (u128::from(turn) * 100) >> 64 < u128::from(self.share_percent)
    }
}

impl Fleet {
    pub(super) fn new(
        current: Arc<Revision>,
        candidate: Option<Arc<Candidate>>,
        watch: Option<Arc<Watch>>,
    ) -> Self {
        let mut serving = current.serving();
        if serving.is_empty()
            && let Some(candidate) = &candidate
        {
            serving = candidate.revision.serving();
        }
        Self {
            front: serving.first().map(|instance| instance.link.clone()),
            current,
            candidate,
            watch,
        }
    }

    /// The same with another candidate.
    pub(super) fn with(&self, candidate: Option<Arc<Candidate>>) -> Self {
        Self::new(Arc::clone(&self.current), candidate, self.watch.clone())
    }

    pub(super) fn choose(&self, wish: &Wish<'_>, now: u64) -> Result<Seat, Refusal> {
        match &self.candidate {
            None => self.current.choose(wish, now),
            Some(candidate) => self.choose_of_two(candidate, wish, now),
        }
    }

    fn choose_of_two(
        &self,
        candidate: &Candidate,
        wish: &Wish<'_>,
        now: u64,
    ) -> Result<Seat, Refusal> {
        let pinned = |revision: &Revision| wish.pinned.is_some_and(|of| revision.binds(of));
        let new = if pinned(&self.current) {
            false
        } else {
            pinned(&candidate.revision) || candidate.is_next()
        };
        let (first, second) = if new {
            (&candidate.revision, &self.current)
        } else {
            (&self.current, &candidate.revision)
        };
        match (first.choose(wish, now), new || candidate.share_percent > 0) {
            (Err(refusal), true) => second.choose(wish, now).map_err(|other| match refusal {
                Refusal::Paused => other,
                Refusal::Open(_) => refusal,
            }),
            (outcome, _) => outcome,
        }
    }

    /// Every revision that takes or may take calls.
    pub(crate) fn revisions(&self) -> impl Iterator<Item = &Arc<Revision>> {
        std::iter::once(&self.current)
            .chain(self.candidate.iter().map(|candidate| &candidate.revision))
    }

    /// The ways to all of their instances.
    pub(crate) fn links(&self) -> Vec<Link> {
        self.revisions()
            .flat_map(|revision| revision.links())
            .collect()
    }
}
