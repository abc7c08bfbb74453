//! Requests that cannot be sent: nothing of them is, and the next one is answered.

// A test's helpers may panic as the test itself may; clippy.toml allows it inside of `#[test]` only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::error::Error as StdError;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::{BufMut, BytesMut};
use support::dialog::{Dialog, message};
use support::player::{Player, session_config, submit_query};
use support::spoken;
use txpostgres_session::types::{IsNull, ToSql, Type, to_sql_checked};
use txpostgres_session::{
    Error, ErrorKind, Execute, Parameters, Query, Request, ResultFormats, Session, Ticket, limits,
};

fn dialog() -> Dialog {
    Dialog::parse("bad request", "A bad request.\n! open")
}

fn open(dialog: &Dialog) -> Session {
    let mut player = Player::new(dialog);
    player.take();
    player.receive(&[message(b'R', &[0; 4]), message(b'Z', b"I")].concat());
    assert!(player.session.is_open());
    player.session
}

/// A parameter that writes half a value and then fails, or panics.
#[derive(Debug)]
struct Half {
    panics: bool,
}

impl ToSql for Half {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        out.put_slice(b"half a value");
        assert!(!self.panics, "a serialiser panics");
        Err("half is enough".into())
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// After whatever failed, the next request goes out alone and gets the next ticket.
fn is_as_before(session: &mut Session, tickets: u64) {
    assert!(!session.has_output(), "something is left of a request that failed");
    assert_eq!(session.outstanding(), 0);
    let ticket = session.submit(Request::Script { sql: "select 1" }).unwrap();
    assert_eq!(ticket.number(), tickets);
    let mut out = BytesMut::new();
    session.take_output(&mut out);
    let sent: Vec<_> = spoken::sent(&out).into_iter().map(|message| message.text).collect();
    assert_eq!(sent, ["Query \"select 1\""]);
    session.receive(&[message(b'C', b"SELECT 1\0"), message(b'Z', b"I")].concat());
    assert_eq!(session.outstanding(), 0);
}

fn fails(kind: ErrorKind, submit: impl Fn(&mut Session) -> Result<Ticket, Error>) {
    let dialog = dialog();
    let mut session = open(&dialog);
    for ticket in 0..2 {
        assert_eq!(submit(&mut session).unwrap_err().kind(), kind);
        is_as_before(&mut session, ticket);
    }
}

/// S3: a NUL would end a text early: `application_name=x\0user\0admin` would be another user.
#[test]
fn nul() {
    let dialog = dialog();
    for (name, value) in [("user", "x\0user\0admin"), ("application\0name", "x")] {
        let mut config = session_config(&dialog);
        config.parameters.push((name.to_owned(), value.to_owned()));
        assert_eq!(Session::new(config).unwrap_err().kind(), ErrorKind::Request);
    }
    let sql = "select 'a\0b'";
    fails(ErrorKind::Request, |session| session.submit(Request::Script { sql }));
    fails(ErrorKind::Request, |session| session.submit(Request::Prepare { name: "", sql }));
    fails(ErrorKind::Request, |session| {
        session.submit(Request::Prepare { name: "a\0b", sql: "select 1" })
    });
    for name in ["", "a\0b"] {
        fails(ErrorKind::Request, |session| {
            session.submit(Request::PrepareAndRun {
                name,
                sql,
                types: &[],
                parameters: &[],
                results: ResultFormats::Binary,
            })
        });
    }
    fails(ErrorKind::Request, |session| {
        session.submit_after(Some("begin\0"), Request::Prepare { name: "", sql: "select 1" })
    });
    fails(ErrorKind::Request, |session| {
        submit_query(&mut Query::new(), session, sql, Execute::Run(&[]), None)
    });
}

fn two(parameters: Parameters<'_>) -> Request<'_> {
    let types = &[Type::INT4, Type::TEXT];
    Request::PrepareAndRun {
        name: "",
        sql: "select $1, $2",
        types,
        parameters,
        results: ResultFormats::Binary,
    }
}

/// S4: a serialiser that fails or panics leaves nothing, neither of its own message nor of those in the same flight.
#[test]
fn half_a_value() {
    let fail = Half { panics: false };
    let panic = Half { panics: true };
    for begin in [None, Some("begin")] {
        fails(ErrorKind::Parameter, |session| session.submit_after(begin, two(&[&1_i32, &fail])));
        let dialog = dialog();
        let mut session = open(&dialog);
        let caught =
            catch_unwind(AssertUnwindSafe(|| session.submit_after(begin, two(&[&1_i32, &panic]))));
        assert!(caught.is_err());
        is_as_before(&mut session, 0);
    }
}

/// S2: 65,535 parameters can be sent, and one more is refused before anything is.
#[test]
fn too_many_parameters() {
    let value: &(dyn ToSql + Sync) = &1_i32;
    let types = vec![Type::INT4; limits::PARAMETERS + 1];
    let values = vec![value; limits::PARAMETERS + 1];
    fails(ErrorKind::Parameter, |session| {
        let request = Request::PrepareAndRun {
            name: "",
            sql: "select 1",
            types: &types,
            parameters: &values,
            results: ResultFormats::Binary,
        };
        session.submit(request)
    });
    let dialog = dialog();
    let mut session = open(&dialog);
    let request = Request::PrepareAndRun {
        name: "",
        sql: "select 1",
        types: &types[1..],
        parameters: &values[1..],
        results: ResultFormats::Binary,
    };
    session.submit(request).unwrap();
    let mut out = BytesMut::new();
    session.take_output(&mut out);
    assert_eq!(spoken::sent(&out).len(), 5);
}

#[test]
fn wrong_number_of_parameters() {
    for (types, values) in [(&[Type::INT4][..], 0), (&[], 1), (&[Type::INT4], 2)] {
        let value: &(dyn ToSql + Sync) = &1_i32;
        let values = vec![value; values];
        fails(ErrorKind::Parameter, |session| {
            let request = Request::PrepareAndRun {
                name: "",
                sql: "select 1",
                types,
                parameters: &values,
                results: ResultFormats::Binary,
            };
            session.submit(request)
        });
    }
}

/// S1: what is longer than a message can be is refused; its length is never cut to 32 bits.
#[test]
#[ignore = "takes 3 GB of memory"]
fn too_long() {
    let sql = " ".repeat(limits::REQUEST_BYTES);
    fails(ErrorKind::Request, |session| session.submit(Request::Script { sql: &sql }));
    fails(ErrorKind::Request, |session| session.submit(Request::Prepare { name: "", sql: &sql }));
    let value: &(dyn ToSql + Sync) = &&sql[1_000_000..];
    let small: &(dyn ToSql + Sync) = &&sql[..2_000_000];
    fails(ErrorKind::Request, |session| {
        let request = Request::PrepareAndRun {
            name: "",
            sql: "select $1, $2",
            types: &[Type::TEXT, Type::TEXT],
            parameters: &[value, small],
            results: ResultFormats::Binary,
        };
        session.submit(request)
    });
}

/// Before the session is open, and after it has ended, nothing is taken.
#[test]
fn at_the_wrong_time() {
    let dialog = dialog();
    let script = Request::Script { sql: "select 1" };
    let mut starting = Player::new(&dialog).session;
    assert_eq!(starting.submit(script).unwrap_err().kind(), ErrorKind::Closed);
    let mut session = open(&dialog);
    session.close();
    assert_eq!(session.submit(script).unwrap_err().kind(), ErrorKind::Closed);
    let mut out = BytesMut::new();
    session.take_output(&mut out);
    assert_eq!(out, &b"X\0\0\0\x04"[..]);
    session.receive_end();
    assert_eq!(session.submit(script).unwrap_err().kind(), ErrorKind::Closed);
}
