//! Which channels are wanted, which are listened to, and the LISTEN and UNLISTEN that reconcile the
//! two.
//!
//! No call sends LISTEN or UNLISTEN by itself: a call changes what is wanted, and the multiplexer
//! sends one round after the other until the actual state agrees. So a LISTEN of one task cannot
//! overtake an UNLISTEN of another, and dropping a future leaves nothing inconsistent.
//!
//! ```text
//!             wanted: LISTEN ▶            ◀ confirmed
//!        No ───────────────────▶ Unsure ───────────────────▶ Yes
//!        ▲ ◀───────────────────     ▲    ◀──────────────────  │
//!        │  confirmed, or refused    └─ not wanted: UNLISTEN ─┘
//!        └── the session ended, or UNLISTEN, DISCARD ALL or a rollback took it (from anywhere)
//! ```

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;
use txpostgres_session::{Error, ErrorKind, push_ident};

use super::queue::Queue;
use super::reply::Reply;
use crate::effects::Effects;

/// Bytes of SQL that one round may have: 1 MiB, some 16,000 channels. A round is one request, and
/// holds up what comes after it.
const ROUND_BYTES: usize = 1024 * 1024;

/// A name that a channel can have; quoting it cannot fail.
pub type ChannelName = Arc<str>;

/// All channels that are wanted, or that the server may still listen to.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    /// Looked up for every notification. Names may come from untrusted peers, so the hash is
    /// seeded; `SipHash` would be a third of the cost of a notification.
    by_name: HashMap<ChannelName, Channel, RandomState>,
    /// Channels to be reconciled; each is in it at most once.
    due: VecDeque<ChannelName>,
    /// Replies of calls of `unlisten_all`; `None` if there is no such call.
    unlisten_all: Option<Vec<Reply>>,
    /// How many calls of `listen` there were.
    calls: u64,
}

#[derive(Debug, Default)]
struct Channel {
    /// Wanted by a call of `listen`.
    is_explicit: bool,
    /// The last such call, while none of them was confirmed: if it fails, the channel is not wanted
    /// any more.
    unconfirmed: Option<u64>,
    subscribers: Vec<Arc<Queue>>,
    listen_state: ListenState,
    is_due: bool,
    /// It was part of a round that the server refused: the next round has it alone, to find which
    /// channel was refused.
    is_tried_alone: bool,
    replies: Vec<Reply>,
}

/// Whether the session listens to a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum ListenState {
    #[default]
    No,
    Unsure,
    Yes,
}

/// LISTEN and UNLISTEN statements of one request.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) sql: String,
    steps: Vec<Step>,
    /// Replies of calls of `unlisten_all`.
    unlisten_all: Vec<Reply>,
}

#[derive(Debug)]
struct Step {
    name: ChannelName,
    listen: bool,
    /// A call of `listen` waits to be confirmed by it.
    is_asked_for: bool,
    replies: Vec<Reply>,
}

impl Channel {
    fn is_wanted(&self) -> bool {
        self.is_explicit || !self.subscribers.is_empty()
    }

    fn is_settled(&self) -> bool {
        match self.listen_state {
            ListenState::No => !self.is_wanted(),
            ListenState::Unsure => false,
            ListenState::Yes => self.is_wanted(),
        }
    }

    fn is_forgotten(&self) -> bool {
        !self.is_wanted()
            && self.listen_state == ListenState::No
            && self.replies.is_empty()
            && !self.is_due
    }
}

impl Channels {
    /// The queues of the subscriptions to this channel.
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

    /// Whether no channel is wanted or listened to.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    // --- What is wanted ---

    /// A call of `listen`. Returns its number, for [`forget`](Self::forget).
    pub(crate) fn listen(&mut self, name: &ChannelName, reply: Option<Reply>) -> u64 {
        self.calls += 1;
        let channel = self.by_name.entry(Arc::clone(name)).or_default();
        let was_explicit = std::mem::replace(&mut channel.is_explicit, true);
        if !was_explicit || channel.unconfirmed.is_some() {
            channel.unconfirmed = Some(self.calls);
        }
        self.ask(name, reply);
        self.calls
    }

