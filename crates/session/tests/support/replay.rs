//! A dialog played again, differently: its bytes cut, broken off, or with something put between.

use std::collections::HashMap;

use super::dialog::{Dialog, Piece, Step};
use super::player::Player;
use super::spoken;

/// How the bytes of the server arrive. Positions count all of them.
#[derive(Clone, Copy)]
pub enum Cut {
    Whole,
    Bytes,
    At(usize),
}

/// A place between two messages: the step, and how many of its messages come before.
#[derive(Debug, Clone, Copy)]
pub struct Slot {
    step: usize,
    piece: usize,
}

/// What came of putting something in.
pub struct Inserted {
    /// All events.
    pub events: Vec<String>,
    /// How many of them were before.
    pub before: usize,
    /// Requests that were outstanding at that moment.
    pub outstanding: usize,
}

/// What may be put in, and where.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// As soon as the greeting has begun.
    Greeted,
    /// Not before the session is open.
    Open,
}

fn bytes_of(pieces: &[Piece]) -> Vec<u8> {
    pieces.iter().flat_map(|piece| piece.bytes.iter().copied()).collect()
}

/// Plays the whole dialog. After each step of the server `check` sees the player, and how many bytes came.
pub fn replay(dialog: &Dialog, cut: Cut, mut check: impl FnMut(&Player<'_>, usize)) -> Vec<String> {
    let mut player = Player::new(dialog);
    let mut offset = 0;
    for step in &dialog.steps {
        match step {
            Step::Act(act) => player.act(act),
            Step::Sends(_) => {
                let count = player.take();
                player.session.sent(count);
            }
            Step::Server(pieces) => {
                let bytes = bytes_of(pieces);
                let size = match cut {
                    Cut::Bytes => 1,
                    Cut::At(at) if (offset + 1..offset + bytes.len()).contains(&at) => at - offset,
                    Cut::Whole | Cut::At(_) => bytes.len(),
                };
                let (first, rest) = bytes.split_at(size);
                player.receive(first);
                check(&player, offset + size);
                let size = if matches!(cut, Cut::Bytes) { 1 } else { rest.len().max(1) };
                for (index, chunk) in rest.chunks(size).enumerate() {
                    player.receive(chunk);
                    check(&player, offset + first.len() + index * size + chunk.len());
                }
                offset += bytes.len();
            }
        }
    }
    let events = player.events.clone();
    player.receive_end();
    player.watch.ended(&mut player.session);
    events
}

/// Plays until `stop` bytes of the server have come, and then no more do. Gives the events, and which requests had left.
pub fn broken_off(dialog: &Dialog, stop: usize) -> (Vec<String>, Vec<Option<bool>>) {
    let mut player = Player::new(dialog);
    let mut left = stop;
    for step in &dialog.steps {
        match step {
            Step::Act(act) => player.act(act),
            Step::Sends(_) => {
                let count = player.take();
                player.session.sent(count);
            }
            Step::Server(pieces) => {
                let bytes = bytes_of(pieces);
                let count = left.min(bytes.len());
                player.receive(&bytes[..count]);
                left -= count;
                if left == 0 {
                    break;
                }
            }
        }
    }
    player.receive_end();
    player.watch.ended(&mut player.session);
    let left = has_left(&player, player.stream.len());
    (player.events, left)
}

/// Plays until the turn of the client with this number, of which only `part` bytes leave; then the link ends.
/// `None` when there is no such turn or it has fewer bytes. Gives the events, and which requests had left.
pub fn partly_sent(
    dialog: &Dialog,
    turn: usize,
    part: usize,
) -> Option<(Vec<String>, Vec<Option<bool>>)> {
    let mut player = Player::new(dialog);
    let mut turns = 0;
    for step in &dialog.steps {
        match step {
            Step::Act(act) => player.act(act),
            Step::Server(pieces) => player.receive(&bytes_of(pieces)),
            Step::Sends(_) => {
                let count = player.take();
                if turns < turn {
                    player.session.sent(count);
                    turns += 1;
                    continue;
                }
                if part > count {
                    return None;
                }
                let left = player.stream.len() - count + part;
                player.session.sent(part);
                player.receive_end();
                player.watch.ended(&mut player.session);
                let left = has_left(&player, left);
                return Some((player.events, left));
            }
        }
    }
    None
}

/// For each request whether the bytes that make the server act had left when so many had; `None` if nobody need know, because it
/// was given up.
fn has_left(player: &Player<'_>, left: usize) -> Vec<Option<bool>> {
    let mut feeds = player.feeds.clone();
    // Before the server asks for data, the statement may be anything.
    feeds.retain(|&number, _| player.watch.has_begun(number));
    let ends = decisive(&player.stream, &feeds);
    let known = |number| player.feeds.get(&number) != Some(&true);
    ends.iter().enumerate().map(|(n, &end)| known(n).then_some(end <= left)).collect()
}

/// For each request where the bytes end that make the server act on it: before its Sync, with its first Execute but that of a
/// BEGIN before it, with its Query, or with the end of its data if it is a COPY whose data we send (one of `feeds`).
pub fn decisive(stream: &[u8], feeds: &HashMap<usize, bool>) -> Vec<usize> {
    let mut ends = Vec::new();
    let (mut last, mut last_tag) = (0, 0);
    let (mut begins, mut executed) = (false, None);
    for message in spoken::sent(stream) {
        match message.tag {
            b'Q' if feeds.contains_key(&ends.len()) => ends.push(usize::MAX),
            b'Q' => ends.push(message.end),
            b'c' | b'f' => {
                if let Some(end) = ends.last_mut().filter(|end| **end == usize::MAX) {
                    *end = message.end;
                }
            }
            // The Sync behind CopyFail belongs to the request before.
            b'S' if last_tag != b'f' => ends.push(executed.take().unwrap_or(last)),
            b'P' => {
                let text = &message.text;
                begins = ["Parse \"begin", "Parse \"savepoint"].iter().any(|b| text.starts_with(b));
            }
            b'E' if !std::mem::take(&mut begins) => {
                executed.get_or_insert(message.end);
            }
            _ => {}
        }
        (last, last_tag) = (message.end, message.tag);
    }
    ends
}

/// All places between two messages, and before the first and after the last of each step.
pub fn slots(dialog: &Dialog) -> Vec<Slot> {
    let mut slots = Vec::new();
    for (step, what) in dialog.steps.iter().enumerate() {
        if let Step::Server(pieces) = what
            && pieces.iter().all(|piece| piece.framed)
        {
            slots.extend((0..=pieces.len()).map(|piece| Slot { step, piece }));
        }
    }
    slots
}

/// Plays with `bytes` put in at `slot`; `None` when nobody listens there. With `whole`, they arrive together with what is
/// before and after them. When `last`, nothing is done after that step.
pub fn insert(
    dialog: &Dialog,
    slot: Slot,
    bytes: &[u8],
    when: When,
    whole: bool,
    last: bool,
) -> Option<Inserted> {
    let mut player = Player::new(dialog);
    let mut before = 0;
    let mut outstanding = 0;
    for (index, step) in dialog.steps.iter().enumerate() {
        match step {
            Step::Act(act) => player.act(act),
            Step::Sends(_) => {
                let count = player.take();
                player.session.sent(count);
            }
            Step::Server(pieces) if index == slot.step => {
                let (first, second) = pieces.split_at(slot.piece);
                let (first, second) = (bytes_of(first), bytes_of(second));
                if whole {
                    player.receive(&[&first, bytes, &second].concat());
                } else {
                    player.receive(&first);
                    let session = &player.session;
                    if session.is_closed() || (when == When::Open && !session.is_open()) {
                        return None;
                    }
                    before = player.events.len();
                    outstanding = session.outstanding();
                    player.receive(bytes);
                    player.receive(&second);
                }
                if last {
                    break;
                }
            }
            Step::Server(pieces) => player.receive(&bytes_of(pieces)),
        }
    }
    let events = player.events.clone();
    player.receive_end();
    player.watch.ended(&mut player.session);
    Some(Inserted { events, before, outstanding })
}
