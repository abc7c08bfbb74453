//! The transaction of a server session: what it has done so far, its savepoints, what becomes true
//! at its commit.

use crate::token::Token;

/// ```text
///          statement ▶             BEGIN ▶             error ▶
///   None ─────────────▶ Implicit ──────────▶ Explicit ─────────▶ Failed
///    ▲                     │                    │ ▲                │ │
///    ├── Sync, end of script, error ────────────┘ └─ ROLLBACK TO ──┘ │
///    └── COMMIT, ROLLBACK ───────────────────────────────────────────┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum State {
    #[default]
    None,
    /// Ends with its request.
    Implicit,
    /// Begun by a statement.
    Explicit,
    Failed,
}

/// See the file's text.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    pub(crate) state: State,
    pub(crate) id: u64,
    /// What is undone by a rollback, to the end or to a savepoint.
    pub(crate) done: Done,
    savepoints: Vec<Savepoint>,
    /// COMMIT fails.
    pub(crate) is_doomed: bool,
    pub(crate) commit_ms: u32,
    pub(crate) rollback_ms: u32,
}

/// What a transaction has done.
#[derive(Debug, Default, Clone)]
pub(crate) struct Done {
    /// Tokens of the effects, in their order.
    pub(crate) effects: Vec<Token>,
    pub(crate) listens: Vec<Listening>,
    /// Channel and payload.
    pub(crate) notifies: Vec<(String, String)>,
    /// Tables whose shape was changed, with the shape before.
    pub(crate) altered: Vec<(u32, u32)>,
}

/// What COMMIT does about channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listening {
    Begin(String),
    End(String),
    EndAll,
}

#[derive(Debug)]
struct Savepoint {
    name: String,
    effects: usize,
    listens: usize,
    notifies: usize,
    altered: usize,
}

impl Transaction {
    /// As ReadyForQuery says it.
    pub(crate) fn status(&self) -> u8 {
        match self.state {
            State::None | State::Implicit => b'I',
            State::Explicit => b'T',
            State::Failed => b'E',
        }
    }

    /// A statement is about to run.
    pub(crate) fn begin(&mut self, next: &mut u64) {
        if self.state == State::None {
            *next += 1;
            (self.id, self.state) = (*next, State::Implicit);
        }
    }

    /// It is over; gives what it had done.
    pub(crate) fn end(&mut self) -> Done {
        std::mem::take(self).done
    }

    pub(crate) fn save(&mut self, name: &str) {
        self.savepoints.push(Savepoint {
            name: name.to_owned(),
            effects: self.done.effects.len(),
            listens: self.done.listens.len(),
            notifies: self.done.notifies.len(),
            altered: self.done.altered.len(),
        });
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.savepoints.iter().rposition(|savepoint| savepoint.name == name)
    }

    /// Forgets a savepoint and those inside of it; `false` if there is none.
    pub(crate) fn release(&mut self, name: &str) -> bool {
        let found = self.find(name);
        if let Some(at) = found {
            self.savepoints.truncate(at);
        }
        found.is_some()
    }

    /// Undoes what was done since the savepoint; gives what was undone.
    pub(crate) fn roll_back_to(&mut self, name: &str) -> Option<Done> {
        let at = self.find(name)?;
        self.savepoints.truncate(at + 1);
        let savepoint = self.savepoints.get(at)?;
        self.state = State::Explicit;
        Some(Done {
            effects: self.done.effects.split_off(savepoint.effects),
            listens: self.done.listens.split_off(savepoint.listens),
            notifies: self.done.notifies.split_off(savepoint.notifies),
            altered: self.done.altered.split_off(savepoint.altered),
        })
    }
}
