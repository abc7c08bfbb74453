//! Which channels are wanted, which are listened to, and what must be said to the server to make the two agree.
//!
//! Nobody sends LISTEN or UNLISTEN of his own: whoever wants a channel, or no longer wants it, says so here, and the registrar
//! (`registrar.rs`) makes it so, one round after the other. So a LISTEN of one task cannot meet an UNLISTEN of
//! another on the way, and a future dropped anywhere leaves nothing to be put right.
//!
//! ```text
//!             wanted: LISTEN ▶            ◀ confirmed
//!        No ───────────────────▶ Unsure ───────────────────▶ Yes
//!        ▲ ◀───────────────────     ▲    ◀──────────────────  │
//!        │  confirmed, or refused    └─ not wanted: UNLISTEN ─┘
//!        └── the session ended (from anywhere)
//! ```

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;
use tokio::sync::oneshot;
use txpostgres_session::{Error, ErrorKind, Result, push_ident};

use super::queue::Queue;

/// Bytes of SQL that one round may have: 1 MiB, some 16,000 channels. A round is one request, and holds up what comes after it.
const ROUND_BYTES: usize = 1024 * 1024;

/// Told when what was asked for is so, or why it cannot be.
pub(crate) type Reply = oneshot::Sender<Result<()>>;

/// A name that a channel can have; quoting it cannot fail.
pub(crate) type Name = Arc<str>;

/// All channels that anybody wants, or that may be listened to still.
#[derive(Default)]
pub(crate) struct Channels {
    /// Looked up for every notification. Names may come from strangers, so that the hash is seeded; `SipHash` would be a third
    /// of what a notification costs.
    by_name: HashMap<Name, Channel, RandomState>,
    /// Those that have to be looked at; each is in it once.
    due: VecDeque<Name>,
    /// `unlisten_all` was asked for, by these.
    sweep: Option<Vec<Reply>>,
}

#[derive(Default)]
struct Channel {
    /// Wanted by a call of `listen`.
    by_hand: bool,
    subscribers: Vec<Arc<Queue>>,
    heard: Heard,
    is_due: bool,
    /// It was part of a round that was refused: the next has it alone, to find out whose fault it was.
    alone: bool,
    replies: Vec<Reply>,
}

/// Whether the session listens to a channel.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Heard {
    #[default]
    No,
    Unsure,
    Yes,
}

/// What is said to the server in one request.
pub(crate) struct Round {
    pub(crate) sql: String,
    steps: Vec<Step>,
    /// Of those who asked that everything be swept.
    sweepers: Vec<Reply>,
}

struct Step {
    name: Name,
    listen: bool,
    replies: Vec<Reply>,
}

/// Answers to be given once no lock is held.
pub(crate) type Replies = Vec<(Reply, Result<()>)>;

impl Channel {
    fn is_wanted(&self) -> bool {
        self.by_hand || !self.subscribers.is_empty()
    }

    fn is_settled(&self) -> bool {
        match self.heard {
            Heard::No => !self.is_wanted(),
            Heard::Unsure => false,
            Heard::Yes => self.is_wanted(),
        }
    }

    fn is_forgotten(&self) -> bool {
        !self.is_wanted() && self.heard == Heard::No && self.replies.is_empty() && !self.is_due
    }
}

impl Channels {
    /// Those who subscribed to this channel.
    #[inline]
    pub(crate) fn subscribers(&self, name: &str) -> &[Arc<Queue>] {
        if self.by_name.is_empty() {
            return &[];
        }
        self.by_name.get(name).map_or(&[], |channel| &channel.subscribers)
    }

    pub(crate) fn all_subscribers(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.by_name.values().flat_map(|channel| &channel.subscribers)
    }

    /// Whether the registrar has something to do.
    pub(crate) fn has_work(&self) -> bool {
        self.sweep.is_some() || !self.due.is_empty()
    }

    // --- What is wanted ---

    /// Says whether it was wanted by hand before.
    pub(crate) fn listen(&mut self, name: &Name, reply: Reply) -> bool {
        let channel = self.by_name.entry(Arc::clone(name)).or_default();
        let before = std::mem::replace(&mut channel.by_hand, true);
        self.ask(name, Some(reply));
        before
    }

    /// UNLISTEN is said even if we know of no LISTEN: it may have been said in a statement.
    pub(crate) fn unlisten(&mut self, name: &Name, reply: Reply) {
        let channel = self.by_name.entry(Arc::clone(name)).or_default();
        channel.by_hand = false;
        if channel.heard == Heard::No {
            channel.heard = Heard::Unsure;
        }
        self.ask(name, Some(reply));
    }

    /// A `listen` failed: it is as if it had not been called.
    pub(crate) fn forget(&mut self, name: &Name) {
        if let Some(channel) = self.by_name.get_mut(name) {
            channel.by_hand = false;
            self.ask(name, None);
            self.drop_forgotten(name);
        }
    }

    pub(crate) fn subscribe(&mut self, name: &Name, queue: Arc<Queue>, reply: Reply) {
        self.by_name.entry(Arc::clone(name)).or_default().subscribers.push(queue);
        self.ask(name, Some(reply));
    }

    pub(crate) fn unsubscribe(&mut self, name: &Name, queue: &Arc<Queue>) {
        let Some(channel) = self.by_name.get_mut(name) else {
            return;
        };
        if let Some(place) = channel.subscribers.iter().position(|known| Arc::ptr_eq(known, queue))
        {
            channel.subscribers.swap_remove(place);
            if channel.subscribers.is_empty() {
                self.ask(name, None);
                self.drop_forgotten(name);
            }
        }
    }

