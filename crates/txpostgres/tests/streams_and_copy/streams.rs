//! Rows as they come: in bounded memory, with a reader who is slow, who stops, who asks for something else meanwhile.

use txpostgres::{Connection, Error, ErrorKind, QueryStream, SqlState};

use crate::support::{assert_works, bounded, connected, eventually, until_session};

const NUMBERS: &str = "select n, repeat('x', 100) from generate_series(1, $1::int) n";

#[tokio::test]
async fn every_row_comes_once_and_in_order() {
    let (_database, connection) = connected().await;
    for limit in [1, 1000, 1 << 20] {
        let mut stream = connection.query_stream(NUMBERS, (50_000_i32,)).limit(limit);
        assert!(stream.columns().is_none());
        let mut expected = 0;
        while let Some(row) = bounded(stream.next()).await {
            let row = row.unwrap();
            assert_eq!(row.as_row().number(), usize::try_from(expected).unwrap());
            expected += 1;
            assert_eq!(row.get::<i32>(0).unwrap(), expected);
        }
        assert_eq!(expected, 50_000);
        assert_eq!(stream.columns().unwrap().len(), 2);
        assert_eq!(stream.row_count(), Some(50_000));
        assert!(bounded(stream.next()).await.is_none(), "nothing follows the end");
    }
    assert_works(&connection).await;
}

#[tokio::test]
async fn rows_come_in_batches_that_lose_nothing() {
    let (_database, connection) = connected().await;
    let mut stream = connection.query_stream(NUMBERS, (10_000_i32,));
    let mut seen = Vec::new();
    seen.push(bounded(stream.next()).await.unwrap().unwrap().get::<i32>(0).unwrap());
    while let Some(rows) = bounded(stream.next_rows()).await.unwrap() {
        assert_eq!(rows.before(), seen.len());
        seen.extend(rows.iter().map(|row| row.get::<i32>(0).unwrap()));
        if let Some(row) = bounded(stream.next()).await {
            seen.push(row.unwrap().get(0).unwrap());
        }
    }
    assert!(seen.into_iter().eq(1..=10_000));
}

