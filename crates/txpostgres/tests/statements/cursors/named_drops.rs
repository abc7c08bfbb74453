//! Named cursors whose calls are dropped anywhere: no row is lost, none comes twice, and nobody else is held up.

use std::future::Future;
use std::time::Duration;

use txpostgres::{
    Connection, Error, ErrorKind, FetchDirection, NamedCursor, NotifyEvent, Rows, SqlState,
};
use txpostgres_testkit::{Script, backend};

use crate::support::dice::{Dice, Seed};
use crate::support::polls::GiveUp;
use crate::support::{assert_works, bounded, connected, count, occupied, welcomed};

const NUMBERS: &str = "select n from generate_series(1, $1::int4) n";
const INT4: u32 = 23;

/// Tasks may share one, and hand it over.
const _: () = {
    const fn is_for_any_task<T: Send + Sync>() {}
    is_for_any_task::<NamedCursor>();
};

fn numbers(rows: &Rows) -> Vec<i32> {
    rows.iter().map(|row| row.get(0).unwrap()).collect()
}

/// Polls once and drops it. It has not ended, unless the server was very fast.
async fn touch<F: Future>(future: F) -> Option<F::Output> {
    GiveUp { after: 1, woken: false }.poll(future).await
}

async fn held(connection: &Connection, ahead: u32, rows: i32) -> NamedCursor {
    let builder = connection.cursor().named("c").with_hold(true).scroll(true).rows_ahead(ahead);
    bounded(builder.open(NUMBERS, (rows,))).await.unwrap()
}

async fn next(cursor: &mut NamedCursor) -> Option<i32> {
    bounded(cursor.next()).await.unwrap().map(|row| row.get(0).unwrap())
}

/// The answer to a statement without parameters that is sent as it is.
fn answer(rows: &[&[u8]], tag: &str) -> Vec<u8> {
    let mut bytes = [backend::parse_complete(), backend::bind_complete()].concat();
    if rows.is_empty() {
        bytes.extend(backend::no_data());
    } else {
        bytes.extend(backend::row_description(&[("n", INT4)], 1));
    }
    for row in rows {
        bytes.extend(backend::data_row(&[Some(row)]));
    }
    bytes.extend(backend::command_complete(tag));
    bytes.extend(backend::ready(b'I'));
    bytes
}

/// A `next` in a `select!`, where the other branch is faster: the server has moved its cursor, and has sent rows that it will not
/// send again. They are the next call's, and it is not asked for them twice.
#[tokio::test]
async fn rows_that_a_dropped_next_had_asked_for_come_with_the_next_one() {
    let rows: Vec<[u8; 4]> = (1..=2_i32).map(i32::to_be_bytes).collect();
    let rows: Vec<&[u8]> = rows.iter().map(<[u8; 4]>::as_slice).collect();
    let server = Script::new()
        .welcome()
        .expect_messages(b"PBDES") // declare
        .send(answer(&[], "DECLARE CURSOR"))
        .expect_messages(b"PBDES") // fetch forward 2
        .silence(Duration::from_millis(50))
        .send(answer(&rows, "FETCH 2"))
        .expect_messages(b"PBDES") // fetch forward 2
        .send(answer(&[&3_i32.to_be_bytes()], "FETCH 1"))
        .expect_messages(b"CS") // the cursor is closed
        .send([backend::close_complete(), backend::ready(b'I')].concat())
        .expect_message(b'X')
        .play()
        .unwrap();
    let connection = welcomed(&server).await;
    let builder = connection.cursor().named("c").with_hold(true).rows_ahead(2);
    let mut cursor = bounded(builder.open("select n from numbers", ())).await.unwrap();
    tokio::select! {
        biased;
        row = cursor.next() => panic!("the server has not answered: {row:?}"),
        () = tokio::time::sleep(Duration::from_millis(5)) => {}
    }
    for expected in [Some(1), Some(2), Some(3), None] {
        assert_eq!(next(&mut cursor).await, expected);
    }
    drop(cursor);
    bounded(connection.close()).await;
    server.finish().unwrap();
}

