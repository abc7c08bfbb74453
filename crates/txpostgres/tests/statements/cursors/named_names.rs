//! Names of cursors: whatever is dropped, and whenever, closes what it has declared and nothing else of that name.

use std::time::Duration;

use txpostgres::{Cursor, Error, ErrorKind, NamedCursor, SqlState};
use txpostgres_testkit::{Script, backend};

use crate::support::polls::GiveUp;
use crate::support::{assert_works, bounded, connected, count, welcomed};

const NUMBERS: &str = "select n from generate_series(1, $1::int4) n";
const OPEN: &str = "select count(*) from pg_cursors where name = 'c'";

async fn declare(cursor: &Cursor, rows: i32) -> Result<NamedCursor, Error> {
    cursor.named("c").with_hold(true).open(NUMBERS, (rows,)).await
}

/// All that are left.
async fn rows_of(mut cursor: NamedCursor) -> usize {
    let mut rows = 0;
    while bounded(cursor.next()).await.unwrap().is_some() {
        rows += 1;
    }
    rows
}

/// An `open` in all its states, given up: the name is taken, so it declares nothing.
#[tokio::test]
async fn an_open_that_is_dropped_closes_no_cursor_that_was_there() {
    let (_database, connection) = connected().await;
    for woken in [false, true] {
        for after in 1..8 {
            let give_up = GiveUp { after, woken };
            let held = bounded(declare(&connection.cursor(), 3)).await.unwrap();
            // A text that is new each time has to be described first.
            let sql = format!("{NUMBERS} -- {after}");
            let builder = connection.cursor().named("c").with_hold(true);
            if let Some(opened) = bounded(give_up.poll(builder.open(&sql, (5,)))).await {
                assert_eq!(opened.unwrap_err().sqlstate(), Some(SqlState::DUPLICATE_CURSOR));
            }
            assert_works(&connection).await;
            assert_eq!(count(&connection, OPEN).await, 1, "{give_up:?}");
            // In an interaction it fails, and a savepoint brings back what was there.
            bounded(connection.run_interaction(async |outer| {
                let failed = outer
                    .run_interaction(async |inner| {
                        give_up.poll(inner.named("c").open("select 1", ())).await;
                        inner.run_query("select nothing", ()).await
                    })
                    .await;
                failed.unwrap_err();
                let rows = outer.run_query(OPEN, ()).await?;
                assert_eq!(rows.first().unwrap().get::<i64>(0)?, 1, "{give_up:?}");
                Ok::<_, Error>(())
            }))
            .await
            .unwrap();
            assert_eq!(rows_of(held).await, 3);
        }
    }
    assert_eq!(count(&connection, OPEN).await, 0);
}

/// Dropped while the server still works on it: whoever comes then finds the name free, and what went before it undisturbed.
#[tokio::test]
async fn an_open_that_is_dropped_leaves_its_name_to_the_next() {
    let (_database, connection) = connected().await;
    let slow = "select n from generate_series(1, 2) n where pg_sleep(0.05) is not null";
    for after in 1..6 {
        let give_up = GiveUp { after, woken: false };
        let cursor = connection.cursor();
        let open = cursor.named("c").with_hold(true).open(slow, ());
        drop(bounded(give_up.poll(open)).await);
        let (other, again) =
            tokio::join!(connection.run_query("select 1", ()), declare(&cursor, 3));
        assert_eq!((other.unwrap().len(), rows_of(again.unwrap()).await), (1, 3));
        bounded(connection.run_interaction(async |cursor| {
            let again = give_up.poll(declare(&cursor, 4)).await.transpose()?;
            drop(again);
            assert_eq!(rows_of(declare(&cursor, 5).await?).await, 5, "{give_up:?}");
            Ok::<_, Error>(())
        }))
        .await
        .unwrap();
        assert_eq!(count(&connection, OPEN).await, 0);
    }
}