    /// A call of `unlisten`. UNLISTEN is sent even if no LISTEN is known: a statement may have sent
    /// one.
    pub(crate) fn unlisten(&mut self, name: &ChannelName, reply: Option<Reply>) {
        let channel = self.by_name.entry(Arc::clone(name)).or_default();
        (channel.is_explicit, channel.unconfirmed) = (false, None);
        if channel.listen_state == ListenState::No {
            channel.listen_state = ListenState::Unsure;
        }
        self.ask(name, reply);
    }

    /// This call of `listen` failed: undoes its effect, unless another call wants the channel. Its
    /// task may be late to fetch the error, so a later call may have succeeded in another session.
    pub(crate) fn forget(&mut self, name: &ChannelName, call: u64) {
        if let Some(channel) = self.by_name.get_mut(name)
            && channel.unconfirmed == Some(call)
        {
            (channel.is_explicit, channel.unconfirmed) = (false, None);
            self.ask(name, None);
            self.drop_forgotten(name);
        }
    }

    pub(crate) fn subscribe(
        &mut self,
        name: &ChannelName,
        queue: Arc<Queue>,
        reply: Option<Reply>,
    ) {
        self.by_name.entry(Arc::clone(name)).or_default().subscribers.push(queue);
        self.ask(name, reply);
    }

