//! Peers that are no PostgreSQL, or one that breaks its own protocol: found out at once, and said so.
//!
//! S7 to S26 are the security lessons that led to these tests; many more are dialogs (`dialogs/`).

// A test's helpers may panic as the test itself may; clippy.toml allows it inside of `#[test]` only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use bytes::BytesMut;
use support::dialog::{Dialog, message};
use support::player::Player;
use txpostgres_session::types::Type;
use txpostgres_session::{Cancel, ErrorKind, Event, Request, ResultFormats, Session, limits};

fn dialog(options: &str) -> Dialog {
    Dialog::parse("bad peer", &format!("A bad peer.\n! open {options}"))
}

fn open(dialog: &Dialog) -> Session {
    let mut player = Player::new(dialog);
    player.take();
    player.receive(&[message(b'R', &[0; 4]), message(b'Z', b"I")].concat());
    assert!(player.session.is_open());
    player.session
}

/// What the session ended with; `None` if it goes on.
fn end(session: &mut Session) -> Option<txpostgres_session::Error> {
    while let Some(event) = session.next_event() {
        if let Event::Closed(error) = event {
            return Some(error.expect("nobody called close"));
        }
    }
    None
}

/// A body that a message of this kind may have.
fn body(tag: u8) -> &'static [u8] {
    match tag {
        b'C' => b"SELECT 0\0",
        b'D' => b"\0\x01\xff\xff\xff\xff",
        b'E' => b"SERROR\0VERROR\0C22012\0Mno\0\0",
        b'G' | b'H' | b'W' => b"\0\0\0",
        b'K' => b"\0\0\0\x01\0\0\0\x02",
        b'R' => b"\0\0\0\0",
        b'T' => b"\0\x01n\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0",
        b'Z' => b"I",
        b'd' => b"1\n",
        b't' => b"\0\0",
        b'v' => b"\0\x03\0\0\0\0\0\0",
        _ => b"",
    }
}

/// S24: in every state, which kinds of message may come. All others end the session as a violation of the protocol; the
/// request that is outstanding says so.
#[test]
#[allow(clippy::too_many_lines)] // A table.
fn messages_out_of_turn() {
    let script = Request::Script { sql: "select 1;" };
    let fresh = Request::PrepareAndRun {
        name: "",
        sql: "select 1",
        types: &[],
        parameters: &[],
        results: ResultFormats::Binary,
    };
    let prepare = Request::Prepare { name: "", sql: "select 1" };
    let fetch = Request::Fetch { portal: "p", columns: None, rows: 1 };
    let close = Request::ClosePortal { portal: "p" };
    let copy_in = Request::CopyIn { sql: "copy t from stdin;" };
    let copy_out = Request::CopyOut { sql: "copy t to stdout;" };
    let states = [
        (None, "", ""),
        (Some(script), "", "CEGHIT"),
        (Some(script), "C", "CEGHITZ"),
        (Some(script), "I", "CEGHITZ"),
        (Some(script), "T", "CDET"),
        (Some(script), "TD", "CDET"),
        (Some(script), "TDC", "CEGHITZ"),
        (Some(script), "H", "Ecd"),
        (Some(script), "Hd", "Ecd"),
        (Some(script), "G", "E"),
        (Some(script), "E", "EZ"),
        (Some(fresh), "", "1E"),
        (Some(fresh), "1", "2E"),
        (Some(fresh), "12", "ETn"),
        (Some(fresh), "12n", "CEGHI"),
        (Some(fresh), "12T", "CDEGHI"),
        (Some(fresh), "12TD", "CDEGHI"),
        (Some(fresh), "12TC", "EZ"),
        (Some(fresh), "12H", ""),
        (Some(fresh), "12nH", "Ecd"),
        (Some(fresh), "12nG", "E"),
        (Some(fresh), "12E", "EZ"),
        (Some(prepare), "", "1E"),
        (Some(prepare), "1", "Et"),
        (Some(prepare), "1t", "ETn"),
        (Some(prepare), "1tn", "EZ"),
        (Some(prepare), "1tT", "EZ"),
        // A row would have columns here, and none are known.
        (Some(fetch), "", "CEGHIs"),
        (Some(fetch), "s", "EZ"),
        (Some(fetch), "C", "EZ"),
        (Some(close), "", "3E"),
        (Some(close), "3", "EZ"),
        (Some(copy_in), "", "CEGHIT"),
        (Some(copy_in), "G", "E"),
        (Some(copy_in), "T", "CDET"),
        (Some(copy_in), "H", "Ecd"),
        (Some(copy_in), "C", "CEGHITZ"),
        (Some(copy_out), "", "CEGHIT"),
        (Some(copy_out), "G", "E"),
        (Some(copy_out), "H", "Ecd"),
        (Some(copy_out), "Hd", "Ecd"),
        (Some(copy_out), "Hdc", "CE"),
        (Some(copy_out), "HdcC", "CEGHITZ"),
        (Some(copy_out), "HdE", "EZ"),
    ];
    let dialog = dialog("");
    for (request, before, allowed) in states {
        for tag in 0..=u8::MAX {
            if b"ANS".contains(&tag) || (tag == b'E' && request.is_none()) {
                continue;
            }
            let mut session = open(&dialog);
            if let Some(request) = request {
                session.submit(request).unwrap();
            }
            for tag in before.bytes() {
                session.receive(&message(tag, body(tag)));
            }
            if before == "12H" {
                assert!(session.is_closed());
                continue;
            }
            assert!(!session.is_closed(), "{before:?}");
            session.receive(&message(tag, body(tag)));
            let what = format!("{:?} after {before:?}", char::from(tag));
            if allowed.as_bytes().contains(&tag) {
                assert!(!session.is_closed(), "{what} is allowed");
                continue;
            }
            assert!(session.is_closed(), "{what} is not allowed");
            while let Some(event) = session.next_event() {
                match event {
                    Event::Settled { outcome, .. } => {
                        // What the server refused before stays the reason; what the call cannot do
                        // does not.
                        let kind = outcome.unwrap_err().kind();
                        let is_refused = ["E", "12E", "HdE"].contains(&before);
                        let wanted =
                            if is_refused { ErrorKind::Server } else { ErrorKind::Protocol };
                        assert_eq!(kind, wanted, "{what}");
                    }
                    Event::Closed(error) => {
                        assert_eq!(error.unwrap().kind(), ErrorKind::Protocol, "{what}");
                    }
                    _ => {}
                }
            }
        }
    }
}