/// Each `next` is dropped after every number of polls before it is let alone.
#[tokio::test]
async fn a_next_may_be_dropped_at_any_time() {
    let (_database, connection) = connected().await;
    for ahead in [1, 2, 3, 10, 100] {
        for woken in [false, true] {
            let mut cursor = held(&connection, ahead, 10).await;
            let mut seen = Vec::new();
            let mut after = 1;
            loop {
                match bounded(GiveUp { after, woken }.poll(cursor.next())).await {
                    Some(row) => match row.unwrap() {
                        Some(row) => seen.push(row.get::<i32>(0).unwrap()),
                        None => break,
                    },
                    None => after = after % 4 + 1,
                }
                if after == 2 {
                    // Others go on meanwhile.
                    assert_works(&connection).await;
                }
            }
            assert!(seen.iter().copied().eq(1..=10), "{ahead} ahead: {seen:?}");
            assert_eq!(next(&mut cursor).await, None);
            assert_eq!(numbers(&bounded(cursor.fetch(FetchDirection::Prior)).await.unwrap()), [10]);
            bounded(cursor.close()).await.unwrap();
        }
    }
}

/// What is fetched onwards is as safe; and where the reader is, is known after all of them.
#[tokio::test]
async fn whatever_is_dropped_the_reader_stands_where_he_read_last() {
    let (_database, connection) = connected().await;
    let seed = Seed::of_this_run();
    for run in 0..40 {
        let mut dice = Dice::new(seed.0, run);
        let ahead = if run % 4 == 0 { 50 } else { u32::try_from(run % 4).unwrap() };
        let told = format!("run {run}, {ahead} ahead");
        bounded(connection.run_interaction(async |inside| {
            let builder = inside.named("c").scroll(true).rows_ahead(ahead);
            let mut cursor = builder.open(NUMBERS, (20_i32,)).await?;
            // The row that was read last: 0 before the first one, 21 behind the last one.
            let mut at = 0_i32;
            for step in 0..30 {
                let give_up = GiveUp {
                    after: usize::try_from(dice.below(5)).unwrap() + 1,
                    woken: dice.below(2) == 0,
                };
                let told = format!("{told}, step {step} at {at}");
                let count = i32::try_from(dice.below(4)).unwrap() + 1;
                match dice.below(8) {
                    0..=2 => {
                        let Some(row) = give_up.poll(cursor.next()).await else { continue };
                        let row = row?.map(|row| row.get::<i32>(0)).transpose()?;
                        at = (at + 1).min(21);
                        assert_eq!(row, Some(at).filter(|&at| at <= 20), "{told}");
                    }
                    3..=4 => {
                        let rows = FetchDirection::Forward(count.unsigned_abs());
                        let Some(rows) = give_up.poll(cursor.fetch(rows)).await else { continue };
                        let expected: Vec<_> = (at + 1..=20.min(at + count)).collect();
                        assert_eq!(numbers(&rows?), expected, "{told}");
                        at = (at + count).min(21);
                    }
                    5 if dice.below(4) == 0 => {
                        let rows = give_up.poll(cursor.fetch(FetchDirection::ForwardAll)).await;
                        let Some(rows) = rows else { continue };
                        assert_eq!(numbers(&rows?), (at + 1..=20).collect::<Vec<_>>(), "{told}");
                        at = 21;
                    }
                    5 => {
                        // There is no row behind the last one, however often it is tried.
                        let place = [
                            FetchDirection::ForwardAll,
                            FetchDirection::Absolute(99),
                            FetchDirection::Relative(99),
                        ];
                        cursor.move_to(place[usize::try_from(count).unwrap() % 3]).await?;
                        give_up.poll(cursor.next()).await.transpose()?;
                        at = 21;
                    }
                    6 => {
                        // It may have moved. A place that is counted from the beginning is right all the same.
                        give_up
                            .poll(cursor.fetch(FetchDirection::Backward(2)))
                            .await
                            .transpose()?;
                        let place = i32::try_from(dice.below(21)).unwrap();
                        let row = cursor.fetch(FetchDirection::Absolute(place.into())).await?;
                        assert_eq!(numbers(&row), Vec::from_iter((place > 0).then_some(place)));
                        at = place;
                    }
                    _ => {
                        let rows = cursor.fetch(FetchDirection::Prior).await?;
                        at = (at - 1).max(0);
                        assert_eq!(
                            numbers(&rows),
                            Vec::from_iter((at > 0).then_some(at)),
                            "{told}"
                        );
                    }
                }
            }
            cursor.close().await
        }))
        .await
        .unwrap();
    }
    assert_works(&connection).await;
}

