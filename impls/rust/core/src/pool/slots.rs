//! The open connections in their slots: opening, retiring and closing one.
//!
//! Rule: a slot is in `free` only while a place in it can be leased, and in `aging` only until it is retired; once closed
//! it is vacant and used again.

use super::{Conn, Pool};
use crate::actions::{Action, CloseReason};

impl Pool {
    /// No new lease for this connection; close it if nobody uses it. The first reason stands.
    pub(super) fn retire(&mut self, slot: u32, reason: CloseReason, actions: &mut Vec<Action>) {
        let state = &mut self.slots[slot as usize];
        let (conn, reason) = (state.id, *state.retired.get_or_insert(reason));
        if state.used == 0 {
            self.close_slot(slot);
            actions.push(Action::Close { conn, reason });
        } else {
            self.free.remove(slot);
            self.aging.remove(slot);
        }
    }

    pub(super) fn first_idle(&self) -> Option<u32> {
        let mut at = self.free.first();
        while let Some(slot) = at
            && self.slots[slot as usize].used > 0
        {
            at = self.free.after(slot);
        }
        at
    }

    pub(super) fn open_slot(&mut self, now_ns: u64, id: u64) -> u32 {
        let state = Conn {
            id,
            used: 0,
            free_since: now_ns,
            opened_at: now_ns,
            retired: None,
        };
        let slot = if let Some(slot) = self.vacant.pop() {
            self.slots[slot as usize] = state;
            slot
        } else {
            self.slots.push(state);
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 connections")
        };
        self.open.insert(id, slot);
        if self.config.max_age_ns > 0 {
            self.aging.push_last(slot);
        }
        slot
    }

    pub(super) fn close_slot(&mut self, slot: u32) {
        self.open.remove(&self.slots[slot as usize].id);
        self.free.remove(slot);
        self.aging.remove(slot);
        self.vacant.push(slot);
    }
}