/// A result takes memory, also without rows: there are no more than the text has statements.
#[test]
fn more_results_than_statements() {
    let dialog = dialog("");
    for (sql, most) in [("select 1", 1), ("select 1;", 2), ("a; b; c", 3), ("", 1)] {
        for flood in [&b"C"[..], b"I", b"TC", b"HcC"] {
            let mut session = open(&dialog);
            session.submit(Request::Script { sql }).unwrap();
            for number in 1..=most + 1 {
                assert!(!session.is_closed(), "{sql:?}: {number}");
                for tag in flood {
                    session.receive(&message(*tag, body(*tag)));
                }
            }
            let error = end(&mut session).unwrap_or_else(|| panic!("{sql:?}"));
            assert_eq!(error.kind(), ErrorKind::Protocol);
            assert!(error.to_string().contains("more results than"), "{error}");
        }
    }
}

/// Rules add results to a statement, and not without end.
#[test]
fn more_results_than_rules() {
    let dialog = dialog("");
    let mut session = open(&dialog);
    session.submit(Request::Script { sql: "insert into t values (1)" }).unwrap();
    for number in 0..=limits::RULE_RESULTS + 1 {
        assert!(!session.is_closed(), "{number}");
        session.receive(&message(b'T', body(b'T')));
    }
    session.receive(&message(b'T', body(b'T')));
    let error = end(&mut session).expect("an end");
    assert!(error.to_string().contains("more results than"), "{error}");
}

/// S20: a message whose length is impossible ends the session with its header, whatever its kind.
#[test]
fn impossible_lengths() {
    let dialog = dialog("");
    for tag in 0..=u8::MAX {
        for length in [0_u32, 1, 3, (1 << 30) + 1, 1 << 31, u32::MAX - 1, u32::MAX] {
            let header = [&[tag], &length.to_be_bytes()[..]].concat();
            let mut asked = open(&dialog);
            asked.submit(Request::Script { sql: "select 1" }).unwrap();
            for session in [&mut open(&dialog), &mut Player::new(&dialog).session, &mut asked] {
                session.receive(&header);
                let error = end(session).unwrap_or_else(|| panic!("{tag}, {length}"));
                assert_eq!(error.kind(), ErrorKind::Protocol);
            }
        }
    }
}

