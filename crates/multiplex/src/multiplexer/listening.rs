//! LISTEN and UNLISTEN in rounds, each a request like others.

use txpostgres_session::{Error, ErrorKind, Request, TransactionStatus};

use super::{Multiplexer, discard};
use crate::effects::Effects;
use crate::listen::Round;
use crate::slots::{Settled, Slot, SlotId};

/// Whether the server listens to the wanted channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reconciliation {
    /// It does, as far as known.
    Agreed,
    /// The wanted channels have changed, or those that the server listens to.
    Due,
    /// A round is in flight. After its answer another one is due, which may be empty.
    InFlight,
}

impl Multiplexer {
    /// The wanted channels have changed. Returns whether a request was submitted, which must be
    /// sent.
    pub fn reconcile(&mut self, effects: &mut Effects) -> bool {
        if self.is_closed() {
            let why = self.why_closed();
            self.listeners.refuse_all(&why, effects);
            return false;
        }
        if self.reconciliation == Reconciliation::Agreed {
            self.reconciliation = Reconciliation::Due;
        }
        self.begin_round(effects)
    }

    /// Whether the server listens to the wanted channels, as far as known.
    pub fn is_listening(&self) -> bool {
        self.reconciliation == Reconciliation::Agreed
    }

    /// Submits the next round, if one is due and no transaction has the session: a LISTEN within it
    /// would only count when it commits.
    pub(super) fn begin_round(&mut self, effects: &mut Effects) -> bool {
        if self.reconciliation != Reconciliation::Due
            || self.lock.lease().is_some()
            || self.open_session().is_ok_and(|session| session.is_closed())
            || self.is_closed()
        {
            return false;
        }
        let Some(round) = self.listeners.next_round(effects) else {
            self.reconciliation = Reconciliation::Agreed;
            return false;
        };
        let request = Request::Script { sql: &round.sql };
        match self.open_session().and_then(|session| session.submit(request)) {
            Ok(ticket) => {
                self.insert(ticket, Slot::Round(Box::new(round)));
                self.reconciliation = Reconciliation::InFlight;
                true
            }
            Err(error) => {
                self.listeners.finish(round, Err(&error), true, effects);
                false
            }
        }
    }

    /// A round was answered.
    pub(super) fn reconciled(
        &mut self,
        id: SlotId,
        (outcome, status): Settled,
        effects: &mut Effects,
    ) {
        let round = match self.slots.free(id) {
            Slot::Round(round) => *round,
            other => return discard(other, effects),
        };
        let is_final = status == TransactionStatus::Idle;
        self.finish_round(round, outcome.as_ref().map(drop), is_final, effects);
        // There may have been changes meanwhile, and a refused round may have to be tried in parts.
        self.reconciliation = Reconciliation::Due;
    }

    fn finish_round(
        &mut self,
        round: Round,
        outcome: Result<(), &Error>,
        is_final: bool,
        effects: &mut Effects,
    ) {
        if let Err(error) = outcome
            && error.kind() == ErrorKind::Server
        {
            effects.warn(format!("LISTEN or UNLISTEN failed: {error}"));
        }
        self.listeners.finish(round, outcome, is_final, effects);
    }

    /// A statement has undone the LISTENs of the session: they are renewed.
    pub(super) fn listens_lost(&mut self) {
        self.listeners.lost();
        if self.reconciliation == Reconciliation::Agreed {
            self.reconciliation = Reconciliation::Due;
        }
    }
}
