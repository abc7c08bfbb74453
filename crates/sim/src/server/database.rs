//! What all sessions of the model server share: committed effects, the shapes of tables, channels
//! and their listeners.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::transaction::{Done, Listening};
use crate::token::Token;

/// The database, and what its sessions have in common.
#[derive(Debug, Default)]
pub(crate) struct Database {
    /// Tokens whose effect was committed, and how often.
    pub(crate) committed: BTreeMap<Token, u32>,
    /// How often the shape of a table was changed.
    shapes: BTreeMap<u32, u32>,
    /// By process: channels, and notifications that were not sent yet.
    listeners: BTreeMap<u32, Listener>,
    pub(crate) transactions: u64,
}

#[derive(Debug, Default)]
struct Listener {
    channels: BTreeSet<String>,
    waiting: VecDeque<Notified>,
}

/// One notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notified {
    pub(crate) by: u32,
    pub(crate) channel: String,
    pub(crate) payload: String,
}

impl Database {
    /// How many columns the results of a statement on this table have beside the others.
    pub(crate) fn shape(&self, table: Option<u32>) -> u32 {
        table.and_then(|table| self.shapes.get(&table)).copied().unwrap_or(0)
    }

    /// Changes the shape of a table; gives the one before.
    pub(crate) fn alter(&mut self, table: u32) -> u32 {
        let shape = self.shapes.entry(table).or_default();
        let before = *shape;
        *shape += 1;
        before
    }

    /// A transaction of this process is committed.
    pub(crate) fn commit(&mut self, process: u32, done: &Done) {
        for token in &done.effects {
            *self.committed.entry(*token).or_default() += 1;
        }
        let listener = self.listeners.entry(process).or_default();
        for change in &done.listens {
            match change {
                Listening::Begin(channel) => {
                    listener.channels.insert(channel.clone());
                }
                Listening::End(channel) => {
                    listener.channels.remove(channel);
                }
                Listening::EndAll => listener.channels.clear(),
            }
        }
        for (channel, payload) in &done.notifies {
            self.notify(process, channel, payload);
        }
    }

    /// A transaction is rolled back, or a part of it.
    pub(crate) fn undo(&mut self, done: &Done) {
        for (table, before) in done.altered.iter().rev() {
            self.shapes.insert(*table, *before);
        }
    }

    /// Queues a notification for each process that listens to the channel.
    pub(crate) fn notify(&mut self, by: u32, channel: &str, payload: &str) {
        for listener in self.listeners.values_mut() {
            if listener.channels.contains(channel) {
                listener.waiting.push_back(Notified {
                    by,
                    channel: channel.to_owned(),
                    payload: payload.to_owned(),
                });
            }
        }
    }

    /// The next notification for this process.
    pub(crate) fn next_notified(&mut self, process: u32) -> Option<Notified> {
        self.listeners.get_mut(&process)?.waiting.pop_front()
    }

    /// Whether this process listens to this channel.
    pub(crate) fn listens(&self, process: u32, channel: &str) -> bool {
        self.listeners.get(&process).is_some_and(|listener| listener.channels.contains(channel))
    }

    /// The process is gone.
    pub(crate) fn leave(&mut self, process: u32) {
        self.listeners.remove(&process);
    }
}