/// S20: messages of a fixed size are refused with a byte too many.
#[test]
fn messages_with_more_than_belongs_there() {
    let dialog = dialog("");
    for (before, tag) in [("", b'1'), ("1", b'2'), ("12", b'n'), ("12n", b'I'), ("12nC", b'Z')] {
        let mut session = open(&dialog);
        let request = Request::PrepareAndRun {
            name: "",
            sql: "select 1",
            types: &[],
            parameters: &[],
            results: ResultFormats::Binary,
        };
        session.submit(request).unwrap();
        for tag in before.bytes() {
            session.receive(&message(tag, body(tag)));
        }
        session.receive(&message(tag, &[body(tag), b"\0"].concat()));
        assert_eq!(end(&mut session).unwrap().kind(), ErrorKind::Protocol, "{}", char::from(tag));
    }
}

/// S21: other services are found out by their first bytes.
#[test]
fn other_services() {
    let services: [&[u8]; 9] = [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
        b"220 mail.example.org ESMTP\r\n",
        b"J\0\0\0\n8.0.36\0\x08\0\0\0",
        b"-ERR unknown command\r\n",
        b"* OK IMAP4rev1 ready\r\n",
        b"\x15\x03\x01\0\x02\x02\x46",
        b"\x16\x03\x03\0\x7a\x02\0\0\x76",
        b"\xff\xfd\x18\xff\xfd\x20",
    ];
    for service in services {
        let plain = dialog("password=hush");
        let mut player = Player::new(&plain);
        player.take();
        player.session.receive(service);
        let error = end(&mut player.session).expect("it is found out at once");
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(error.to_string().contains("is not a PostgreSQL server"), "{error}");

        let tls = dialog("password=hush tls=prefer");
        let mut player = Player::new(&tls);
        player.take();
        player.session.receive(service);
        let error = end(&mut player.session).expect("it is found out at once");
        assert!([ErrorKind::Protocol, ErrorKind::Tls].contains(&error.kind()), "{error}");
        assert!(!player.session.has_output());
    }
    // An echo server: our own words come back.
    for options in ["", "tls=prefer", "tls=require"] {
        let dialog = dialog(options);
        let mut player = Player::new(&dialog);
        player.take();
        let echo = player.stream.clone();
        player.session.receive(&echo);
        assert_eq!(end(&mut player.session).unwrap().kind(), ErrorKind::Protocol);
    }
}

/// S9: SSLRequest is answered by S, N or E; anything else ends it with that byte.
#[test]
fn answers_to_ssl_request() {
    for byte in 0..=u8::MAX {
        let dialog = dialog("tls=require");
        let mut player = Player::new(&dialog);
        player.take();
        player.session.receive(&[byte]);
        match byte {
            b'S' => assert!(player.session.has_output(), "the handshake begins"),
            b'N' | b'E' => assert_eq!(end(&mut player.session).unwrap().kind(), ErrorKind::Tls),
            _ => {
                let error = end(&mut player.session).unwrap();
                assert!(error.to_string().contains("is not a PostgreSQL server"), "{error}");
            }
        }
    }
}

/// S15: whatever else the server asks for while scram-sha-256 is required, not a byte of an answer is sent.
#[test]
fn what_require_auth_refuses() {
    for asked in [&b"\0\0\0\0"[..], b"\0\0\0\x03", b"\0\0\0\x05salt", b"\0\0\0\x07", b"\0\0\0\x02"]
    {
        let dialog = dialog("password=hush require_auth=scram-sha-256");
        let mut player = Player::new(&dialog);
        player.take();
        player.session.receive(&message(b'R', asked));
        assert!(!player.session.has_output());
        assert_eq!(end(&mut player.session).unwrap().kind(), ErrorKind::Authentication);
        player.take();
        assert!(!String::from_utf8_lossy(&player.stream).contains("hush"));
    }
}

