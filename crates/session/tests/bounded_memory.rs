//! What a server announces reserves nothing, and what it sends takes a fixed multiple of itself.
//!
//! Alone in its test binary: the allocator counts for the whole process.

// A test's helpers may panic as the test itself may; clippy.toml allows it inside of `#[test]` only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use peak_alloc::PeakAlloc;
use support::dialog::{Dialog, message};
use support::player::Player;
use txpostgres_session::{ErrorKind, Event, Request, limits};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Bytes that a session may take for itself, its buffers among them.
const ITSELF: usize = 160 * 1024;

/// A read of the driver: so much arrives at once.
const READ: usize = 64 * 1024;

fn open(dialog: &Dialog) -> Player<'_> {
    let mut player = Player::new(dialog);
    player.take();
    player.receive(&[message(b'R', &[0; 4]), message(b'Z', b"I")].concat());
    assert!(player.session.is_open());
    player
}

/// Room for the events of one read: the shortest message that becomes one has 6 bytes, and an event takes 256 at most.
const EVENTS: usize = READ / 6 * 256;

/// Bytes allocated at the worst moment while the server sends `bytes`, events being taken after each read.
fn peak(player: &mut Player<'_>, bytes: &[u8], read: usize) -> usize {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    for chunk in bytes.chunks(read) {
        player.session.receive(chunk);
        while player.session.next_event().is_some() {}
    }
    ALLOCATOR.peak_usage().saturating_sub(before)
}

fn columns(count: u16, oid: u32) -> Vec<u8> {
    let mut body = count.to_be_bytes().to_vec();
    for _ in 0..count {
        body.push(0);
        body.extend([0; 6]);
        body.extend(oid.to_be_bytes());
        body.extend([0; 8]);
    }
    message(b'T', &body)
}

#[test]
fn nothing_takes_more_than_it_sends() {
    let dialog = Dialog::parse("memory", "A session.\n! open");
    let gigabyte = (1_u32 << 30).to_be_bytes();

    // Five bytes announce a gigabyte: nothing is reserved (F1, S20).
    for tag in 0..=u8::MAX {
        for asked in [false, true] {
            let mut player = open(&dialog);
            if asked {
                player.session.submit(Request::Script { sql: "select 1" }).unwrap();
            }
            let header = [&[tag], &gigabyte[..]].concat();
            let peak = peak(&mut player, &header, READ);
            assert!(peak < ITSELF, "{:?} takes {peak}", char::from(tag));
            let mut stranger = Player::new(&dialog);
            let peak = self::peak(&mut stranger, &header, READ);
            assert!(peak < ITSELF, "{:?} takes {peak} before the login", char::from(tag));
        }
    }

    // What follows it is kept, and little more.
    let mut long = vec![b'D'];
    long.extend(gigabyte);
    long.resize(3 << 20, 0);
    for read in [1_000, READ] {
        let mut player = open(&dialog);
        player.session.submit(Request::Script { sql: "select 1" }).unwrap();
        player.session.receive(&columns(1, 25));
        let peak = peak(&mut player, &long, read);
        assert!(peak < 3 * long.len() + ITSELF, "{peak} of {}", long.len());
    }

    // Floods: what, and how many times itself it may take. Events are taken after each read, so those that become events
    // take nothing but their room, however many they are.
    let row = |body: &[u8]| message(b'D', body);
    let large = row(&[&b"\0\x01\0\x01\x11\x70"[..], &vec![b'x'; 70_000]].concat());
    let long_notice = message(b'N', &[&b"M"[..], &vec![b'x'; 20_000], b"\0\0"].concat());
    let two = row(b"\0\x01\0\0\0\x01x").repeat(2);
    let two_rows = [columns(1, 25), two, message(b'C', b"SELECT 2\0")].concat();
    let floods = [
        ("rows", [columns(1, 25), row(b"\0\x01\0\0\0\x01x").repeat(100_000)].concat(), 3),
        ("nulls", [columns(1, 25), row(b"\0\x01\xff\xff\xff\xff").repeat(100_000)].concat(), 3),
        ("rows without columns", [columns(0, 25), row(b"\0\0").repeat(300_000)].concat(), 3),
        ("large rows", [columns(1, 25), large.repeat(100)].concat(), 3),
        ("notices", message(b'N', b"\0").repeat(1_000_000), 0),
        ("long notices", long_notice.repeat(500), 0),
        ("parameters", message(b'S', b"a\0b\0").repeat(500_000), 0),
        ("notifications", message(b'A', b"\0\0\0\x01\0\0").repeat(500_000), 0),
        // A column without a name has 19 bytes. A type that is unknown is named by its number.
        ("columns", columns(u16::MAX, 23), 10),
        ("columns of unknown types", columns(u16::MAX, 999_999), 20),
        ("results of two rows", two_rows.repeat(20_000), 30),
        // Each is a result of its own in five bytes. Whoever asks a script for its results collects them.
        ("empty statements", message(b'I', b"").repeat(100_000), 100),
    ];
    floods_of_pieces(&dialog);
    large_notices(&dialog);
    answers_over_their_limit();
    words_over_their_limit();
    for (what, bytes, factor) in floods {
        let mut player = open(&dialog);
        let sql = if factor >= 30 { ";".repeat(100_000) } else { "select 1".into() };
        player.session.submit(Request::Script { sql: &sql }).unwrap();
        let peak = peak(&mut player, &bytes, READ);
        assert!(!player.session.is_closed(), "{what}");
        let bound = factor * bytes.len() + EVENTS + ITSELF;
        assert!(peak < bound, "{what}: {peak} for {}; {bound} are allowed", bytes.len());
    }
}

