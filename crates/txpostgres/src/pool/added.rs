//! Connections that a program adds to a pool, or takes out of it.

use std::sync::{Arc, Weak};

use super::member::{Member, MemberId};
use super::shared::{Phase, Shared};
use crate::connection::Connection;
use crate::reconnection::{ConnectionState, DeadConnectionDetector};
use parking_lot::Mutex;

impl Shared {
    /// Adds a connection, and room for it.
    pub(super) fn add(&self, connection: Connection) {
        // The pool is used from now on; without a runtime nothing is opened.
        let _ = self.begin();
        let id = self.next_member();
        let member = {
            let mut state = self.state.lock();
            let mut all = state.slots.connections().map(|(_, member)| member).chain(&state.dead);
            let is_known = all.any(|member| member.connection.is_same(&connection));
            drop(all);
            if is_known || state.phase == Phase::Closed {
                return;
            }
            state.min += 1;
            state.max += 1;
            let generation = state.generation;
            let holder = Mutex::default();
            Arc::new(Member { id, connection, generation, is_own: false, holder })
        };
        let detector = member.connection.detector().cloned();
        let this = self.this();
        if let Some(detector) = detector {
            self.spawn(follow(this, id, detector));
        } else {
            member.connection.handle.driver.on_end(move |_| {
                if let Some(shared) = this.upgrade() {
                    shared.take_out(id);
                }
            });
        }
        self.put(member);
    }

    /// Takes a connection out, and the room for it.
    pub(super) fn remove_connection(&self, connection: &Connection) -> bool {
        let id = {
            let state = self.state.lock();
            let mut all = state.slots.connections().map(|(_, member)| member).chain(&state.dead);
            all.find(|member| member.connection.is_same(connection)).map(|member| member.id)
        };
        id.is_some_and(|id| self.take_out(id))
    }

    fn take_out(&self, id: MemberId) -> bool {
        let mut removed = self.remove(id);
        let mut state = self.state.lock();
        let at = state.dead.iter().position(|dead| dead.id == id);
        removed = removed.or_else(|| at.map(|at| state.dead.swap_remove(at)));
        if removed.is_some() {
            state.min = state.min.saturating_sub(1);
            state.max = state.max.saturating_sub(1);
        }
        drop(state);
        removed.is_some()
    }
}

/// Takes a connection with a detector out of use while it is dead.
async fn follow(shared: Weak<Shared>, id: MemberId, detector: DeadConnectionDetector) {
    let mut states = detector.states();
    while let Some(change) = states.next().await {
        let Some(shared) = shared.upgrade() else { return };
        match change {
            ConnectionState::Down { .. } => {
                if let Some(member) = shared.remove(id) {
                    shared.state.lock().dead.push(member);
                }
            }
            ConnectionState::Up { .. } => {
                let back = {
                    let mut state = shared.state.lock();
                    let at = state.dead.iter().position(|dead| dead.id == id);
                    at.map(|at| state.dead.swap_remove(at))
                };
                if let Some(member) = back {
                    shared.put(member);
                }
            }
            ConnectionState::Closed | ConnectionState::GivenUp { .. } => {
                shared.take_out(id);
                return;
            }
            _ => {}
        }
    }
}
