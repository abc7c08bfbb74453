//! Recorded conversations with PostgreSQL, replayed without a socket: whole, cut, broken off, and interrupted.
//!
//! The conversations are in `dialogs/`; `support/dialog.rs` says how they are written. Those with a server's own words were
//! recorded with PostgreSQL 15.

// A test's helpers may panic as the test itself may; clippy.toml allows it inside of `#[test]` only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fmt::Write as _;

use support::dialog::{Dialog, Step, message};
use support::player::{Player, transcript};
use support::replay::{Cut, When, broken_off, insert, partly_sent, replay, slots};

/// Bytes of a dialog up to which it is cut at every single one.
const SHORT: usize = 8_000;

/// Where to cut: everywhere, or where it matters when there are too many places.
fn cuts(dialog: &Dialog) -> Vec<usize> {
    let total = dialog.server_bytes();
    if total <= SHORT {
        return (0..=total).collect();
    }
    let mut ends = vec![0];
    for step in &dialog.steps {
        if let Step::Server(pieces) = step {
            for piece in pieces {
                ends.push(ends[ends.len() - 1] + piece.bytes.len());
            }
        }
    }
    (0..=total)
        .filter(|at| at % 997 == 0 || ends.iter().any(|end| at.abs_diff(*end) <= 8))
        .collect()
}

#[test]
fn each_says_why_it_is_kept() {
    for dialog in Dialog::all() {
        let reason = &dialog.reason;
        assert!(reason.len() > 20 && reason.ends_with('.'), "{}: {reason:?}", dialog.name);
    }
}

