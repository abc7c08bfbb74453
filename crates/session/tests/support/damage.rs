//! What is done to the bytes of a server, and a dialog that is played with them.
//!
//! Shared with `crates/fuzz`, which tries the same for longer.

use std::fmt;
use std::sync::OnceLock;

use proptest::prelude::*;

use super::dialog::{Act, Ask, Dialog, Step, message};
use super::player::Player;

/// The dialogs that are short enough to be played many thousand times.
pub fn dialogs() -> &'static [Dialog] {
    static DIALOGS: OnceLock<Vec<Dialog>> = OnceLock::new();
    DIALOGS.get_or_init(|| {
        let mut all = Dialog::all();
        all.retain(|dialog| dialog.server_bytes() < 10_000);
        all
    })
}

/// What is done to the bytes of a dialog.
#[derive(Debug, Clone)]
enum Harm {
    Set(usize, u8),
    Remove(usize, usize),
    Repeat(usize, usize),
    Insert(usize, Vec<u8>),
    /// To a whole message, which stays one.
    Message(usize, MessageHarm),
}

/// What is done to one message of the server. Its length is as it must be, unless it is what is harmed.
#[derive(Debug, Clone)]
enum MessageHarm {
    Remove,
    Repeat,
    /// It comes after the one that follows it.
    Later,
    /// It is of another kind.
    Tag(u8),
    /// It announces this length.
    Length(u32),
    /// A byte of its body.
    Byte(usize, u8),
    /// A number of 32 bits in its body: a count, a length, an OID.
    Word(usize, i32),
    /// Its body ends here.
    Cut(usize),
    /// Its body goes on.
    Longer(Vec<u8>),
}

/// Where the messages are, as far as there are whole ones.
fn messages(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut all = Vec::new();
    let mut at = 0;
    while let Some(length) = bytes.get(at + 1..at + 5) {
        let length = u32::from_be_bytes(length.try_into().unwrap());
        let end = at.saturating_add(1).saturating_add(usize::try_from(length).unwrap());
        if length < 4 || end > bytes.len() {
            break;
        }
        all.push(at..end);
        at = end;
    }
    all
}

impl MessageHarm {
    fn apply(&self, number: usize, bytes: &mut Vec<u8>) {
        let all = messages(bytes);
        if all.is_empty() {
            return;
        }
        let number = number % all.len();
        let place = all[number].clone();
        let old = bytes[place.clone()].to_vec();
        let mut body = old[5..].to_vec();
        let count = body.len().max(1);
        let new = match self {
            Self::Remove => Vec::new(),
            Self::Repeat => old.repeat(2),
            Self::Later => match all.get(number + 1) {
                Some(next) => {
                    let swapped = [&bytes[next.clone()], &old[..]].concat();
                    drop(bytes.splice(place.start..next.end, swapped));
                    return;
                }
                None => return,
            },
            Self::Tag(tag) => [&[*tag], &old[1..]].concat(),
            Self::Length(length) => [&old[..1], &length.to_be_bytes()[..], &body[..]].concat(),
            Self::Byte(at, byte) => {
                if let Some(old) = body.get_mut(at % count) {
                    *old = *byte;
                }
                message(old[0], &body)
            }
            Self::Word(at, word) => {
                let at = at % count;
                body.iter_mut().skip(at).zip(word.to_be_bytes()).for_each(|(old, new)| *old = new);
                message(old[0], &body)
            }
            Self::Cut(at) => message(old[0], &body[..(at % count).min(body.len())]),
            Self::Longer(more) => message(old[0], &[&body[..], &more[..]].concat()),
        };
        drop(bytes.splice(place, new));
    }
}

