//! How much memory a stream, a COPY and a large value take: the peak of a process of their own, as the system counts it.

use std::fs;
use std::process::Command;
use std::time::Duration;

use txpostgres::{Column, ColumnReader, Connection, Error, FromRow, Row};
use txpostgres_testkit::shared;

const MIB: u64 = 1024 * 1024;

/// Runs a deed in a process of its own and gives its peak above what it had before, in bytes.
fn peak_of(deed: &str) -> u64 {
    let database = shared().database().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .arg(format!("memory::{deed}"))
        .args(["--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env("TXPOSTGRES_MEMORY_DSN", database.dsn())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{said}{}", String::from_utf8_lossy(&child.stderr));
    let peak = said.lines().find_map(|line| line.strip_prefix("peak ")).expect("a peak");
    peak.parse().unwrap()
}

/// A field of this process's status, in bytes.
fn status(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// What a process has before its deed. From here on its peak counts.
struct Before(u64);

impl Before {
    async fn of(connection: &Connection) -> Self {
        connection.run_query("select 1", ()).await.unwrap();
        // Sets the peak back to what there is (proc(5), clear_refs).
        fs::write("/proc/self/clear_refs", "5").unwrap();
        Self(status("VmRSS"))
    }

    fn tell_peak(&self) {
        println!("\npeak {}", status("VmHWM").saturating_sub(self.0));
    }
}

async fn connection() -> Connection {
    Connection::open(std::env::var("TXPOSTGRES_MEMORY_DSN").unwrap()).await.unwrap()
}

#[test]
fn a_stream_of_five_million_rows_stays_small() {
    let peak = peak_of("deed_stream");
    assert!(peak < 32 * MIB, "{} MiB", peak / MIB);
}

#[tokio::test]
#[ignore = "run by another test, in a process of its own"]
async fn deed_stream() {
    const ROWS: i64 = 5_000_000;
    let connection = connection().await;
    let before = Before::of(&connection).await;
    let sql = "select n, 'some text that goes with it' from generate_series(1, $1::int8) n";
    let mut stream = connection.query_stream(sql, (ROWS,));
    let (mut rows, mut sum) = (0, 0_i64);
    while let Some(batch) = stream.next_rows().await.unwrap() {
        rows += batch.len();
        // Of each batch the first and the last: to read every value takes its time without optimization.
        for number in [0, batch.len() - 1] {
            sum += batch.get(number).unwrap().get::<i64>(0).unwrap();
        }
    }
    assert_eq!(i64::try_from(rows).unwrap(), ROWS);
    assert!(sum > ROWS);
    before.tell_peak();
}

#[test]
fn a_copy_of_a_gigabyte_out_and_in_stays_small() {
    let peak = peak_of("deed_copy");
    assert!(peak < 32 * MIB, "{} MiB", peak / MIB);
}

#[tokio::test]
#[ignore = "run by another test, in a process of its own"]
async fn deed_copy() {
    let (from, to) = (connection().await, connection().await);
    to.run_operation("create unlogged table copied (line text)", ()).await.unwrap();
    let before = Before::of(&from).await;
    let sql = "copy (select repeat('x', 1023) from generate_series(1, 1048576)) to stdout";
    let mut out = from.copy_out(sql).await.unwrap();
    let mut into = to.copy_in("copy copied from stdin").await.unwrap();
    while let Some(data) = out.next().await {
        into.send(data.unwrap()).await.unwrap();
    }
    assert_eq!(out.progress().bytes, 1 << 30);
    assert_eq!(into.finish().await.unwrap(), 1 << 20);
    before.tell_peak();
    let rows = to.run_query("select pg_relation_size('copied')", ()).await.unwrap();
    assert!(rows.first().unwrap().get::<i64>(0).unwrap() > 1 << 30);
}

#[test]
fn a_value_of_two_hundred_megabytes_takes_little_more() {
    let peak = peak_of("deed_value");
    assert!(peak >= 200 * MIB, "it was fetched as a whole: {} MiB", peak / MIB);
    assert!(peak < 230 * MIB, "{} MiB", peak / MIB);
}

#[tokio::test]
#[ignore = "run by another test, in a process of its own"]
async fn deed_value() {
    let connection = connection().await;
    let before = Before::of(&connection).await;
    let sql = "select decode(repeat('ab', $1), 'hex')";
    let rows = connection.run_query(sql, (200 * 1024 * 1024_i32,)).await.unwrap();
    let value: &[u8] = rows.first().unwrap().get(0).unwrap();
    assert_eq!(value.len(), 200 * 1024 * 1024);
    assert!(value.iter().step_by(4096).all(|&byte| byte == 0xab));
    before.tell_peak();
}

/// Rows that are read into a shape need not be held as they came.
#[test]
fn a_large_answer_takes_no_more_than_what_is_made_of_it() {
    let peak = peak_of("deed_shapes");
    assert!(peak < 32 * MIB, "{} MiB", peak / MIB);
}

#[tokio::test]
#[ignore = "run by another test, in a process of its own"]
async fn deed_shapes() {
    struct Length(usize);

    impl<'r> FromRow<'r> for Length {
        type Layout = ColumnReader;

        fn layout(columns: &[Column]) -> txpostgres::Result<ColumnReader> {
            ColumnReader::new::<&str>(columns, 0)
        }

        fn from_row(place: &ColumnReader, row: Row<'r>) -> txpostgres::Result<Self> {
            Ok(Self(row.read::<&str>(place)?.len()))
        }
    }

    let connection = connection().await;
    let before = Before::of(&connection).await;
    let sql = "select repeat('x', 1000) from generate_series(1, $1::int)";
    let lengths: Vec<Length> = connection.run_query_as(sql, (200_000_i32,)).await.unwrap();
    assert_eq!(lengths.len(), 200_000);
    assert!(lengths.iter().all(|length| length.0 == 1000));
    before.tell_peak();
}

/// Rows that nobody reads are no reason to grow either.
#[test]
fn a_stream_that_is_not_read_stays_small() {
    let peak = peak_of("deed_unread");
    assert!(peak < 8 * MIB, "{} MiB", peak / MIB);
}

#[tokio::test]
#[ignore = "run by another test, in a process of its own"]
async fn deed_unread() {
    let (connection, other) = (connection().await, connection().await);
    let before = Before::of(&connection).await;
    let pid = connection.backend_pid().unwrap();
    let sql = "select repeat('x', 1000) from generate_series(1, 1000000)";
    let mut stream = connection.query_stream(sql, ());
    stream.next().await.unwrap().unwrap();
    let waits =
        "select count(*) from pg_stat_activity where pid = $1 and wait_event = 'ClientWrite'";
    loop {
        let rows = other.run_query(waits, (pid,)).await.unwrap();
        if rows.first().unwrap().get::<i64>(0).unwrap() == 1 {
            break;
        }
        tokio::task::yield_now().await;
    }
    before.tell_peak();
}

/// Fifty notices of ten megabytes each: what is kept of them is bounded in bytes.
#[test]
fn notices_that_are_huge_do_not_add_up() {
    let peak = peak_of("deed_notices");
    assert!(peak < 100 * MIB, "{} MiB", peak / MIB);
}

#[tokio::test]
#[ignore = "run by another test, in a process of its own"]
async fn deed_notices() {
    let connection = connection().await;
    let before = Before::of(&connection).await;
    let sql = "do $$ begin raise notice '%', repeat('x', 10000000); end $$";
    for _ in 0..50 {
        connection.run_operation(sql, ()).await.unwrap();
    }
    // Notices beyond their bound are not kept; smaller ones are.
    let small = "do $$ begin raise notice 'small'; end $$";
    connection.run_operation(small, ()).await.unwrap();
    assert_eq!(connection.notices().last().unwrap().message(), "small");
    before.tell_peak();
}

/// A stream of an interaction whose rows turn large when it is no longer read, with another call
/// behind it.
#[test]
fn a_portal_that_is_not_read_stays_small() {
    let peak = peak_of("deed_portal");
    assert!(peak < 16 * MIB, "{} MiB", peak / MIB);
}

#[tokio::test]
#[ignore = "run by another test, in a process of its own"]
async fn deed_portal() {
    let (connection, other) = (connection().await, connection().await);
    let before = Before::of(&connection).await;
    let pid = connection.backend_pid().unwrap();
    let sql = "select case when n <= 1000 then 'x' else repeat('x', 100000) end
               from generate_series(1, 5000) n";
    let interaction = connection.run_interaction(async |cursor| {
        let mut stream = cursor.query_stream(sql, ());
        for _ in 0..1000 {
            assert_eq!(stream.next().await.unwrap()?.get::<&str>(0)?, "x");
        }
        // The reader stops; the call is answered, or the server waits for the reader.
        let behind = cursor.run_query("select 1", ());
        let waits =
            "select count(*) from pg_stat_activity where pid = $1 and wait_event = 'ClientWrite'";
        let waiting = async {
            let mut looks = 0;
            // Once may be a moment in which the client was slow.
            while looks < 20 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                let rows = other.run_query(waits, (pid,)).await.unwrap();
                looks += rows.first().unwrap().get::<i64>(0).unwrap();
            }
        };
        tokio::select! {
            answered = behind => drop(answered?),
            () = waiting => {}
        }
        before.tell_peak();
        drop(stream);
        Ok::<_, Error>(())
    });
    tokio::time::timeout(Duration::from_secs(60), interaction).await.unwrap().unwrap();
}
