//! Owns the order of slots in a slab: a doubly linked list over indices, so that adding, removing and looking at either
//! end cost the same few nanoseconds however many there are.
//!
//! Rule: an index is in the list at most once; removing one that is not in it does nothing.

const NIL: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Link {
    before: u32,
    after: u32,
    linked: bool,
}

const UNLINKED: Link = Link {
    before: NIL,
    after: NIL,
    linked: false,
};

#[derive(Debug, Clone)]
pub(crate) struct Order {
    links: Vec<Link>,
    first: u32,
    last: u32,
}

impl Order {
    pub(crate) const fn new() -> Self {
        Self {
            links: Vec::new(),
            first: NIL,
            last: NIL,
        }
    }

    pub(crate) fn push_last(&mut self, i: u32) {
        let at = i as usize;
        if at >= self.links.len() {
            self.links.resize(at + 1, UNLINKED);
        }
        debug_assert!(!self.links[at].linked, "slot {i} is linked already");
        self.links[at] = Link {
            before: self.last,
            after: NIL,
            linked: true,
        };
        if self.last == NIL {
            self.first = i;
        } else {
            self.links[self.last as usize].after = i;
        }
        self.last = i;
    }

    pub(crate) fn remove(&mut self, i: u32) {
        let Some(&Link {
            before,
            after,
            linked: true,
        }) = self.links.get(i as usize)
        else {
            return;
        };
        if before == NIL {
            self.first = after;
        } else {
            self.links[before as usize].after = after;
        }
        if after == NIL {
            self.last = before;
        } else {
            self.links[after as usize].before = before;
        }
        self.links[i as usize] = UNLINKED;
    }

    pub(crate) fn first(&self) -> Option<u32> {
        (self.first != NIL).then_some(self.first)
    }

    pub(crate) fn last(&self) -> Option<u32> {
        (self.last != NIL).then_some(self.last)
    }

    pub(crate) fn after(&self, i: u32) -> Option<u32> {
        let after = self.links[i as usize].after;
        (after != NIL).then_some(after)
    }
}
