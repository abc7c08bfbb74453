//! Named cursors: both ways, held, in their transactions, closed.

use std::future::{Future, poll_fn};
use std::task::Poll;

use txpostgres::{Error, ErrorKind, FetchDirection, Scroll, SqlState};

use crate::support::{assert_works, bounded, connected, count};

const NUMBERS: &str = "select n, n::text as t from generate_series(1, $1::int4) n";

fn numbers(rows: &txpostgres::Rows) -> Vec<i32> {
    rows.iter().map(|row| row.get(0).unwrap()).collect()
}

#[tokio::test]
async fn a_named_cursor_moves_both_ways() {
    let (_database, connection) = connected().await;
    bounded(connection.run_interaction(async |cursor| {
        let mut named = cursor
            .named("odd \"name")
            .scroll(true)
            .rows_ahead(4)
            .open("select n from generate_series(1, $1) n", (10_i32,))
            .await?;
        assert_eq!(named.name(), "odd \"name");
        assert_eq!(named.next().await?.unwrap().get::<i32>(0)?, 1);
        assert_eq!(named.description().unwrap()[0].name(), "n");
        // Three more were fetched in advance; they come first.
        assert_eq!(numbers(&named.fetch(FetchDirection::Forward(5)).await?), [2, 3, 4, 5, 6]);
        assert_eq!(named.next().await?.unwrap().get::<i32>(0)?, 7);
        assert_eq!(numbers(&named.fetch(FetchDirection::Backward(2)).await?), [6, 5]);
        assert_eq!(numbers(&named.fetch(FetchDirection::Prior).await?), [4]);
        assert_eq!(named.fetch_as::<(i32,)>(FetchDirection::Last).await?, [(10,)]);
        assert_eq!(numbers(&named.fetch(FetchDirection::Absolute(3)).await?), [3]);
        assert_eq!(numbers(&named.fetch(FetchDirection::Relative(2)).await?), [5]);
        assert_eq!(named.move_to(FetchDirection::First).await?, 1);
        assert_eq!(numbers(&named.fetch(FetchDirection::ForwardAll).await?).len(), 9);
        assert!(named.next().await?.is_none());
        assert_eq!(numbers(&named.fetch(FetchDirection::Prior).await?), [10]);
        named.scroll(0, Scroll::Absolute).await?;
        let mut all = Vec::new();
        while let Some(row) = named.next().await? {
            all.push(row.get::<i32>(0)?);
        }
        assert!(all.iter().copied().eq(1..=10));
        // Read to the last row but two with more fetched in advance, and back.
        named.scroll(0, Scroll::Absolute).await?;
        for _ in 0..9 {
            named.next().await?;
        }
        assert_eq!(numbers(&named.fetch(FetchDirection::Prior).await?), [8]);
        named.close().await
    }))
    .await
    .unwrap();
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_named_cursor_needs_a_transaction_or_hold() {
    let (_database, connection) = connected().await;
    let error = bounded(connection.cursor().named("c").open("select 1", ())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Request);
    assert!(error.hint().is_some());
    let open = "select count(*) from pg_cursors where name <> ''";
    let mut held = bounded(connection.cursor().named("c").with_hold(true).open(NUMBERS, (3_i32,)))
        .await
        .unwrap();
    assert_eq!(count(&connection, open).await, 1);
    let again = connection.cursor().named("c").with_hold(true).open("select 1", ());
    let error = bounded(again).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::DUPLICATE_CURSOR));
    for expected in 1..=3 {
        assert_eq!(bounded(held.next()).await.unwrap().unwrap().get::<i32>(0).unwrap(), expected);
    }
    assert!(bounded(held.next()).await.unwrap().is_none());
    drop(held);
    assert_eq!(count(&connection, open).await, 0, "dropping closes it");
    // One of a transaction ends with it.
    let mut outlived = bounded(connection.run_interaction(async |cursor| {
        let mut named = cursor.named("c").open(NUMBERS, (3_i32,)).await?;
        let error = named.fetch(FetchDirection::Backward(1)).await;
        assert!(error.is_ok_and(|rows| rows.is_empty()));
        named.next().await?;
        Ok::<_, Error>(named)
    }))
    .await
    .unwrap();
    let error = bounded(outlived.fetch(FetchDirection::Prior)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InteractionEnded);
    drop(outlived);
    assert_works(&connection).await;
}