/// The server's answer decides whether there is something to close, and until then nobody else's statement is sent.
#[tokio::test]
async fn what_nobody_waits_for_is_closed_if_it_was_declared() {
    let answer = |said: Vec<u8>| {
        [backend::parse_complete(), backend::bind_complete(), backend::no_data(), said].concat()
    };
    for is_declared in [false, true] {
        let said = if is_declared {
            answer(backend::command_complete("DECLARE CURSOR"))
        } else {
            answer(backend::error("42P03", "cursor \"c\" already exists"))
        };
        let script = Script::new()
            .welcome()
            .expect_messages(b"PBDES") // declare
            .silence(Duration::from_millis(50))
            .send([said, backend::ready(b'I')].concat());
        let script = if is_declared {
            script
                .expect_messages(b"CS")
                .silence(Duration::from_millis(50))
                .send([backend::close_complete(), backend::ready(b'I')].concat())
        } else {
            script
        };
        let server = script
            .expect_message(b'Q') // the next one
            .send([backend::command_complete("SELECT 1"), backend::ready(b'I')].concat())
            .expect_message(b'X')
            .play()
            .unwrap();
        let connection = welcomed(&server).await;
        let open = connection.cursor().named("c").with_hold(true).open("select 1", ());
        let once = GiveUp { after: 1, woken: false };
        assert!(once.poll(open).await.is_none());
        bounded(connection.run_script("select 1")).await.unwrap();
        bounded(connection.close()).await;
        server.finish().unwrap();
    }
}

/// Held or not, what was declared in a transaction that was rolled back is gone, and its name may be another's.
#[tokio::test]
async fn a_cursor_that_is_gone_closes_none_of_its_name() {
    let (_database, connection) = connected().await;
    let mut gone = Vec::new();
    for hold in [false, true] {
        let failed: Result<(), Error> = bounded(connection.run_interaction(async |outer| {
            let nested: Result<(), Error> = outer
                .run_interaction(async |inner| {
                    gone.push(inner.named("c").with_hold(hold).open("select 1", ()).await?);
                    Err(inner.run_query("select nothing", ()).await.unwrap_err())
                })
                .await;
            nested.unwrap_err();
            gone.push(outer.named("c").with_hold(hold).open("select 1", ()).await?);
            Err(outer.run_query("select nothing", ()).await.unwrap_err())
        }))
        .await;
        failed.unwrap_err();
    }
    // Its COMMIT is refused.
    let failed: Result<(), Error> = bounded(connection.run_interaction(async |outer| {
        gone.push(declare(&outer, 1).await?);
        outer.run_query("select nothing", ()).await.unwrap_err();
        Ok(())
    }))
    .await;
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::CommitRefused);
    // It is dropped in the middle.
    let dropped = connection.run_interaction(async |outer| {
        gone.push(declare(&outer, 1).await?);
        outer.run_query("select pg_sleep(60)", ()).cancel_on_drop().await.map(drop)
    });
    assert!(tokio::time::timeout(Duration::from_millis(100), dropped).await.is_err());
    assert_eq!(gone.len(), 6);
    let held = bounded(declare(&connection.cursor(), 3)).await.unwrap();
    drop(gone);
    assert_works(&connection).await;
    assert_eq!(rows_of(held).await, 3);
    // One whose savepoint and transaction have been kept is closed.
    let kept = bounded(connection.run_interaction(async |outer| {
        outer.run_interaction(async |inner| declare(&inner, 2).await).await
    }))
    .await
    .unwrap();
    assert_eq!(count(&connection, OPEN).await, 1);
    drop(kept);
    assert_eq!(count(&connection, OPEN).await, 0);
}

/// The connection was opened again: what has that name there is another one.
#[tokio::test]
async fn a_cursor_of_an_earlier_session_closes_none_of_its_name() {
    let (database, connection) = connected().await;
    let mut old = bounded(declare(&connection.cursor(), 1)).await.unwrap();
    bounded(connection.close()).await;
    bounded(connection.connect(database.dsn())).await.unwrap();
    let held = bounded(declare(&connection.cursor(), 3)).await.unwrap();
    assert_eq!(bounded(old.next()).await.unwrap_err().kind(), ErrorKind::Closed);
    drop(old);
    assert_works(&connection).await;
    assert_eq!(rows_of(held).await, 3);
}
