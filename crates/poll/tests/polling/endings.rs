//! How connections end: closed, terminated, cut.

use std::time::Instant;

use rustix::event::PollFlags;
use txpostgres_poll::{Delivery, EndedBy, ErrorKind};
use txpostgres_testkit::{Proxy, Script, backend};

use crate::support::{PATIENCE, connect, database, finish, unblocked, wait_for};

#[test]
fn close_ends_the_session_at_once() {
    let database = database();
    let mut connection = connect(database.dsn());
    let pid = connection.backend_pid().unwrap();
    connection.close();
    connection.close();
    assert!(connection.is_closed() && connection.fileno().is_none());
    assert_eq!(connection.poll().unwrap_err().kind(), ErrorKind::Closed);
    let alive = format!("select count(*) from pg_stat_activity where pid = {pid}");
    let until = Instant::now() + PATIENCE;
    while database.sql(&alive).unwrap().trim() != "0" {
        assert!(Instant::now() < until);
    }
}

#[test]
fn a_session_that_is_terminated_says_by_whom() {
    let database = database();
    for executes in [false, true] {
        let mut connection = connect(database.dsn());
        let pid = connection.backend_pid().unwrap();
        if executes {
            connection.send_query("select pg_sleep(60)").unwrap();
            unblocked(&mut connection).unwrap();
        }
        database.sql(&format!("select pg_terminate_backend({pid})")).unwrap();
        assert!(wait_for(&connection, PollFlags::IN, Instant::now() + PATIENCE));
        let error = finish(&mut connection).unwrap_err();
        assert_eq!(error.ended_by(), Some(EndedBy::Terminated), "{error:#}");
        let delivery = if executes { Delivery::Unknown } else { Delivery::NotSent };
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Lost, delivery));
        assert!(connection.is_closed() && connection.fileno().is_none());
    }
}

/// The answer, and only then the end, though both have come at once.
#[test]
fn an_answer_before_the_end_counts() {
    let answer = [
        backend::row_description(&[("n", 25)], 0),
        backend::data_row(&[Some(b"one")]),
        backend::command_complete("SELECT 1"),
        backend::ready(b'I'),
        backend::fatal("57P01", "the server shuts down"),
    ];
    let script = Script::new().welcome().expect_message(b'Q');
    let server = script.send(answer.concat()).close().play().unwrap();
    let mut connection = connect(server.dsn());
    connection.send_query("select").unwrap();
    // Both are there when it is polled.
    server.finish().unwrap();
    unblocked(&mut connection).unwrap();
    assert_eq!(connection.take_rows().len(), 1);
    assert!(wait_for(&connection, PollFlags::IN, Instant::now() + PATIENCE));
    let error = unblocked(&mut connection).unwrap_err();
    assert_eq!((error.kind(), error.ended_by()), (ErrorKind::Lost, Some(EndedBy::Terminated)));
    assert!(connection.is_closed());
}

#[test]
fn a_connection_that_is_cut_is_lost() {
    let database = database();
    let server = database.server();
    for resets in [false, true] {
        let proxy = Proxy::to_port(server.port()).unwrap();
        let dsn = format!("{} host=127.0.0.1 port={}", database.dsn(), proxy.port());
        let mut connection = connect(dsn);
        connection.send_query("select pg_sleep(60)").unwrap();
        if resets {
            proxy.reset();
        } else {
            proxy.cut();
        }
        let error = finish(&mut connection).unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Lost, Delivery::Unknown));
    }
}