/// S22: rows that lie end the session; nothing of them is an answer.
#[test]
fn rows_that_lie() {
    let description = message(b'T', body(b'T'));
    let dialog = dialog("");
    for lie in [
        &b""[..],
        b"\0",
        b"\0\0",
        b"\0\x02\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xff\xff\xff\xff\xff\xff",
        b"\0\x01\xff\xff\xff\xfe",
        b"\0\x01\x80\0\0\0",
        b"\0\x01\x7f\xff\xff\xff",
        b"\0\x01\0\0\0\x02x",
        b"\0\x01\0\0\0\x01xy",
        b"\0\x01\0\0",
    ] {
        for cut in [1, 6, 1_000] {
            let mut session = open(&dialog);
            session.submit(Request::Script { sql: "select 1" }).unwrap();
            let bytes = [&description[..], &message(b'D', lie)].concat();
            bytes.chunks(cut).for_each(|chunk| session.receive(chunk));
            assert_eq!(end(&mut session).unwrap().kind(), ErrorKind::Protocol, "{lie:?}");
        }
    }
    let mut session = open(&dialog);
    session.submit(Request::Script { sql: "select 1" }).unwrap();
    let mut format_7 = body(b'T').to_vec();
    *format_7.last_mut().unwrap() = 7;
    session.receive(&message(b'T', &format_7));
    assert_eq!(end(&mut session).unwrap().kind(), ErrorKind::Protocol);
}

/// S23: an array that announces two billion elements is an error of decoding; the session goes on.
#[test]
fn a_value_that_lies() {
    let dialog = dialog("");
    let mut session = open(&dialog);
    let request = Request::PrepareAndRun {
        name: "",
        sql: "select $1",
        types: &[Type::INT4],
        parameters: &[&1_i32],
        results: ResultFormats::Binary,
    };
    session.submit(request).unwrap();
    let column = b"\0\x01a\0\0\0\0\0\0\0\0\0\x03\xf1\xff\xff\xff\xff\xff\xff\0\x01";
    let row = b"\0\x01\0\0\0\x14\0\0\0\x01\0\0\0\0\0\0\0\x19\x7f\xff\xff\xff\0\0\0\x01";
    for (tag, body) in [
        (b'1', &b""[..]),
        (b'2', b""),
        (b'T', column),
        (b'D', row),
        (b'C', b"SELECT 1\0"),
        (b'Z', b"I"),
    ] {
        session.receive(&message(tag, body));
    }
    while let Some(event) = session.next_event() {
        if let Event::Settled { outcome, .. } = event {
            let rows = outcome.unwrap().take_rows();
            let error = rows.get(0).unwrap().get::<Vec<String>>(0).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Decode);
        }
    }
    assert!(session.is_open());
}

/// S26: an error may be empty, unterminated, without a code, or in another encoding: it is an answer all the same.
#[test]
fn errors_that_say_little() {
    let dialog = dialog("");
    for body in [
        &b""[..],
        b"\0",
        b"M",
        b"Mno end",
        b"Mno code\0\0",
        b"C\0\0",
        b"C4260\0Mshort code\0\0",
        b"C\xff\xff\xff\xff\xff\0M\xff\xfe\0\0",
        b"SFEHLER\0C42601\0Mkaputt\x80\0\0",
        b"\xff\xff\xff\xff",
    ] {
        let mut session = open(&dialog);
        session.submit(Request::Script { sql: "select 1" }).unwrap();
        session.receive(&[message(b'E', body), message(b'Z', b"I")].concat());
        let mut answered = false;
        while let Some(event) = session.next_event() {
            if let Event::Settled { outcome, .. } = event {
                let error = outcome.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Server);
                assert!(!format!("{error} {error:#} {error:?}").is_empty());
                answered = true;
            }
        }
        assert!(answered && session.is_open(), "{body:?}");
    }
}

/// An answer to a request that waits behind a shut gate, and was not sent: it would be sent after all, and settle twice.
#[test]
fn an_answer_to_what_was_not_sent() {
    let done = [message(b'C', b"SELECT 0\0"), message(b'Z', b"I")].concat();
    let script = Request::Script { sql: "select 2" };
    let fetch = Request::Fetch { portal: "p", columns: None, rows: 1 };
    for (waits, answer) in [(script, done.clone()), (fetch, message(b'D', b"\0\0"))] {
        let dialog = dialog("");
        let mut session = open(&dialog);
        let running = session.submit(Request::Script { sql: "select 1" }).unwrap();
        assert!(session.make_exclusive(running));
        let mut out = BytesMut::new();
        session.take_output(&mut out);
        session.sent(out.len());
        assert_eq!(session.cancel(running), Cancel::Running);
        let waiting = session.submit(waits).unwrap();
        session.receive(&done);
        assert!(!session.is_closed() && session.is_outstanding(waiting));
        session.receive(&answer);
        assert_eq!(end(&mut session).unwrap().kind(), ErrorKind::Protocol);
    }
}