#[tokio::test]
async fn what_a_named_cursor_fetched_in_advance_does_not_move_its_reader() {
    let (_database, connection) = connected().await;
    bounded(connection.run_interaction(async |cursor| {
        for ahead in [1, 2, 4, 10, 100] {
            let builder = cursor.named("c").scroll(true).rows_ahead(ahead);
            let mut named = builder.open(NUMBERS, (10_i32,)).await?;
            for n in 1..=10 {
                assert_eq!(named.next().await?.unwrap().get::<i32>(0)?, n);
            }
            // It stands on the last row, not behind it.
            assert_eq!(numbers(&named.fetch(FetchDirection::Prior).await?), [9], "{ahead} ahead");
            assert_eq!(numbers(&named.fetch(FetchDirection::Forward(1)).await?), [10]);
            assert!(named.next().await?.is_none());
            assert_eq!(numbers(&named.fetch(FetchDirection::Prior).await?), [10], "{ahead} ahead");
            named.move_to(FetchDirection::Absolute(8)).await?;
            assert_eq!(named.next().await?.unwrap().get::<i32>(0)?, 9);
            assert_eq!(numbers(&named.fetch(FetchDirection::Forward(5)).await?), [10]);
            assert_eq!(numbers(&named.fetch(FetchDirection::Prior).await?), [10], "{ahead} ahead");
            named.close().await?;
        }
        Ok::<_, Error>(())
    }))
    .await
    .unwrap();
}

#[tokio::test]
async fn a_held_cursor_outlives_its_interaction_and_is_closed_when_dropped() {
    let (_database, connection) = connected().await;
    let open = "select count(*) from pg_cursors where name <> ''";
    let long = "ä".repeat(100);
    for name in ["c", &long] {
        let mut held = bounded(connection.run_interaction(async |cursor| {
            let mut named =
                cursor.named(name).with_hold(true).rows_ahead(2).open(NUMBERS, (5_i32,)).await?;
            named.next().await?;
            Ok::<_, Error>(named)
        }))
        .await
        .unwrap();
        for n in 2..=5 {
            assert_eq!(bounded(held.next()).await.unwrap().unwrap().get::<i32>(0).unwrap(), n);
        }
        assert_eq!(count(&connection, open).await, 1);
        drop(held);
        assert_eq!(count(&connection, open).await, 0);
    }
    // Of one that is rolled back nothing is held.
    let mut kept = None;
    let failed: Result<(), Error> = bounded(connection.run_interaction(async |cursor| {
        kept = Some(cursor.named("c").with_hold(true).open(NUMBERS, (5_i32,)).await?);
        cursor.run_operation("select nothing", ()).await.map(drop)
    }))
    .await;
    failed.unwrap_err();
    let error = bounded(kept.unwrap().next()).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(SqlState::INVALID_CURSOR_NAME));
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_cursor_that_is_dropped_fails_no_transaction() {
    let (_database, connection) = connected().await;
    let held = connection.cursor().named("h").with_hold(true).open(NUMBERS, (5_i32,));
    let held = bounded(held).await.unwrap();
    bounded(connection.run_interaction(async |cursor| {
        let named = cursor.named("c").open(NUMBERS, (5_i32,)).await?;
        cursor.run_script("close all").await?;
        drop((named, held));
        cursor.run_query("select 1", ()).await
    }))
    .await
    .unwrap();
    // In a transaction that has failed it is closed all the same.
    let held = connection.cursor().named("h").with_hold(true).open(NUMBERS, (5_i32,));
    let held = bounded(held).await.unwrap();
    bounded(connection.run_interaction(async |cursor| {
        let failed = cursor.run_query("select nothing", ()).await;
        drop(held);
        failed
    }))
    .await
    .unwrap_err();
    assert_eq!(count(&connection, "select count(*) from pg_cursors where name <> ''").await, 0);
}

#[tokio::test]
async fn an_open_that_is_dropped_leaves_no_cursor() {
    let (_database, connection) = connected().await;
    for polls in 0..20 {
        let cursor = connection.cursor();
        let mut open = Box::pin(cursor.named("c").with_hold(true).open(NUMBERS, (5_i32,)));
        let mut left = polls;
        let opened = poll_fn(|cx| {
            if left == 0 {
                return Poll::Ready(None);
            }
            left -= 1;
            open.as_mut().poll(cx).map(Some)
        });
        let opened = bounded(opened).await;
        drop(open);
        let ended = opened.map(|named| named.unwrap()).is_some();
        let open = "select count(*) from pg_cursors where name <> ''";
        assert_eq!(count(&connection, open).await, 0, "after {polls} polls");
        if ended {
            return assert!(polls > 1);
        }
    }
    panic!("it never opened");
}
