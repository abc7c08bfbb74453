//! Cancelling: the statement in progress, and never another one.

use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use txpostgres_poll::{EndedBy, ErrorKind, PollState};

use crate::support::{connect, database, finish, unblocked, wait_for};

#[test]
fn the_statement_in_progress_is_cancelled() {
    let database = database();
    let mut connection = connect(database.dsn());
    for _ in 0..3 {
        let began = Instant::now();
        connection.send_query("select pg_sleep(60)").unwrap();
        unblocked(&mut connection).unwrap();
        let mut cancel = connection.cancel_start().unwrap();
        // Another statement would be hit.
        let error = connection.execute("select 1", ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Request);
        let error = loop {
            finish(&mut cancel).unwrap();
            // One that comes before the statement has begun has no effect.
            let soon = Instant::now() + Duration::from_millis(200);
            if wait_for(&connection, PollFlags::IN, soon)
                && let Err(error) = unblocked(&mut connection)
            {
                break error;
            }
            cancel = connection.cancel_start().unwrap();
        };
        assert_eq!((error.kind(), error.ended_by()), (ErrorKind::Cancelled, Some(EndedBy::Ours)));
        assert!(began.elapsed() < Duration::from_secs(50));
        connection.execute("select 1", ()).unwrap();
        finish(&mut connection).unwrap();
    }
}

#[test]
fn with_nothing_in_progress_nothing_is_done() {
    let database = database();
    let mut connection = connect(database.dsn());
    let mut cancel = connection.cancel_start().unwrap();
    assert_eq!(unblocked(&mut cancel).unwrap(), PollState::Ok);
    assert!(cancel.fileno().is_none());
    connection.execute("select 1", ()).unwrap();
    finish(&mut connection).unwrap();
}

/// A cancel that was dropped before anything of it was sent hits nothing. One whose request has
/// left may: the connection is of no more use.
#[test]
fn a_cancel_that_is_dropped() {
    let database = database();
    let mut connection = connect(database.dsn());
    connection.send_query("select pg_sleep(0.2)").unwrap();
    drop(connection.cancel_start().unwrap());
    finish(&mut connection).unwrap();
    connection.send_query("select pg_sleep(0.2)").unwrap();
    let mut cancel = connection.cancel_start().unwrap();
    while unblocked(&mut cancel).unwrap() == PollState::Write {}
    drop(cancel);
    let _ = finish(&mut connection);
    let error = connection.execute("select 1", ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error:#}");
}
