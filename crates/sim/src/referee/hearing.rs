//! Notifications, as the server sent them and as listeners heard them.

use std::collections::{BTreeMap, BTreeSet};

use crate::callers::Heard;
use crate::finding::{Finding, Rule, found};

/// Notifications and listeners.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// Line, channel and payload, in the order in which the server said them.
    said: Vec<(usize, String, String)>,
    listeners: BTreeMap<u32, Listener>,
}

/// One listener.
#[derive(Debug, Default)]
struct Listener {
    /// What it listens to, once that is confirmed.
    channel: Option<String>,
    /// The last place in `said` that it has heard.
    last: Option<usize>,
    /// Notifications that it was told to have missed, since it last heard one.
    missed: u64,
    /// The session ended since it last heard one.
    is_apart: bool,
    payloads: BTreeSet<String>,
    has_left: bool,
}

impl Hearing {
    pub(super) fn notified(&mut self, line: usize, channel: &str, payload: &str) {
        // What an earlier session is still told can be heard by none.
        if self.said.last().is_some_and(|(newest, ..)| *newest > line) {
            return;
        }
        self.said.push((line, channel.to_owned(), payload.to_owned()));
    }

    pub(super) fn begun(&mut self, op: u32, _session: usize) {
        self.listeners.insert(op, Listener::default());
    }

    pub(super) fn listening(&mut self, op: u32, channel: &str) {
        self.listeners.entry(op).or_default().channel = Some(channel.to_owned());
    }

    pub(super) fn left(&mut self, op: u32) {
        if let Some(listener) = self.listeners.get_mut(&op) {
            listener.has_left = true;
        }
    }

    pub(super) fn is_listening(&self, op: u32) -> bool {
        self.listeners.get(&op).is_some_and(|it| it.channel.is_some() && !it.has_left)
    }

    pub(super) fn has_heard(&self, op: u32, payload: &str) -> bool {
        self.listeners.get(&op).is_some_and(|listener| listener.payloads.contains(payload))
    }

    pub(super) fn was_notified(&self, payload: &str) -> bool {
        self.said.iter().any(|(_, _, said)| said == payload)
    }

    /// Each is heard once and in order, and what was missed is counted. `one`: only those of its
    /// channel are meant for it.
    pub(super) fn heard(&mut self, op: u32, one: bool, heard: &Heard) -> Result<(), Finding> {
        let listener = self.listeners.entry(op).or_default();
        let (channel, payload) = match heard {
            Heard::Payload { channel, payload } => (channel, payload),
            Heard::Missed(count) => {
                listener.missed += count;
                return Ok(());
            }
            Heard::Disconnected | Heard::Gap => {
                listener.is_apart = true;
                return Ok(());
            }
            Heard::End => return Ok(()),
            Heard::Unknown => return found(Rule::Hearing, format!("t{op} heard nonsense")),
        };
        let at =
            self.said.iter().position(|(_, said_on, said)| said_on == channel && said == payload);
        let Some(at) = at else {
            return found(Rule::Hearing, format!("t{op} heard {payload}, which was never sent"));
        };
        if one && listener.channel.as_ref().is_some_and(|wanted| wanted != channel) {
            return found(Rule::Hearing, format!("t{op} heard {payload} of {channel}"));
        }
        let first = listener.last.map_or(at, |last| last + 1);
        if listener.last.is_some() && at < first {
            return found(Rule::Hearing, format!("t{op} heard {payload} again, or out of order"));
        }
        let between = self.said.get(first..at).unwrap_or_default();
        let lost = between.iter().filter(|(_, said_on, _)| !one || said_on == channel).count();
        if !listener.is_apart && lost as u64 != listener.missed && listener.last.is_some() {
            return found(
                Rule::Hearing,
                format!(
                    "t{op} heard {payload}; {lost} came before it, and {} were told as missed",
                    listener.missed
                ),
            );
        }
        (listener.last, listener.missed, listener.is_apart) = (Some(at), 0, false);
        listener.payloads.insert(payload.clone());
        Ok(())
    }
}