fn message_harm() -> impl Strategy<Value = MessageHarm> {
    let word = prop_oneof![
        Just(-1),
        Just(i32::MAX),
        Just(i32::MIN),
        -3..12_i32,
        any::<i32>(),
        prop::sample::select(vec![16, 23, 25, 1007, 1009, 2249, 3904, 4096, 70_000]),
    ];
    prop_oneof![
        Just(MessageHarm::Remove),
        Just(MessageHarm::Repeat),
        Just(MessageHarm::Later),
        prop::sample::select(b"123ACDEGHIKNRSTVWZcdnstv".to_vec()).prop_map(MessageHarm::Tag),
        prop_oneof![0..64_u32, Just(u32::MAX), Just(1 << 30), any::<u32>()]
            .prop_map(MessageHarm::Length),
        (0..4_000_usize, any::<u8>()).prop_map(|(at, byte)| MessageHarm::Byte(at, byte)),
        (0..4_000_usize, word).prop_map(|(at, word)| MessageHarm::Word(at, word)),
        (0..4_000_usize).prop_map(MessageHarm::Cut),
        prop::collection::vec(any::<u8>(), 1..20).prop_map(MessageHarm::Longer),
    ]
}

impl Harm {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let len = bytes.len().max(1);
        let range = |at: usize, count: usize| at % len..(at % len + count).min(len);
        match self {
            _ if bytes.is_empty() => {}
            Self::Set(at, byte) => bytes[at % len] = *byte,
            Self::Remove(at, count) => drop(bytes.drain(range(*at, *count))),
            Self::Repeat(at, count) => {
                let copy = bytes[range(*at, *count)].to_vec();
                let end = range(*at, *count).end;
                drop(bytes.splice(end..end, copy));
            }
            Self::Insert(at, more) => drop(bytes.splice(at % len..at % len, more.iter().copied())),
            Self::Message(number, harm) => harm.apply(*number, bytes),
        }
    }
}

fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let tag = prop::sample::select(b"123ACDEGHIKNRSTVWZcdnstv".to_vec());
    prop_oneof![
        (tag.clone(), prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(tag, body)| message(tag, &body)),
        (tag.clone(), prop::collection::vec(prop::sample::select(vec![0_u8, 0, 0, 1, 4]), 0..12))
            .prop_map(|(tag, body)| message(tag, &body)),
        (tag, any::<u32>()).prop_map(|(tag, length)| [&[tag], &length.to_be_bytes()[..]].concat()),
        Just(message(b'Z', b"I")),
        Just(message(b'E', b"SFATAL\0C57P01\0\0")),
        prop::collection::vec(any::<u8>(), 0..20),
    ]
}

fn harm() -> impl Strategy<Value = Harm> {
    let at = 0..10_000_usize;
    prop_oneof![
        1 => (at.clone(), any::<u8>()).prop_map(|(at, byte)| Harm::Set(at, byte)),
        1 => (at.clone(), 1..60_usize).prop_map(|(at, count)| Harm::Remove(at, count)),
        1 => (at.clone(), 1..200_usize).prop_map(|(at, count)| Harm::Repeat(at, count)),
        1 => (at, any_message()).prop_map(|(at, more)| Harm::Insert(at, more)),
        4 => (0..40_usize, message_harm()).prop_map(|(number, harm)| Harm::Message(number, harm)),
    ]
}

/// What a user may do in the middle of it.
fn intrusion() -> impl Strategy<Value = Act> {
    let sql = "select 'in between'".to_owned();
    prop_oneof![
        Just(Act::Submit { begin: None, what: Ask::Script(sql.clone()) }),
        Just(Act::Submit {
            begin: Some("begin".to_owned()),
            what: Ask::Query { sql, values: vec![] }
        }),
        Just(Act::Again),
        Just(Act::Submit { begin: None, what: Ask::CopyIn("copy t from stdin".to_owned()) }),
        Just(Act::Submit { begin: None, what: Ask::CopyOut("copy t to stdout".to_owned()) }),
        Just(Act::Submit { begin: None, what: Ask::Fetch { portal: "p".to_owned(), rows: 2 } }),
        (0..4_usize).prop_map(Act::Stream),
        (0..4_usize).prop_map(|number| Act::Data(number, b"in between\n".to_vec())),
        (0..4_usize).prop_map(Act::Done),
        (0..4_usize).prop_map(|number| Act::Fail(number, "in between".to_owned())),
        (0..4_usize).prop_map(Act::Cancel),
        (0..4_usize).prop_map(Act::Abandon),
        Just(Act::Close),
        Just(Act::End),
    ]
}