    pub(crate) fn unlisten_all(&mut self, reply: Reply) {
        for channel in self.by_name.values_mut() {
            channel.by_hand = false;
        }
        self.sweep.get_or_insert_default().push(reply);
    }

    /// The user closes the connection: nothing is wanted any more. Gives the queues of those who had subscribed, and those who
    /// wait for an answer.
    pub(crate) fn clear(&mut self) -> (Vec<Arc<Queue>>, Vec<Reply>) {
        let replies = self.take_replies();
        let subscribers =
            self.by_name.drain().flat_map(|(_, channel)| channel.subscribers).collect();
        self.due.clear();
        (subscribers, replies)
    }

    fn ask(&mut self, name: &Name, reply: Option<Reply>) {
        let Some(channel) = self.by_name.get_mut(name) else {
            return;
        };
        channel.replies.extend(reply);
        if (!channel.is_settled() || !channel.replies.is_empty()) && !channel.is_due {
            channel.is_due = true;
            self.due.push_back(Arc::clone(name));
        }
    }

    // --- Making it so ---

    /// The next round. Who already has what was asked for is added to `replies`.
    pub(crate) fn round(&mut self, replies: &mut Replies) -> Option<Round> {
        let mut round = Round { sql: String::new(), steps: Vec::new(), sweepers: Vec::new() };
        let is_sweep = self.sweep.is_some();
        if let Some(sweepers) = self.sweep.take() {
            round.sweepers = sweepers;
            round.sql.push_str("UNLISTEN *");
            self.restart();
        }
        while let Some(name) = self.due.pop_front() {
            let Some(channel) = self.by_name.get_mut(&name) else {
                continue;
            };
            if channel.alone && !round.sql.is_empty() || round.sql.len() > ROUND_BYTES {
                self.due.push_front(name);
                break;
            }
            channel.is_due = false;
            let alone = std::mem::take(&mut channel.alone);
            let waiting = std::mem::take(&mut channel.replies);
            if channel.is_settled() {
                if is_sweep {
                    // It will be so when everything has been swept.
                    round.sweepers.extend(waiting);
                } else {
                    replies.extend(waiting.into_iter().map(|reply| (reply, Ok(()))));
                }
                self.drop_forgotten(&name);
                continue;
            }
            let listen = channel.is_wanted();
            channel.heard = Heard::Unsure;
            round.say(name, listen, waiting);
            if alone {
                break;
            }
        }
        (!round.sql.is_empty()).then_some(round)
    }

    /// The server has done what the round said.
    pub(crate) fn confirmed(&mut self, round: Round, replies: &mut Replies) {
        for step in round.steps {
            self.settle(&step.name, if step.listen { Heard::Yes } else { Heard::No });
            replies.extend(step.replies.into_iter().map(|reply| (reply, Ok(()))));
        }
        replies.extend(round.sweepers.into_iter().map(|reply| (reply, Ok(()))));
    }

    /// The server has refused it: all of it, if one of several channels was to blame, so each is tried alone.
    pub(crate) fn refused(&mut self, round: Round, error: &Error, replies: &mut Replies) {
        let several = round.steps.len() > 1 || !round.sweepers.is_empty();
        for step in round.steps {
            self.settle(&step.name, if step.listen { Heard::No } else { Heard::Yes });
            if !several {
                replies.extend(step.replies.into_iter().map(|reply| (reply, Err(copy(error)))));
            } else if let Some(channel) = self.by_name.get_mut(&step.name) {
                channel.alone = true;
                channel.replies.extend(step.replies);
                self.ask(&step.name, None);
            }
        }
        replies.extend(round.sweepers.into_iter().map(|reply| (reply, Err(copy(error)))));
    }

    /// Everybody who waits for an answer.
    pub(crate) fn take_replies(&mut self) -> Vec<Reply> {
        let mut replies = self.sweep.take().unwrap_or_default();
        for channel in self.by_name.values_mut() {
            replies.append(&mut channel.replies);
        }
        replies
    }

    /// There is a session that listens to nothing, or none; what is wanted stays wanted.
    pub(crate) fn restart(&mut self) {
        self.due.clear();
        self.by_name.retain(|name, channel| {
            channel.heard = Heard::No;
            channel.is_due = channel.is_wanted() || !channel.replies.is_empty();
            if channel.is_due {
                self.due.push_back(Arc::clone(name));
            }
            channel.is_due
        });
    }

    fn settle(&mut self, name: &Name, heard: Heard) {
        if let Some(channel) = self.by_name.get_mut(name) {
            channel.heard = heard;
            self.drop_forgotten(name);
        }
    }

    fn drop_forgotten(&mut self, name: &Name) {
        if self.by_name.get(name).is_some_and(Channel::is_forgotten) {
            self.by_name.remove(name);
        }
    }
}

impl Round {
    fn say(&mut self, name: Name, listen: bool, replies: Vec<Reply>) {
        if !self.sql.is_empty() {
            self.sql.push_str("; ");
        }
        self.sql.push_str(if listen { "LISTEN " } else { "UNLISTEN " });
        // Names were looked at when they came.
        push_ident(&mut self.sql, &name).ok();
        self.steps.push(Step { name, listen, replies });
    }

    /// Everybody who waits for this round.
    pub(crate) fn into_replies(self) -> impl Iterator<Item = Reply> {
        self.steps.into_iter().flat_map(|step| step.replies).chain(self.sweepers)
    }
}

/// The same error for one more of those who are to be told.
pub(crate) fn copy(error: &Error) -> Error {
    match error.server() {
        Some(server) if error.kind() == ErrorKind::Server => Error::from_server(server.clone()),
        _ => Error::new(error.kind(), error.to_string()),
    }
}
