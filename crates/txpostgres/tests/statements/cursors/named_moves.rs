//! Named cursors that move, with rows fetched in advance, against the same moves of a server's cursor that knows of none.

#![allow(clippy::cast_possible_truncation, reason = "the dice are thrown for small numbers")]

use txpostgres::{Cursor, Error, ErrorKind, FetchDirection, NamedCursor, Rows, Scroll, SqlState};

use crate::support::dice::{Dice, Seed};
use crate::support::polls::GiveUp;
use crate::support::{assert_works, bounded, connected};

/// Rows of the queries.
const ROWS: i64 = 20;

/// Its plan can go back.
const EITHER_WAY: &str = "select n from generate_series(1, 20) n";

/// Its plan cannot.
const ONE_WAY: &str =
    "select (count(*) over (order by n))::int4 as n from generate_series(1, 20) n";

fn numbers(rows: &Rows) -> Vec<i32> {
    rows.iter().map(|row| row.get(0).unwrap()).collect()
}

/// Where a move leads, from a row, 0 before the first one and one more than there are behind the last one.
fn leads(what: FetchDirection, at: i64) -> i64 {
    let to = match what {
        FetchDirection::Next => at + 1,
        FetchDirection::Prior => at - 1,
        FetchDirection::First => 1,
        FetchDirection::Last => ROWS,
        FetchDirection::Absolute(row @ ..0) => ROWS + 1 + row,
        FetchDirection::Absolute(row) => row,
        FetchDirection::Relative(rows) => at + rows,
        FetchDirection::Forward(rows) => at + i64::from(rows),
        FetchDirection::Backward(rows) => at - i64::from(rows),
        FetchDirection::ForwardAll => ROWS + 1,
        FetchDirection::BackwardAll => 0,
        _ => unreachable!(),
    };
    to.clamp(0, ROWS + 1)
}

/// A move that a cursor can make, both ways or onwards only.
fn throw(dice: &mut Dice, at: i64, goes_back: bool) -> FetchDirection {
    let few = i64::try_from(dice.below(4)).unwrap() + 1;
    let count = few.unsigned_abs() as u32;
    match dice.below(if goes_back { 13 } else { 5 }) {
        0 => FetchDirection::Next,
        1 => FetchDirection::Forward(count),
        2 => FetchDirection::Relative(few),
        3 => FetchDirection::Absolute(at + few),
        4 if dice.below(6) == 0 => FetchDirection::ForwardAll,
        4 => FetchDirection::Forward(1),
        5 => FetchDirection::Prior,
        6 => FetchDirection::Backward(count),
        7 => FetchDirection::Relative(-few),
        8 => FetchDirection::Absolute(i64::try_from(dice.below(45)).unwrap() - 22),
        9 => [FetchDirection::First, FetchDirection::Last][dice.below(2) as usize],
        10 => FetchDirection::BackwardAll,
        11 => [FetchDirection::Relative(0), FetchDirection::Forward(0)][dice.below(2) as usize],
        _ => FetchDirection::Backward(0),
    }
}

/// The plain cursor fetches or moves.
async fn plain(
    inside: &Cursor,
    verb: &str,
    what: FetchDirection,
) -> Result<(Vec<i32>, u64), Error> {
    inside.execute(&format!("{verb} {what} from plain"), ()).await?;
    let count = inside.row_count().unwrap();
    let rows = if verb == "fetch" { inside.fetch_all_as::<(i32,)>()? } else { Vec::new() };
    Ok((rows.into_iter().map(|(n,)| n).collect(), count))
}

/// One program of both cursors.
async fn run(
    inside: &Cursor,
    mut named: NamedCursor,
    dice: &mut Dice,
    goes_back: bool,
    told: &str,
) -> Result<(), Error> {
    let mut at = 0_i64;
    // Whether the row that the reader is on was read.
    let mut is_read = false;
    for step in 0..40 {
        let told = format!("{told}, step {step} at {at}");
        if dice.below(3) > 0 {
            let give_up = GiveUp { after: dice.below(4) as usize + 1, woken: dice.below(2) == 0 };
            if let Some(row) = give_up.poll(named.next()).await {
                let row = row?.map(|row| row.get::<i32>(0)).transpose()?;
                let (expected, _) = plain(inside, "fetch", FetchDirection::Next).await?;
                assert_eq!(row, expected.first().copied(), "{told}: next");
                at = leads(FetchDirection::Next, at);
                is_read = row.is_some();
            }
            continue;
        }
        // What stays where it is needs no way back, if it was read.
        if dice.below(4) == 0 && (is_read || !(1..=ROWS).contains(&at)) {
            let what = [
                FetchDirection::Relative(0),
                FetchDirection::Forward(0),
                FetchDirection::Backward(0),
            ];
            let what = what[dice.below(3) as usize];
            let expected: Vec<i32> =
                (1..=ROWS).contains(&at).then(|| i32::try_from(at).unwrap()).into_iter().collect();
            assert_eq!(numbers(&named.fetch(what).await?), expected, "{told}: fetch {what}");
            assert_eq!(named.move_to(what).await?, expected.len() as u64, "{told}: {what}");
            continue;
        }
        let what = throw(dice, at, goes_back);
        if dice.below(2) == 0 {
            let (expected, _) = plain(inside, "fetch", what).await?;
            assert_eq!(numbers(&named.fetch(what).await?), expected, "{told}: fetch {what}");
            is_read = true;
        } else {
            let (_, expected) = plain(inside, "move", what).await?;
            assert_eq!(named.move_to(what).await?, expected, "{told}: move {what}");
            is_read = false;
        }
        at = leads(what, at);
    }
    named.close().await
}