/// Notices are kept in few bytes, however large they are (fifty of 10 MB were kept whole).
fn large_notices(dialog: &Dialog) {
    let notice = |size| {
        let text = "x".repeat(size);
        message(b'N', format!("SNOTICE\0VNOTICE\0C00000\0M{text}\0\0").as_bytes())
    };
    for size in [1_000_000, 100_000, 1_000] {
        let mut player = open(dialog);
        let before = ALLOCATOR.current_usage();
        for _ in 0..limits::NOTICES {
            player.session.receive(&notice(size));
            while player.session.next_event().is_some() {}
        }
        let kept = ALLOCATOR.current_usage().saturating_sub(before);
        assert!(kept < limits::NOTICES_BYTES + ITSELF, "{kept} of notices of {size}");
        assert!(player.session.notices().len() > 0, "{size}");
    }
}

/// What is told of piece by piece takes nothing but the read that brought it, however much of it there is; and what nobody
/// wants takes nothing at all.
fn floods_of_pieces(dialog: &Dialog) {
    let request = |player: &mut Player<'_>, request| player.session.submit(request).unwrap();
    let data = message(b'd', b"x").repeat(500_000);
    let large = message(b'd', &vec![b'x'; 60_000]).repeat(300);
    let begun = message(b'H', &[0, 0, 1, 0, 0]);
    let rows = message(b'D', b"\0\x01\0\0\0\x01x").repeat(300_000);
    for (what, flood) in [("data", &data), ("large data", &large)] {
        for (asked, abandoned) in [(true, false), (true, true), (false, false)] {
            let mut player = open(dialog);
            let sql = "copy t to stdout";
            let copy = Request::CopyOut { sql };
            let ticket = request(&mut player, if asked { copy } else { Request::Script { sql } });
            player.session.receive(&begun);
            if abandoned {
                player.session.abandon(ticket);
            }
            let peak = peak(&mut player, flood, READ);
            assert!(!player.session.is_closed(), "{what}");
            assert!(peak < 4 * READ + ITSELF, "{what}: {peak} for {}", flood.len());
        }
    }
    for abandoned in [false, true] {
        let mut player = open(dialog);
        let ticket = request(&mut player, Request::Script { sql: "select" });
        player.session.stream(ticket, 0);
        player.session.receive(&columns(1, 25));
        if abandoned {
            player.session.abandon(ticket);
        }
        let peak = peak(&mut player, &rows, READ);
        assert!(!player.session.is_closed(), "rows");
        assert!(peak < 4 * READ + ITSELF, "rows: {peak} for {}", rows.len());
    }
    // A portal is suspended once, and a COPY begins once: more is a violation, and takes nothing.
    let fetch = Request::Fetch { portal: "p", columns: None, rows: 1 };
    let into = Request::CopyIn { sql: "copy t from stdin" };
    for (what, asked, flood) in [
        ("suspensions", fetch, message(b's', b"").repeat(100_000)),
        ("beginnings", into, message(b'G', &[0, 0, 0]).repeat(100_000)),
        ("beginnings of output", Request::CopyOut { sql: "" }, begun.repeat(100_000)),
    ] {
        let mut player = open(dialog);
        request(&mut player, asked);
        let peak = peak(&mut player, &flood, READ);
        assert!(player.session.is_closed(), "{what}");
        assert!(peak < READ + ITSELF, "{what}: {peak}");
    }
}

/// How the rows of an answer are asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Told {
    Whole,
    InPieces,
    InChunks,
}