    pub(crate) fn unsubscribe(&mut self, name: &ChannelName, queue: &Arc<Queue>) {
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

    pub(crate) fn unlisten_all(&mut self, reply: Option<Reply>) {
        for channel in self.by_name.values_mut() {
            (channel.is_explicit, channel.unconfirmed) = (false, None);
        }
        self.unlisten_all.get_or_insert_default().extend(reply);
    }

    /// The user closes the connection: no channel is wanted any more. Returns the queues of the
    /// subscriptions, and the replies of calls that wait.
    pub(crate) fn clear(&mut self) -> (Vec<Arc<Queue>>, Vec<Reply>) {
        let replies = self.take_replies();
        let subscribers =
            self.by_name.drain().flat_map(|(_, channel)| channel.subscribers).collect();
        self.due.clear();
        (subscribers, replies)
    }

    fn ask(&mut self, name: &ChannelName, reply: Option<Reply>) {
        let Some(channel) = self.by_name.get_mut(name) else {
            return;
        };
        channel.replies.extend(reply);
        if (!channel.is_settled() || !channel.replies.is_empty()) && !channel.is_due {
            channel.is_due = true;
            self.due.push_back(Arc::clone(name));
        }
    }

    // --- Reconciling ---

    /// The next round. Calls that need no statement are answered.
    pub(crate) fn round(&mut self, effects: &mut Effects) -> Option<Round> {
        let mut round = Round { sql: String::new(), steps: Vec::new(), unlisten_all: Vec::new() };
        let is_unlisten_all = self.unlisten_all.is_some();
        if let Some(unlisten_all) = self.unlisten_all.take() {
            round.unlisten_all = unlisten_all;
            round.sql.push_str("UNLISTEN *");
            self.restart();
        }
        while let Some(name) = self.due.pop_front() {
            let Some(channel) = self.by_name.get_mut(&name) else {
                continue;
            };
            if channel.is_tried_alone && !round.sql.is_empty() || round.sql.len() > ROUND_BYTES {
                self.due.push_front(name);
                break;
            }
            channel.is_due = false;
            let is_tried_alone = std::mem::take(&mut channel.is_tried_alone);
            let waiting = std::mem::take(&mut channel.replies);
            if channel.is_settled() {
                channel.unconfirmed = None;
                if is_unlisten_all {
                    // Holds once `UNLISTEN *` was answered.
                    round.unlisten_all.extend(waiting);
                } else {
                    answer(waiting, effects);
                }
                self.drop_forgotten(&name);
                continue;
            }
            let (listen, is_asked_for) = (channel.is_wanted(), channel.unconfirmed.is_some());
            channel.listen_state = ListenState::Unsure;
            round.push(Step { name, listen, is_asked_for, replies: waiting });
            if is_tried_alone {
                break;
            }
        }
        (!round.sql.is_empty()).then_some(round)
    }

    /// The server has confirmed the round. Not finally: within a transaction that a statement has
    /// begun, whose rollback undoes it.
    pub(crate) fn confirmed(&mut self, round: Round, is_final: bool, effects: &mut Effects) {
        for step in round.steps {
            let state = match (step.listen, is_final) {
                (true, _) => ListenState::Yes,
                (false, true) => ListenState::No,
                (false, false) => ListenState::Unsure,
            };
            if let Some(channel) = self.by_name.get_mut(&step.name).filter(|_| step.is_asked_for) {
                channel.unconfirmed = None;
            }
            self.settle(&step.name, state);
            answer(step.replies, effects);
        }
        answer(round.unlisten_all, effects);
    }

    /// The server has refused the round as a whole. If it had several channels, each is tried alone
    /// next.
    pub(crate) fn refused(&mut self, round: Round, error: &Error, effects: &mut Effects) {
        let several = round.steps.len() > 1 || !round.unlisten_all.is_empty();
        for step in round.steps {
            self.settle(&step.name, if step.listen { ListenState::No } else { ListenState::Yes });
            match self.by_name.get_mut(&step.name).filter(|_| several) {
                Some(channel) => {
                    channel.is_tried_alone = true;
                    channel.replies.extend(step.replies);
                    self.ask(&step.name, None);
                }
                // The only channel of the round, or one that nothing wants any more.
                None => refuse(step.replies, error, effects),
            }
        }
        refuse(round.unlisten_all, error, effects);
    }

    /// The replies of all calls that wait.
    pub(crate) fn take_replies(&mut self) -> Vec<Reply> {
        let mut replies = self.unlisten_all.take().unwrap_or_default();
        for channel in self.by_name.values_mut() {
            replies.append(&mut channel.replies);
        }
        replies
    }

    /// The server listens to no channel: the session is new or over, or a statement has undone its
    /// LISTENs. Wanted channels stay wanted.
    pub(crate) fn restart(&mut self) {
        self.due.clear();
        self.by_name.retain(|name, channel| {
            channel.listen_state = ListenState::No;
            channel.is_due = channel.is_wanted() || !channel.replies.is_empty();
            if channel.is_due {
                self.due.push_back(Arc::clone(name));
            }
            channel.is_due
        });
    }

    /// A statement has undone LISTENs of the session, or the end of a transaction what was
    /// confirmed in it. Wanted channels are asked for again, and those that may be listened to are
    /// given up.
    pub(crate) fn renew(&mut self) {
        self.due.clear();
        for (name, channel) in &mut self.by_name {
            if channel.is_wanted() {
                channel.listen_state = ListenState::No;
            } else if channel.listen_state == ListenState::Yes {
                // It may be wanted again before its UNLISTEN is sent.
                channel.listen_state = ListenState::Unsure;
            }
            channel.is_due = !channel.is_settled() || !channel.replies.is_empty();
            if channel.is_due {
                self.due.push_back(Arc::clone(name));
            }
        }
    }

    fn settle(&mut self, name: &ChannelName, listen_state: ListenState) {
        if let Some(channel) = self.by_name.get_mut(name) {
            channel.listen_state = listen_state;
            self.drop_forgotten(name);
        }
    }

    fn drop_forgotten(&mut self, name: &ChannelName) {
        if self.by_name.get(name).is_some_and(Channel::is_forgotten) {
            self.by_name.remove(name);
        }
    }
}

impl Round {
    fn push(&mut self, step: Step) {
        if !self.sql.is_empty() {
            self.sql.push_str("; ");
        }
        self.sql.push_str(if step.listen { "LISTEN " } else { "UNLISTEN " });
        // Names were checked in the call, so quoting cannot fail.
        push_ident(&mut self.sql, &step.name).ok();
        self.steps.push(step);
    }

    /// The replies of all calls that wait for this round.
    pub(crate) fn into_replies(self) -> impl Iterator<Item = Reply> {
        self.steps.into_iter().flat_map(|step| step.replies).chain(self.unlisten_all)
    }
}

/// Answers calls that have succeeded.
fn answer(replies: Vec<Reply>, effects: &mut Effects) {
    for reply in replies {
        reply.send(Ok(()), effects);
    }
}

/// Answers calls that have failed.
pub(crate) fn refuse(
    replies: impl IntoIterator<Item = Reply>,
    error: &Error,
    effects: &mut Effects,
) {
    for reply in replies {
        reply.send(Err(copy(error)), effects);
    }
}

/// A copy of an error for another call.
fn copy(error: &Error) -> Error {
    match error.server() {
        Some(server) if error.kind() == ErrorKind::Server => Error::from_server(server.clone()),
        _ => Error::new(error.kind(), error.to_string()),
    }
}