#[tokio::test]
async fn a_named_cursor_moves_as_a_plain_one() {
    let (_database, connection) = connected().await;
    let seed = Seed::of_this_run();
    let cursors = [
        (EITHER_WAY, Some(true), true),
        (EITHER_WAY, None, true),
        (EITHER_WAY, Some(false), false),
        (ONE_WAY, None, false),
        (ONE_WAY, Some(true), true),
    ];
    for number in 0..60 {
        let mut dice = Dice::new(seed.0, number);
        let ahead = if number % 4 == 0 { 50 } else { (number % 4) as u32 };
        for (query, scroll, goes_back) in cursors {
            let told = format!("program {number}, {ahead} ahead, {scroll:?}");
            bounded(connection.run_interaction(async |inside| {
                let (says, mut builder) = match scroll {
                    Some(true) => ("scroll", inside.named("c").scroll(true)),
                    Some(false) => ("no scroll", inside.named("c").scroll(false)),
                    None => ("", inside.named("c")),
                };
                builder = builder.rows_ahead(ahead);
                inside.run_script(&format!("declare plain {says} cursor for {query}")).await?;
                let named = builder.open(query, ()).await?;
                run(&inside, named, &mut dice, goes_back, &told).await
            }))
            .await
            .unwrap();
        }
    }
    assert_works(&connection).await;
}

/// What psycopg promises of one that cannot scroll.
#[tokio::test]
async fn a_cursor_that_cannot_scroll_moves_on() {
    let (_database, connection) = connected().await;
    for (query, scroll) in [(EITHER_WAY, Some(false)), (ONE_WAY, None)] {
        for hold in [false, true] {
            let mut has_moved = false;
            let failed: Result<(), Error> = bounded(connection.run_interaction(async |inside| {
                let builder = inside.named("c").with_hold(hold);
                let builder = match scroll {
                    Some(scroll) => builder.scroll(scroll),
                    None => builder,
                };
                let mut named = builder.open(query, ()).await?;
                assert_eq!(named.next().await?.unwrap().get::<i32>(0)?, 1);
                named.scroll(5, Scroll::Relative).await?;
                assert_eq!(named.next().await?.unwrap().get::<i32>(0)?, 7);
                named.scroll(9, Scroll::Absolute).await?;
                assert_eq!(named.next().await?.unwrap().get::<i32>(0)?, 10);
                assert_eq!(named.move_to(FetchDirection::Forward(2)).await?, 2);
                assert_eq!(numbers(&named.fetch(FetchDirection::Relative(0)).await?), [12]);
                assert_eq!(numbers(&named.fetch(FetchDirection::Last).await?), [20], "it is here");
                assert_eq!(numbers(&named.fetch(FetchDirection::Absolute(-1)).await?), [20]);
                has_moved = true;
                named.scroll(-1, Scroll::Relative).await
            }))
            .await;
            let error = failed.unwrap_err();
            assert!(has_moved, "{query}: {error}");
            assert_eq!(error.sqlstate(), Some(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE));
        }
    }
    assert_works(&connection).await;
}

/// FETCH takes an `int4`. What does not fit is refused here, and the transaction and the cursor go on.
#[tokio::test]
async fn what_fetch_cannot_count_is_refused() {
    let (_database, connection) = connected().await;
    bounded(connection.run_interaction(async |inside| {
        let builder = inside.named("c").scroll(true).rows_ahead(u32::MAX);
        let mut named = builder.open(EITHER_WAY, ()).await?;
        for what in [
            FetchDirection::Absolute(3_000_000_000),
            FetchDirection::Absolute(i64::MIN),
            FetchDirection::Relative(i64::MAX),
            FetchDirection::Relative(i64::from(i32::MIN)),
            FetchDirection::Forward(u32::MAX),
            FetchDirection::Backward(u32::MAX),
        ] {
            let error = named.fetch(what).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Request, "{what}");
            assert!(error.to_string().contains("2147483647"), "{error}");
            assert!(error.hint().is_some());
            assert_eq!(named.move_to(what).await.unwrap_err().kind(), ErrorKind::Request);
        }
        for (by, from) in [(i64::from(i32::MIN), Scroll::Relative), (i64::MAX, Scroll::Absolute)] {
            assert_eq!(named.scroll(by, from).await.unwrap_err().kind(), ErrorKind::Request);
        }
        assert_eq!(named.next().await?.unwrap().get::<i32>(0)?, 1);
        let most = i32::MAX.unsigned_abs();
        for what in [
            FetchDirection::Forward(most),
            FetchDirection::Backward(most),
            FetchDirection::Absolute(most.into()),
            FetchDirection::Absolute(-i64::from(most)),
            FetchDirection::Relative(-i64::from(most)),
            FetchDirection::Relative(most.into()),
        ] {
            named.fetch(what).await?;
            named.move_to(what).await?;
        }
        named.move_to(FetchDirection::First).await?;
        assert_eq!(named.next().await?.unwrap().get::<i32>(0)?, 2);
        Ok::<_, Error>(())
    }))
    .await
    .unwrap();
    assert_works(&connection).await;
}
