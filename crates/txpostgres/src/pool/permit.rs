//! A connection that was handed out: given back when it is dropped.

use std::mem;
use std::sync::Arc;

use txpostgres_policy::{Claim, Condition, GivenBack};

use super::SessionState;
use super::member::Member;
use super::shared::{Shared, now};
use super::wish::Purpose;

/// The use of a connection. It is given back once, however it ends.
pub(super) struct Permit {
    pub(super) shared: Arc<Shared>,
    pub(super) member: Arc<Member>,
    claim: Option<Claim>,
    purpose: Purpose,
}

impl Permit {
    pub(super) fn new(shared: &Arc<Shared>, member: Arc<Member>, claim: Claim) -> Self {
        let shared = Arc::clone(shared);
        Self { shared, member, claim: Some(claim), purpose: Purpose::Anything }
    }

    pub(super) fn set_purpose(&mut self, purpose: Purpose) {
        self.purpose = purpose;
    }

    /// It is used by this caller alone.
    pub(super) fn is_alone(&self) -> bool {
        self.claim.as_ref().is_some_and(|claim| !claim.is_shared())
    }

    /// It was found alive: others may share it.
    pub(super) fn checked(&self) {
        if let Some(claim) = &self.claim {
            let handed = self.shared.state.lock().slots.checked(now(), claim);
            self.shared.hand(handed);
        }
    }

    /// What it was used for has ended, and was answered.
    pub(super) fn finish(mut self) {
        self.give_back(true);
    }

    /// The connection is of no use: its place is free.
    pub(super) fn discard(mut self) {
        self.claim = None;
        let was_there = self.shared.remove(self.member.id).is_some();
        if was_there && self.member.is_dead() {
            self.shared.counters.lost();
        }
    }

    #[inline]
    fn give_back(&mut self, is_finished: bool) {
        let Some(claim) = self.claim.take() else { return };
        let shared = &self.shared;
        let is_alone = !claim.is_shared();
        let condition = match self.purpose {
            // The answer to such a statement ends with the status of a session that is idle.
            Purpose::Statement(_) if is_finished => Condition::Clean,
            Purpose::Statement(_) if is_alone && self.member.is_clean() => Condition::Clean,
            Purpose::Anything
                if shared.settings.session_state == SessionState::Keep
                    && shared.settings.after_release.is_none()
                    && self.member.is_clean() =>
            {
                Condition::Clean
            }
            _ => Condition::Unclear,
        };
        if is_alone && self.purpose == Purpose::Anything {
            let before = self.member.holder.lock().take();
            drop(before);
        }
        let now = now();
        if cfg!(feature = "metrics") {
            shared.meters.used(now.saturating_duration_since(claim.began()));
        }
        let (given, handed, is_at_rest) = {
            let mut state = shared.state.lock();
            let (given, worked, handed) = state.slots.give_back(now, claim, condition);
            if let Purpose::Statement(text) = self.purpose
                && is_finished
            {
                state.pace.note(text, worked);
            }
            (given, handed, state.is_watched && state.slots.is_at_rest())
        };
        if !handed.is_empty() {
            shared.hand(handed);
        }
        if is_at_rest {
            shared.at_rest.notify_waiters();
        }
        match given {
            GivenBack::Kept => {}
            given => self.not_kept(given),
        }
    }

    #[cold]
    fn not_kept(&self, given: GivenBack<Arc<Member>>) {
        match given {
            GivenBack::Kept | GivenBack::Gone => {}
            GivenBack::Retired(member) => self.shared.retired(vec![member]),
            GivenBack::MustBeCleaned(slot, member) => self.shared.clean(slot, member),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.claim.is_some() {
            self.give_back(false);
        }
    }
}

/// The state in which a permit is, or was: for values that give it back by themselves.
pub(super) fn finish(permit: &mut Option<Permit>) {
    if let Some(permit) = mem::take(permit) {
        permit.finish();
    }
}
