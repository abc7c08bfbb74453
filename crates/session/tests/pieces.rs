//! What is told piece by piece keeps its place among everything else, however the bytes were cut.

// A test's helpers may panic as the test itself may; clippy.toml allows it inside of `#[test]` only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use support::dialog::{Dialog, message};
use support::player::Player;
use txpostgres_session::{Event, Request};

fn open(dialog: &Dialog) -> Player<'_> {
    let mut player = Player::new(dialog);
    player.take();
    player.receive(&[message(b'R', &[0; 4]), message(b'Z', b"I")].concat());
    assert!(player.session.is_open());
    player
}

/// The events as words; of a stream's rows and a COPY's data only how many came one after another.
fn told(request: Request<'_>, bytes: &[u8], read: usize) -> Vec<String> {
    let dialog = Dialog::parse("pieces", "A session.\n! open");
    let mut player = open(&dialog);
    while player.session.next_event().is_some() {}
    let ticket = player.session.submit(request).unwrap();
    player.session.stream(ticket, 0);
    let mut told: Vec<(&str, usize)> = Vec::new();
    for chunk in bytes.chunks(read) {
        player.session.receive(chunk);
        while let Some(event) = player.session.next_event() {
            let (word, count) = match event {
                Event::Rows { rows, .. } => ("rows", rows.len()),
                Event::CopyStarted { .. } => ("started", 1),
                Event::CopyData { data, .. } => ("data", data.bytes.len()),
                Event::Notice(_) => ("notice", 1),
                Event::Notification(_) => ("notification", 1),
                Event::Parameter { .. } => ("parameter", 1),
                Event::Settled { outcome, .. } => {
                    (if outcome.is_ok() { "done" } else { "failed" }, 1)
                }
                other => panic!("{other:?}"),
            };
            match told.last_mut() {
                Some((last, total)) if *last == word => *total += count,
                _ => told.push((word, count)),
            }
        }
    }
    told.into_iter().map(|(word, count)| format!("{count} {word}")).collect()
}

#[test]
fn what_comes_between_is_told_between() {
    let between = [
        message(b'N', b"SNOTICE\0Mx\0\0"),
        message(b'S', b"TimeZone\0UTC\0"),
        message(b'A', b"\0\0\0\x01a\0b\0"),
    ];
    let column = [&b"\0\x01c\0"[..], &[0; 6], &25_u32.to_be_bytes(), &[0; 8]].concat();
    let row = message(b'D', b"\0\x01\0\0\0\x01x");
    let data = message(b'd', b"1\n");
    let end = |tag: &[u8]| [message(b'C', tag), message(b'Z', b"I")].concat();
    let conversations = [
        (
            Request::Script { sql: "select" },
            message(b'T', &column),
            row,
            end(b"SELECT 5\0"),
            "rows",
        ),
        (
            Request::CopyOut { sql: "copy" },
            message(b'H', b"\0\0\0"),
            data,
            [message(b'c', b""), end(b"COPY 5\0")].concat(),
            "data",
        ),
    ];
    for (request, begin, piece, end, word) in conversations {
        let mut bytes = begin;
        for (count, between) in [2, 1, 2].into_iter().zip(&between) {
            bytes.extend(piece.repeat(count));
            bytes.extend(between);
        }
        bytes.extend(end);
        let size = if word == "data" { 2 } else { 1 };
        let mut expected = vec![
            format!("{} {word}", 2 * size),
            "1 notice".to_owned(),
            format!("{size} {word}"),
            "1 parameter".to_owned(),
            format!("{} {word}", 2 * size),
            "1 notification".to_owned(),
            "1 done".to_owned(),
        ];
        if word == "data" {
            expected.insert(0, "1 started".to_owned());
        }
        for read in 1..=bytes.len() {
            assert_eq!(told(request, &bytes, read), expected, "{read} bytes at a time");
        }
    }
}