#[tokio::test]
async fn an_error_in_the_middle_comes_after_the_rows_before_it() {
    let (_database, connection) = connected().await;
    let sql = "select 1 / (5000 - n) from generate_series(1, 10000) n";
    let mut stream = connection.query_stream(sql, ());
    let mut rows = 0;
    let error = loop {
        match bounded(stream.next()).await.unwrap() {
            Ok(_) => rows += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(rows, 4_999);
    assert_eq!(error.sqlstate(), Some(SqlState::DIVISION_BY_ZERO));
    assert_eq!(error.statement(), Some(sql));
    assert!(bounded(stream.next()).await.is_none());
    let mut wrong = connection.query_stream("select", (1_i32,));
    assert_eq!(bounded(wrong.next()).await.unwrap().unwrap_err().kind(), ErrorKind::Parameter);
    assert_works(&connection).await;
}

/// The seventh line of the list: a reader who does not read stalls the server.
#[tokio::test]
async fn a_reader_who_stops_stalls_the_server() {
    let (database, connection) = connected().await;
    let pid = connection.backend_pid().unwrap();
    let mut stream = connection.query_stream(NUMBERS, (10_000_000_i32,));
    bounded(stream.next()).await.unwrap().unwrap();
    until_session(&database, pid, "wait_event = 'ClientWrite'").await;
    // Closing does not wait for the rest.
    bounded(connection.close()).await;
    let mut last = None;
    while let Some(row) = bounded(stream.next()).await {
        last = Some(row);
    }
    assert_eq!(last.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    until_gone(&database, pid).await;
}

#[tokio::test]
async fn a_stalled_stream_is_cancelled_at_once() {
    let (database, connection) = connected().await;
    let pid = connection.backend_pid().unwrap();
    for dropped in [true, false] {
        let mut stream = connection.query_stream(NUMBERS, (1_000_000_i32,));
        let handle = stream.cancel_handle();
        bounded(stream.next()).await.unwrap().unwrap();
        until_session(&database, pid, "wait_event = 'ClientWrite'").await;
        if dropped {
            drop(stream);
        } else {
            bounded(connection.cancel(&handle)).await.unwrap();
            let error = loop {
                if let Err(error) = bounded(stream.next()).await.unwrap() {
                    break error;
                }
            };
            assert_eq!(error.kind(), ErrorKind::Cancelled);
            assert!(bounded(stream.next()).await.is_none());
        }
        // To read fifty million rows and throw them away would take longer than `bounded` waits.
        assert_works(&connection).await;
        assert_eq!(connection.backend_pid(), Some(pid), "the connection was kept");
    }
}

#[tokio::test]
async fn a_stream_has_its_time_limit() {
    let (_database, connection) = connected().await;
    let limit = std::time::Duration::from_millis(50);
    let sql = "select n, pg_sleep(0.001) from generate_series(1, 100000) n";
    let mut stream = connection.query_stream(sql, ()).timeout(limit);
    let error = loop {
        match bounded(stream.next()).await.unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_works(&connection).await;
    let failed: Result<(), Error> = bounded(connection.run_interaction(async |cursor| {
        let mut stream = cursor.query_stream(sql, ()).timeout(limit);
        while let Some(row) = stream.next().await {
            row?;
        }
        Ok(())
    }))
    .await;
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Timeout);
    assert_works(&connection).await;
}

async fn until_gone(database: &txpostgres_testkit::Database, pid: i32) {
    let sql = format!("select count(*) from pg_stat_activity where pid = {pid}");
    eventually("it is gone", || database.server().sql(&sql).unwrap() == "0").await;
}

#[tokio::test]
async fn a_stream_that_is_dropped_leaves_the_connection_usable() {
    let (_database, connection) = connected().await;
    for rows in [0, 1, 100, 5_000] {
        let mut stream = connection.query_stream(NUMBERS, (1_000_000_i32,)).limit(10_000);
        for _ in 0..rows {
            bounded(stream.next()).await.unwrap().unwrap();
        }
        drop(stream);
        assert_works(&connection).await;
    }
}

#[tokio::test]
async fn others_wait_for_a_stream_and_get_their_own_answers() {
    let (_database, connection) = connected().await;
    let mut stream = connection.query_stream(NUMBERS, (20_000_i32,)).limit(10_000);
    bounded(stream.next()).await.unwrap().unwrap();
    let other = tokio::spawn({
        let connection = connection.clone();
        async move { connection.run_query("select $1::int", (7_i32,)).await }
    });
    let mut rows = 1;
    while let Some(row) = bounded(stream.next()).await {
        row.unwrap();
        rows += 1;
    }
    assert_eq!(rows, 20_000);
    let seven = bounded(other).await.unwrap().unwrap();
    assert_eq!(seven.first().unwrap().get::<i32>(0).unwrap(), 7);
}

#[tokio::test]
async fn in_an_interaction_other_statements_go_between() {
    let (_database, connection) = connected().await;
    bounded(connection.run_script("create table seen (n int)")).await.unwrap();
    let count = bounded(connection.run_interaction(async |cursor| {
        let mut stream = cursor.query_stream(NUMBERS, (3_000_i32,)).limit(5_000);
        while let Some(row) = stream.next().await {
            let row = row?;
            let n: i32 = row.get(0)?;
            assert_eq!(row.as_row().number() + 1, usize::try_from(n).unwrap());
            if n % 10 == 0 {
                cursor.run_operation("insert into seen values ($1)", (n,)).await?;
            }
        }
        assert_eq!(stream.row_count(), Some(3_000));
        let rows = cursor.run_query("select count(*) from seen", ()).await?;
        rows.first().unwrap().get::<i64>(0)
    }))
    .await
    .unwrap();
    assert_eq!(count, 300);
    assert_works(&connection).await;
}

#[tokio::test]
async fn in_an_interaction_a_stream_that_is_dropped_closes_its_portal() {
    let (_database, connection) = connected().await;
    bounded(connection.run_interaction(async |cursor| {
        // To its end too.
        for (rows, of) in
            [(0, 100_000), (1, 100_000), (64, 100_000), (65, 100_000), (71, 70), (2, 1)]
        {
            let mut stream = cursor.query_stream(NUMBERS, (of,)).limit(10_000);
            for _ in 0..rows {
                stream.next().await.transpose()?;
            }
            drop(stream);
            let open =
                cursor.run_query("select count(*) from pg_cursors where name <> ''", ()).await?;
            assert_eq!(open.first().unwrap().get::<i64>(0)?, 0, "after {rows}");
        }
        Ok::<_, Error>(())
    }))
    .await
    .unwrap();
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_stream_outlives_its_interaction_in_vain() {
    let (_database, connection) = connected().await;
    let mut stream = bounded(connection.run_interaction(async |cursor| {
        let mut stream = cursor.query_stream(NUMBERS, (100_000_i32,)).limit(1_000);
        stream.next().await.unwrap()?;
        Ok::<_, Error>(stream)
    }))
    .await
    .unwrap();
    let error = loop {
        if let Err(error) = bounded(stream.next()).await.unwrap() {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::InteractionEnded);
    drop(stream);
    assert_works(&connection).await;
}

#[tokio::test]
async fn many_streams_of_many_tasks_on_one_connection() {
    let (_database, connection) = connected().await;
    let tasks: Vec<_> = (0..20)
        .map(|task: i32| {
            let connection = connection.clone();
            tokio::spawn(async move {
                let mut stream = connection
                    .query_stream("select $1::int + n from generate_series(0, 2999) n", (task,))
                    .limit(2_000);
                let mut sum = 0;
                for n in 0..3_000 {
                    let row = stream.next().await.unwrap().unwrap();
                    assert_eq!(row.get::<i32>(0).unwrap(), task + n);
                    sum += 1;
                    if task % 3 == 0 && n > 1_000 {
                        break;
                    }
                }
                sum
            })
        })
        .collect();
    for task in tasks {
        assert!(bounded(task).await.unwrap() > 1_000);
    }
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_stream_of_a_connection_that_is_not_open_says_so() {
    let connection = Connection::new();
    let mut stream = connection.query_stream("select 1", ());
    assert_eq!(bounded(stream.next()).await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn a_call_that_waits_for_a_stream_of_its_own_task_ends_by_its_time_limit() {
    let limit = std::time::Duration::from_millis(100);
    let (_database, connection) = connected().await;
    let mut stream = connection.query_stream(NUMBERS, (1_000_000_i32,));
    bounded(stream.next()).await.unwrap().unwrap();
    let error = bounded(connection.run_query("select 1", ()).timeout(limit)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.delivery(), txpostgres::Delivery::NotSent);
    // The stream has lost nothing by it.
    let mut rows = 1;
    while rows < 20_000 {
        let row = bounded(stream.next()).await.unwrap().unwrap();
        rows += 1;
        assert_eq!(row.get::<i32>(0).unwrap(), rows);
    }
    drop(stream);
    assert_works(&connection).await;

    bounded(connection.run_operation("create table t (t text)", ())).await.unwrap();
    let mut copy = bounded(connection.copy_in("copy t from stdin")).await.unwrap();
    bounded(copy.send("one\n")).await.unwrap();
    let interaction = connection.interaction().timeout(limit);
    let error = bounded(
        interaction
            .run(async |cursor| cursor.run_operation("insert into t values ('two')", ()).await),
    )
    .await
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    // Another COPY is no other case.
    let error = bounded(connection.copy_in("copy t from stdin").timeout(limit)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(bounded(copy.finish()).await.unwrap(), 1);
    assert_works(&connection).await;
}

#[tokio::test]
async fn rows_are_read_into_a_shape_as_they_come() {
    let (_database, connection) = connected().await;
    let mut stream = connection.query_stream(NUMBERS, (50_000_i32,)).rows_as::<(i32, String)>();
    assert!(stream.columns().is_none());
    let mut seen = 0;
    while let Some(row) = bounded(stream.next()).await {
        let (n, text) = row.unwrap();
        seen += 1;
        assert_eq!((n, text.len()), (seen, 100));
    }
    assert_eq!((seen, stream.row_count()), (50_000, Some(50_000)));
    assert_eq!(stream.columns().unwrap().len(), 2);
    assert!(bounded(stream.next()).await.is_none(), "nothing follows the end");

    let inside = connection.run_interaction(async |cursor| {
        let shaped = cursor.with_rows_as::<(i32, String)>();
        let mut stream = shaped.query_stream(NUMBERS, (5_000_i32,));
        let mut seen = 0;
        while let Some((n, _)) = stream.next().await.transpose()? {
            seen += 1;
            assert_eq!(n, seen);
            if n % 1_000 == 0 {
                cursor.run_operation("select 1", ()).await?;
            }
        }
        Ok::<_, Error>(seen)
    });
    assert_eq!(bounded(inside).await.unwrap(), 5_000);
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_row_that_does_not_fit_comes_in_its_place_and_ends_the_stream() {
    let (_database, connection) = connected().await;
    let sql = "select nullif(n, $2::int), repeat('x', 100) from generate_series(1, $1::int) n";
    for at in [1, 2, 700, 5_000] {
        let stream = connection.query_stream(sql, (500_000_i32, at));
        let mut stream = stream.rows_as::<(i32, String)>();
        for n in 1..at {
            assert_eq!(bounded(stream.next()).await.unwrap().unwrap().0, n);
        }
        let error = bounded(stream.next()).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
        assert!(error.to_string().contains(&format!("of row {} is NULL", at - 1)), "{error}");
        assert!(bounded(stream.next()).await.is_none(), "nothing follows an error");
        assert_works(&connection).await;
    }
    // Columns are compared, be there rows or none.
    for rows in [0, 10] {
        let mut stream = connection.query_stream(NUMBERS, (rows,)).rows_as::<(i32, i32)>();
        let error = bounded(stream.next()).await.unwrap().unwrap_err();
        assert!(error.to_string().contains("(text) of every row does not read as i32"), "{error}");
        assert!(bounded(stream.next()).await.is_none());
        assert_works(&connection).await;
        let inside = connection.run_interaction(async |cursor| {
            let mut stream = cursor.query_stream(NUMBERS, (rows,)).rows_as::<(i32, i32)>();
            let error = stream.next().await.unwrap().unwrap_err();
            assert!(stream.next().await.is_none());
            cursor.run_operation("select 1", ()).await?;
            Ok::<_, Error>(error)
        });
        assert_eq!(bounded(inside).await.unwrap().kind(), ErrorKind::Decode);
    }
}

#[tokio::test]
async fn a_shaped_stream_that_is_dropped_is_cancelled() {
    let (_database, connection) = connected().await;
    let stream = connection.query_stream(NUMBERS, (1_000_000_i32,));
    let mut stream = stream.rows_as::<(i32, String)>();
    assert_eq!(bounded(stream.next()).await.unwrap().unwrap().0, 1);
    drop(stream);
    assert_works(&connection).await;
}

/// What a stream may keep is read though nobody fetches it, and what comes behind it too.
#[tokio::test]
async fn a_stream_without_a_limit_holds_up_no_notifications() {
    let (database, connection) = connected().await;
    let sender = bounded(Connection::open(database.dsn())).await.unwrap();
    let mut events = connection.notifications();
    bounded(connection.listen("news")).await.unwrap();
    for limit in [100_000_000, usize::MAX] {
        let mut stream = connection.query_stream(NUMBERS, (50_000_i32,)).limit(limit);
        bounded(stream.next()).await.unwrap().unwrap();
        bounded(sender.notify("news", "at last")).await.unwrap();
        assert!(bounded(events.next()).await.is_some());
        while let Some(rows) = bounded(stream.next_rows()).await.unwrap() {
            assert!(!rows.is_empty());
        }
        assert_eq!(stream.row_count(), Some(50_000));
    }
}

/// A limit of nothing still lets one row after the other through.
#[tokio::test]
async fn a_limit_of_nothing_hands_out_every_row() {
    let (_database, connection) = connected().await;
    let sql = "select n::int4, repeat('x', 1000) from generate_series(1, 2000) n";
    for by_rows in [false, true] {
        let mut stream = connection.query_stream(sql, ()).limit(0);
        assert_eq!(read(&mut stream, by_rows).await, 2_000);
        let within = connection.run_interaction(async |cursor| {
            let mut stream = cursor.query_stream(sql, ()).limit(0);
            Ok::<_, Error>(read(&mut stream, by_rows).await)
        });
        assert_eq!(bounded(within).await.unwrap(), 2_000);
    }
    assert_works(&connection).await;
}

/// How many rows there are, in order.
async fn read(stream: &mut QueryStream<'_, ()>, by_rows: bool) -> i32 {
    let mut count = 0;
    if by_rows {
        while let Some(row) = bounded(stream.next()).await {
            count += 1;
            assert_eq!(row.unwrap().get::<i32>(0).unwrap(), count);
        }
    } else {
        while let Some(rows) = bounded(stream.next_rows()).await.unwrap() {
            for row in &rows {
                count += 1;
                assert_eq!(row.get::<i32>(0).unwrap(), count);
            }
        }
    }
    count
}
