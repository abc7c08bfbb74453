//! Dialogs: a server that says anything, at any moment, login included, and a client that asks and
//! cancels in between.
//!
//! Checked: no panic; each ticket settles once, in order, or the session is dead and all have
//! settled; no event after the end; a password is in no event; memory is a multiple of what was
//! received; and with a server that knows the protocol, everything comes to an end by itself.

use proptest::prelude::*;

use crate::probe::Probe;
use crate::support::damage::{Damaged, broken_dialogs, damaged_dialogs, dialogs};
use crate::support::pair::{Mixed, mixed};
use crate::support::player::Player;
use crate::target::{Cases, Checked};

#[derive(Debug, Clone)]
enum Case {
    /// A dialog that goes wrong.
    Damaged(Damaged),
    /// Requests, bytes and events in any order.
    Mixed(Mixed),
}

pub(crate) const EXPECTED: &[&str] = &[
    "case: damaged",
    "case: mixed",
    "closed: Protocol",
    "closed: Server",
    "closed: Lost",
    "phase: login",
    "phase: open",
    "settled: ok",
    "settled: Cancelled",
    "settled: Protocol",
    "settled: Server",
    "told: copy",
    "told: derive",
    "told: notice",
    "told: notification",
    "told: parameter",
];

/// Bytes that a session and the text of its events may take, whatever is sent.
const ITSELF: usize = 1 << 20;

/// As many times what is sent may be taken: a few bytes make an event with an error and a hint.
const FACTOR: usize = 512;

pub(crate) fn cases() -> Box<dyn Cases> {
    // Keys are derived here, so that no case depends on those before it.
    for dialog in dialogs() {
        Player::new(dialog).play_straight();
    }
    let strategy = prop_oneof![
        6 => damaged_dialogs().prop_map(Case::Damaged),
        3 => broken_dialogs().prop_map(Case::Damaged),
        1 => mixed().prop_map(Case::Mixed),
    ];
    Box::new(Checked { strategy, check })
}

fn check(case: &Case, probe: &mut Probe) {
    match case {
        Case::Damaged(damaged) => {
            probe.reached("case: damaged");
            let ((player, received), taken) = probe.measure(|| damaged.play());
            let most = ITSELF + FACTOR * received;
            assert!(taken <= most, "{taken} bytes of memory for {received} that were received");
            let has_opened = player.events.iter().any(|event| event.starts_with("opened"));
            probe.reached(if has_opened { "phase: open" } else { "phase: login" });
            note(&player.events, probe);
        }
        Case::Mixed(mixed) => {
            probe.reached("case: mixed");
            note(&mixed.play(), probe);
        }
    }
}

/// Notes which kinds of events came.
fn note(events: &[String], probe: &mut Probe) {
    for event in events {
        let mut words = event.split(' ');
        let first = words.next().unwrap_or_default();
        let (kind, name) = match first {
            "closed" => ("closed: ", words.nth(1).unwrap_or("in peace")),
            _ if first.starts_with('#') => {
                // What became of the transaction comes first, in braces.
                let outcome = event.split_once("} ").map_or(event.as_str(), |(_, rest)| rest);
                let place = if outcome.len() < event.len() { 0 } else { 2 };
                ("settled: ", outcome.split(' ').nth(place).unwrap_or_default())
            }
            _ => ("told: ", first.trim_end_matches(':')),
        };
        probe.coverage.count_name(kind, name);
    }
}
