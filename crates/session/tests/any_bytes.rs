//! Whatever a server sends, and whenever: no panic, every request settles once, and the session ends.

// A test's helpers may panic as the test itself may; clippy.toml allows it inside of `#[test]` only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::sync::OnceLock;

use proptest::prelude::*;
use support::dialog::{Act, Ask, Dialog, Step, message};
use support::player::Player;

/// The dialogs that are short enough to be played many thousand times.
fn dialogs() -> &'static [Dialog] {
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
        (at.clone(), any::<u8>()).prop_map(|(at, byte)| Harm::Set(at, byte)),
        (at.clone(), 1..60_usize).prop_map(|(at, count)| Harm::Remove(at, count)),
        (at.clone(), 1..200_usize).prop_map(|(at, count)| Harm::Repeat(at, count)),
        (at, any_message()).prop_map(|(at, more)| Harm::Insert(at, more)),
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

/// Plays a dialog with its bytes changed by `change`, cut into pieces of these sizes, with acts put between.
fn play(
    dialog: &Dialog,
    mut change: impl FnMut(usize, &mut Vec<u8>),
    sizes: &[usize],
    intrusions: &[(usize, Act)],
) {
    let mut player = Player::new(dialog);
    let mut sizes = sizes.iter().cycle();
    let mut chunks = 0;
    for (index, step) in dialog.steps.iter().enumerate() {
        match step {
            Step::Act(act) => player.act(act),
            Step::Sends(_) => {
                let count = player.take();
                player.session.sent(count);
            }
            Step::Server(pieces) => {
                let mut bytes = pieces.iter().flat_map(|piece| piece.bytes.clone()).collect();
                change(index, &mut bytes);
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let size = sizes.next().map_or(rest.len(), |&size| size.min(rest.len()));
                    player.receive(&rest[..size]);
                    rest = &rest[size..];
                    chunks += 1;
                    for (_, act) in intrusions.iter().filter(|(at, _)| *at == chunks) {
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
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn damaged_dialogs(
        dialog in any::<prop::sample::Index>(),
        harms in prop::collection::vec((0..20_usize, harm()), 1..4),
        sizes in prop::collection::vec(1..400_usize, 1..6),
        intrusions in prop::collection::vec((0..12_usize, intrusion()), 0..3),
    ) {
        let dialog = dialog.get(dialogs());
        let steps = dialog.steps.len();
        play(
            dialog,
            |index, bytes| {
                for (_, harm) in harms.iter().filter(|(at, _)| at % steps == index) {
                    harm.apply(bytes);
                }
            },
            &sizes,
            &intrusions,
        );
    }

    #[test]
    fn anything_at_any_moment(
        dialog in any::<prop::sample::Index>(),
        moment in 0..20_usize,
        keep in 0..2_000_usize,
        messages in prop::collection::vec(any_message(), 1..12),
        sizes in prop::collection::vec(1..60_usize, 1..6),
        intrusions in prop::collection::vec((0..12_usize, intrusion()), 0..3),
    ) {
        let dialog = dialog.get(dialogs());
        let steps = dialog.steps.len();
        play(
            dialog,
            |index, bytes| {
                if index == moment % steps {
                    bytes.truncate(keep);
                    bytes.extend(messages.iter().flatten());
                }
            },
            &sizes,
            &intrusions,
        );
    }
}