#[test]
fn played_as_they_are() {
    let mut wrong = String::new();
    for dialog in Dialog::all() {
        let difference = transcript(&dialog);
        if !difference.is_empty() {
            writeln!(wrong, "--- {}\n{difference}", dialog.name).unwrap();
        }
        replay(&dialog, Cut::Whole, |_, _| ());
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Invariant 3: one request, one Sync or Query, one ReadyForQuery.
#[test]
fn one_request_one_sync_one_ready() {
    for dialog in Dialog::all() {
        let mut player = Player::new(&dialog);
        player.play_straight();
        let settled = player.events.iter().filter(|event| event.starts_with('#')).count();
        let requests = support::replay::decisive(&player.stream, &player.feeds).len();
        let mut ready = 0;
        for step in &dialog.steps {
            if let Step::Server(pieces) = step {
                ready += pieces.iter().filter(|piece| piece.bytes[0] == b'Z').count();
            }
        }
        if player.events.iter().any(|event| event.starts_with("closed")) {
            assert!(settled >= requests, "{}", dialog.name);
        } else {
            assert_eq!((requests, ready), (settled, settled + 1), "{}", dialog.name);
        }
    }
}

/// Invariants 4 and 8: the cuts do not matter, and success comes with the last byte of ReadyForQuery only.
#[test]
fn byte_by_byte() {
    for dialog in Dialog::all().iter().filter(|dialog| may_be_cut(dialog)) {
        let mut ready = Vec::new();
        let mut offset = 0;
        for step in &dialog.steps {
            if let Step::Server(pieces) = step {
                for piece in pieces {
                    offset += piece.bytes.len();
                    if piece.bytes[0] == b'Z' {
                        ready.push(offset);
                    }
                }
            }
        }
        let mut seen = 0;
        let events = replay(dialog, Cut::Bytes, |player, offset| {
            for event in &player.events[seen..] {
                let success = event.starts_with('#') && event.contains(" ok");
                assert!(!success || ready.contains(&offset), "{}: {event}", dialog.name);
            }
            seen = player.events.len();
        });
        assert_eq!(events, dialog.events, "{}", dialog.name);
    }
}

#[test]
fn cut_in_two_at_every_byte() {
    for dialog in Dialog::all().iter().filter(|dialog| may_be_cut(dialog)) {
        for at in cuts(dialog) {
            let events = replay(dialog, Cut::At(at), |_, _| ());
            assert_eq!(events, dialog.events, "{} cut at {at}", dialog.name);
        }
    }
}

/// The one place where a cut is seen: bytes behind the S that accepts TLS are refused in words of our own, and by TLS when
/// they come later. It is refused either way.
fn may_be_cut(dialog: &Dialog) -> bool {
    dialog.option("cut") != Some("no")
}

/// Every ticket settles once, with what is known of it, and `Closed` is last: the player's watch sees to that.
#[test]
fn broken_off_at_every_byte() {
    for dialog in Dialog::all().iter().filter(|dialog| may_be_cut(dialog)) {
        for at in cuts(dialog) {
            let (events, left) = broken_off(dialog, at);
            let what = format!("{} broken off at {at}: {events:#?}", dialog.name);
            let common = events.iter().zip(&dialog.events).take_while(|(a, b)| a == b).count();
            for event in events.iter().skip(common).filter(|event| event.starts_with('#')) {
                let (number, outcome) = event[1..].split_once(' ').unwrap();
                // What has left may have been done, and what the server has said already counts.
                let expected = match left.get(number.parse::<usize>().unwrap()) {
                    Some(Some(true)) => &[
                        "Lost Unknown",
                        "Server Answered",
                        "Request Unknown",
                        "Request Answered",
                        "CommitUnknown Unknown",
                    ][..],
                    Some(None) => {
                        &["Lost", "Server Answered", "Request Unknown", "Request Answered"]
                    }
                    // Of a COPY whose data is not complete the server may have said why it does not want it.
                    Some(Some(false)) => {
                        &["Lost NotSent", "Server Answered", "Request Unknown", "Request Answered"]
                    }
                    None => &["Lost NotSent"],
                };
                // What it did to the transaction before comes first.
                let effect = outcome[2..].strip_prefix('{').and_then(|text| text.split_once("} "));
                let told = effect.map_or(&outcome[2..], |(_, told)| told);
                assert!(expected.iter().any(|words| told.starts_with(words)), "{what}");
            }
        }
    }
}

/// A request counts as sent when the last byte before its Sync has left, and not before.
#[test]
fn broken_off_at_every_byte_of_the_client() {
    for dialog in Dialog::all() {
        for turn in 0.. {
            let mut part = 0;
            while let Some((events, has_left)) = partly_sent(&dialog, turn, part) {
                for event in events.iter().filter(|event| event.contains(" Lost ")) {
                    let Some((number, _)) = event.strip_prefix('#').and_then(|e| e.split_once(' '))
                    else {
                        continue;
                    };
                    let left = match has_left.get(number.parse::<usize>().unwrap()) {
                        Some(Some(left)) => *left,
                        Some(None) => continue,
                        // It waits at the gate.
                        None => false,
                    };
                    let delivery = if left { "Lost Unknown" } else { "Lost NotSent" };
                    let name = &dialog.name;
                    assert!(event.contains(delivery), "{name}, turn {turn}, {part} bytes: {event}");
                }
                part += 1;
            }
            if part == 0 {
                break;
            }
        }
    }
}

#[test]
fn interrupted_by_what_nobody_asked_for() {
    let asides = [
        (
            message(b'N', b"SNOTICE\0VNOTICE\0C00000\0Mby the way\0\0"),
            When::Greeted,
            "notice NOTICE 00000: by the way",
        ),
        (
            message(b'S', b"application_name\0elsewhere\0"),
            When::Greeted,
            "parameter application_name=elsewhere",
        ),
        (
            message(b'A', b"\0\0\0\x07news\0flash\0"),
            When::Open,
            "notification by 7: \"news\" \"flash\"",
        ),
    ];
    for dialog in Dialog::all() {
        for slot in slots(&dialog) {
            for (bytes, when, event) in &asides {
                let Some(apart) = insert(&dialog, slot, bytes, *when, false, false) else {
                    continue;
                };
                let mut expected = dialog.events.clone();
                expected.insert(apart.before, (*event).to_owned());
                assert_eq!(apart.events, expected, "{} at {slot:?}", dialog.name);
                let whole = insert(&dialog, slot, bytes, *when, true, false).unwrap();
                assert_eq!(whole.events, expected, "{} at {slot:?}", dialog.name);
            }
        }
    }
}

#[test]
fn interrupted_by_a_fatal_error() {
    let bytes = message(b'E', b"SFATAL\0VFATAL\0C57P01\0Mthe administrator says stop\0\0");
    for dialog in Dialog::all() {
        for slot in slots(&dialog) {
            let Some(apart) = insert(&dialog, slot, &bytes, When::Greeted, false, true) else {
                continue;
            };
            let name = &dialog.name;
            let (same, more) = apart.events.split_at(apart.before);
            assert_eq!(same, &dialog.events[..apart.before], "{name} at {slot:?}");
            let (last, settled) = more.split_last().unwrap();
            assert!(last.starts_with("closed by "), "{name} at {slot:?}: {more:#?}");
            assert!(last.contains("FATAL 57P01: the administrator says stop"), "{last}");
            assert_eq!(settled.len(), apart.outstanding, "{name} at {slot:?}: {more:#?}");
            for event in settled {
                assert!(event.starts_with('#') && !event.contains(" ok"), "{name}: {event}");
            }
            let whole = insert(&dialog, slot, &bytes, When::Greeted, true, true).unwrap();
            assert_eq!(whole.events, apart.events, "{name} at {slot:?}");
        }
    }
}