/// With `max_answer_bytes`, an answer takes no more than that, however it is made up; its request fails, and the session
/// goes on. What is read as it comes is not limited, but for single messages.
fn answers_over_their_limit() {
    const LIMIT: usize = 1_000_000;
    let dialog = Dialog::parse("limit", &format!("A session.\n! open answer={LIMIT}"));
    let small = message(b'D', b"\0\x01\0\0\0\x01x");
    let value = [&b"\0\x01"[..], &50_000_000_u32.to_be_bytes(), &vec![b'x'; 50_000_000]].concat();
    let large = message(b'D', &value);
    let end = [message(b'C', b"SELECT 1\0"), message(b'Z', b"I")].concat();
    let few = [columns(1, 25), small.repeat(1_000)].concat();
    let rows = [columns(1, 25), small.repeat(1_000_000)].concat();
    let row = [columns(1, 25), small.clone(), large, small].concat();
    let results = [few.clone(), message(b'C', b"SELECT 1\0")].concat().repeat(200);
    let results = [results, few.clone()].concat();
    for (what, bytes, told, is_refused) in [
        ("few rows", &few, Told::Whole, false),
        ("rows", &rows, Told::Whole, true),
        ("rows", &rows, Told::InChunks, true),
        ("rows", &rows, Told::InPieces, false),
        ("a row", &row, Told::Whole, true),
        ("a row", &row, Told::InPieces, true),
        ("results", &results, Told::Whole, true),
    ] {
        for read in [READ, 1_000_000, 7_919] {
            let what = format!("{what}, {told:?}, {read} at a time");
            let mut player = open(&dialog);
            let sql = "select 1;".repeat(300);
            let ticket = player.session.submit(Request::Script { sql: &sql }).unwrap();
            match told {
                Told::Whole => {}
                Told::InPieces => player.session.stream(ticket, 0),
                Told::InChunks => player.session.stream(ticket, 16 * 1024),
            }
            let peak = peak(&mut player, bytes, read);
            let bound = 2 * LIMIT + 4 * read + ITSELF;
            assert!(peak < bound, "{what}: {peak} for {}; {bound} are allowed", bytes.len());
            let next = player.session.submit(Request::Script { sql: "select 1" }).unwrap();
            player.session.receive(&end);
            player.session.receive(&[few.clone(), end.clone()].concat());
            let events = std::iter::from_fn(|| player.session.next_event());
            let mut settled = events.filter_map(|event| match event {
                Event::Settled { ticket, outcome, .. } => Some((ticket, outcome)),
                _ => None,
            });
            let (first, outcome) = settled.next().unwrap();
            assert_eq!((first, outcome.is_err()), (ticket, is_refused), "{what}");
            if let Err(error) = outcome {
                assert_eq!(error.kind(), ErrorKind::Request, "{what}");
                assert!(error.to_string().contains("max_answer_bytes"), "{what}: {error}");
            }
            let (second, outcome) = settled.next().unwrap();
            assert_eq!((second, outcome.is_ok()), (next, true), "{what}");
        }
    }
}

/// With `max_answer_bytes`, an error or a notice is cut off there.
fn words_over_their_limit() {
    const LIMIT: usize = 1_000_000;
    let dialog = Dialog::parse("limit", &format!("A session.\n! open answer={LIMIT}"));
    let text = "x".repeat(20_000_000);
    let words = |severity| {
        format!("S{severity}\0V{severity}\0CP0001\0Mmessage {text}\0Ddetail\0\0").into_bytes()
    };
    for (tag, severity) in [(b'E', "ERROR"), (b'N', "NOTICE")] {
        let bytes = message(tag, &words(severity));
        for read in [READ, 1_000_000, 7_919] {
            let mut player = open(&dialog);
            let ticket = player.session.submit(Request::Script { sql: "select 1" }).unwrap();
            let before = ALLOCATOR.current_usage();
            ALLOCATOR.reset_peak_usage();
            let mut told = Vec::new();
            let end = [message(b'C', b"SELECT 0\0"), message(b'Z', b"I")].concat();
            let end = if tag == b'E' { message(b'Z', b"I") } else { end };
            for chunk in bytes.chunks(read).chain([&end[..]]) {
                player.session.receive(chunk);
                told.extend(std::iter::from_fn(|| player.session.next_event()));
            }
            let peak = ALLOCATOR.peak_usage().saturating_sub(before);
            let bound = 4 * (LIMIT + read) + ITSELF;
            assert!(peak < bound, "{severity}, {read} at a time: {peak}; {bound} are allowed");
            let said = told.iter().find_map(|event| match event {
                Event::Notice(notice) => Some((notice.code(), notice.message())),
                Event::Settled { outcome: Err(error), .. } => {
                    error.server().map(|said| (said.code(), said.message()))
                }
                _ => None,
            });
            let (code, said) = said.unwrap();
            assert_eq!((code.as_str(), said.starts_with("message xxx")), ("P0001", true));
            let is_settled = |event: &Event| matches!(event, Event::Settled { ticket: settled, .. } if *settled == ticket);
            assert!(told.iter().any(is_settled), "{severity}, {read} at a time");
        }
    }
}