/// A dialog whose server goes wrong, cut into pieces of these sizes, with acts of the client put between.
#[derive(Clone)]
pub struct Damaged {
    dialog: &'static Dialog,
    damage: Damage,
    sizes: Vec<usize>,
    intrusions: Vec<(usize, Act)>,
}

/// Each with the step of the dialog that it is done at.
#[derive(Debug, Clone)]
enum Damage {
    /// To its bytes.
    Harms(Vec<(usize, Harm)>),
    /// So many bytes of this step come, and then these messages.
    Broken { step: usize, keep: usize, messages: Vec<Vec<u8>> },
}

impl fmt::Debug for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Damaged")
            .field("dialog", &self.dialog.name)
            .field("damage", &self.damage)
            .field("sizes", &self.sizes)
            .field("intrusions", &self.intrusions)
            .finish()
    }
}

fn damaged_by(
    damage: impl Strategy<Value = Damage>,
    most: usize,
) -> impl Strategy<Value = Damaged> {
    (
        0..dialogs().len(),
        damage,
        prop::collection::vec(1..most, 1..6),
        prop::collection::vec((0..12_usize, intrusion()), 0..3),
    )
        .prop_map(|(dialog, damage, sizes, intrusions)| Damaged {
            dialog: &dialogs()[dialog],
            damage,
            sizes,
            intrusions,
        })
}

/// Dialogs with their bytes changed.
pub fn damaged_dialogs() -> impl Strategy<Value = Damaged> {
    let harms = prop::collection::vec((0..20_usize, harm()), 1..4);
    damaged_by(harms.prop_map(Damage::Harms), 400)
}

/// Dialogs in which anything comes at any moment.
pub fn broken_dialogs() -> impl Strategy<Value = Damaged> {
    let messages = prop::collection::vec(any_message(), 1..12);
    let broken = (0..20_usize, 0..2_000_usize, messages)
        .prop_map(|(step, keep, messages)| Damage::Broken { step, keep, messages });
    damaged_by(broken, 60)
}

impl Damaged {
    /// The dialog's name.
    pub fn name(&self) -> &'static str {
        &self.dialog.name
    }

    /// Plays it, and checks that the session ends with all settled and shows no password. Gives the player,
    /// and how many bytes the server has sent.
    pub fn play(&self) -> (Player<'static>, usize) {
        let steps = self.dialog.steps.len();
        let mut player = Player::new(self.dialog);
        let mut sizes = self.sizes.iter().cycle();
        let (mut chunks, mut received) = (0, 0);
        for (index, step) in self.dialog.steps.iter().enumerate() {
            match step {
                Step::Act(act) => player.act(act),
                Step::Sends(_) => {
                    let count = player.take();
                    player.session.sent(count);
                }
                Step::Server(pieces) => {
                    let mut bytes = pieces.iter().flat_map(|piece| piece.bytes.clone()).collect();
                    self.damage.apply(index, steps, &mut bytes);
                    received += bytes.len();
                    let mut rest = &bytes[..];
                    while !rest.is_empty() {
                        let size = sizes.next().map_or(rest.len(), |&size| size.min(rest.len()));
                        player.receive(&rest[..size]);
                        rest = &rest[size..];
                        chunks += 1;
                        for (_, act) in self.intrusions.iter().filter(|(at, _)| *at == chunks) {
                            player.act(act);
                        }
                    }
                }
            }
        }
        player.receive_end();
        player.watch.ended(&mut player.session);
        for event in &player.events {
            assert!(!event.contains("hush"), "a password is shown: {event}");
        }
        (player, received)
    }
}

impl Damage {
    fn apply(&self, index: usize, steps: usize, bytes: &mut Vec<u8>) {
        match self {
            Self::Harms(harms) => {
                for (_, harm) in harms.iter().filter(|(at, _)| at % steps == index) {
                    harm.apply(bytes);
                }
            }
            Self::Broken { step, keep, messages } if step % steps == index => {
                bytes.truncate(*keep);
                bytes.extend(messages.iter().flatten());
            }
            Self::Broken { .. } => {}
        }
    }
}