/// Nobody comes for the rows, and the server has something to say behind them.
#[tokio::test]
async fn a_dropped_next_holds_up_no_notification() {
    let (database, connection) = connected().await;
    let other = Connection::open(database.dsn()).await.unwrap();
    let mut heard = connection.notifications();
    bounded(connection.listen("c")).await.unwrap();
    let mut cursor = held(&connection, 1, 10).await;
    for n in 1..=10 {
        let early = touch(cursor.next()).await;
        bounded(other.notify("c", "")).await.unwrap();
        let event = bounded(heard.next()).await;
        assert!(matches!(event, Some(NotifyEvent::Notification(_))), "{event:?}");
        if early.is_none() {
            assert_eq!(next(&mut cursor).await, Some(n));
        }
    }
}

#[tokio::test]
async fn the_error_of_a_dropped_next_is_the_next_ones() {
    let (_database, connection) = connected().await;
    let failed: Result<(), Error> = bounded(connection.run_interaction(async |inside| {
        let sql = "select 1 / (2 - n), pg_sleep(0.01) from generate_series(1, 5) n";
        let mut cursor = inside.named("c").rows_ahead(2).open(sql, ()).await?;
        assert!(touch(cursor.next()).await.is_none());
        // Its error, and not that the transaction has failed.
        let error = cursor.next().await.unwrap_err();
        assert_eq!(error.sqlstate(), Some(SqlState::DIVISION_BY_ZERO));
        Err(error)
    }))
    .await;
    failed.unwrap_err();
    // Rows that came within the transaction can be had after it.
    let mut kept = bounded(connection.run_interaction(async |inside| {
        let sql = "select n from generate_series(1, 3) n where pg_sleep(0.01) is not null";
        let mut cursor = inside.named("c").rows_ahead(2).open(sql, ()).await?;
        assert!(touch(cursor.next()).await.is_none());
        Ok::<_, Error>(cursor)
    }))
    .await
    .unwrap();
    assert_eq!((next(&mut kept).await, next(&mut kept).await), (Some(1), Some(2)));
    assert_eq!(bounded(kept.next()).await.unwrap_err().kind(), ErrorKind::InteractionEnded);
}

/// What waits for an interaction was not sent: the cursor has not moved, and a `close` has not closed.
#[tokio::test]
async fn what_is_dropped_before_it_is_sent_has_not_happened() {
    let (_database, connection) = connected().await;
    let mut cursor = held(&connection, 2, 5).await;
    assert_eq!(next(&mut cursor).await, Some(1));
    let other = occupied(&connection).await;
    assert!(touch(cursor.fetch(FetchDirection::Last)).await.is_none());
    assert!(touch(cursor.move_to(FetchDirection::Last)).await.is_none());
    other.leave().await;
    assert_eq!(next(&mut cursor).await, Some(2));
    let open = "select count(*) from pg_cursors where name <> ''";
    let other = occupied(&connection).await;
    assert!(touch(cursor.close()).await.is_none());
    other.leave().await;
    assert_eq!(count(&connection, open).await, 0);
}
