//! Whatever values there are: they go to the server and come back equal, and the server means the same by them.

// clippy.toml allows it in tests, but not in what tests share.
use std::fmt::Debug;
use std::time::{Duration, SystemTime};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;
use txpostgres::Connection;
use txpostgres::types::{FromSql, ToSql};
use txpostgres::value::{Interval, Multirange, Numeric, Range, Raw, Text};

use crate::support::connected;

/// Cases of each kind of value in one run; `PROPTEST_CASES` makes it more.
const CASES: u32 = 100;

struct Mirror {
    runtime: Runtime,
    connection: Connection,
}

impl Mirror {
    /// Sends values of this strategy, alone, in arrays and in composites.
    fn shows<T>(&self, ty: &str, values: impl Strategy<Value = T>)
    where
        T: ToSql + for<'r> FromSql<'r> + PartialEq + Debug + Clone + Sync + Send,
    {
        let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok());
        let config = Config { cases: cases.unwrap_or(CASES), ..Config::default() };
        let values = vec(prop::option::weighted(0.8, values), 0..6);
        let mirrored = TestRunner::new(config).run(&values, |values| {
            self.runtime.block_on(self.mirror(ty, &values));
            Ok(())
        });
        mirrored.unwrap_or_else(|error| panic!("{ty}: {error}"));
    }

    async fn mirror<T>(&self, ty: &str, values: &[Option<T>])
    where
        T: ToSql + for<'r> FromSql<'r> + PartialEq + Debug + Clone + Sync + Send,
    {
        // The array, each element by itself as the server takes it apart, and the array in its text form and back.
        let sql = format!(
            "select $1::{ty}[], (select array_agg(e order by n) from unnest($1::{ty}[]) with ordinality u(e, n)), \
             $1::{ty}[]::text::{ty}[], $1::{ty}[]"
        );
        let rows = self.connection.run_query(&sql, (values,)).await.unwrap();
        let row = rows.first().unwrap();
        let direct: Vec<Option<T>> = row.get(0).unwrap();
        assert_eq!(direct, values);
        let apart: Option<Vec<Option<T>>> = row.get(1).unwrap();
        assert_eq!(apart.unwrap_or_default(), values);
        let by_text: Vec<Option<T>> = row.get(2).unwrap();
        assert_eq!(by_text, values);
        // As bytes it goes out and back once more.
        let raw: Raw = row.get(3).unwrap();
        let sql = format!("select $1::{ty}[]");
        let rows = self.connection.run_query(&sql, (&raw,)).await.unwrap();
        let again: Vec<Option<T>> = rows.first().unwrap().get(0).unwrap();
        assert_eq!(again, values);
        for value in values {
            let sql = format!("select $1::{ty}");
            let rows = self.connection.run_query(&sql, (value,)).await.unwrap();
            let back: Option<T> = rows.first().unwrap().get(0).unwrap();
            assert_eq!(&back, value);
        }
    }
}

fn numerics() -> impl Strategy<Value = Numeric> {
    let digits = ("-?[0-9]{1,40}", prop::option::of("[0-9]{1,40}"));
    let finite = digits.prop_map(|(whole, fraction)| {
        let text = fraction.map_or(whole.clone(), |fraction| format!("{whole}.{fraction}"));
        text.parse().unwrap()
    });
    prop_oneof![
        20 => finite,
        1 => Just(Numeric::nan()),
        1 => Just(Numeric::infinity()),
        1 => Just(Numeric::negative_infinity()),
    ]
}

/// From 4713 BC to 294276 AD, the ends included; in microseconds from 2000 on, as the server counts.
fn times() -> impl Strategy<Value = SystemTime> {
    const FIRST: i64 = -211_813_488_000_000_000;
    const LAST: i64 = 9_223_371_331_199_999_999;
    let micros = prop_oneof![4 => FIRST..LAST, 1 => Just(FIRST), 1 => Just(LAST)];
    micros.prop_map(|micros| {
        let y2k = SystemTime::UNIX_EPOCH + Duration::from_secs(946_684_800);
        let distance = Duration::from_micros(micros.unsigned_abs());
        if micros < 0 { y2k - distance } else { y2k + distance }
    })
}

/// As the server writes ranges of whole numbers: lower bound included, upper one not, neither beyond its type.
fn ranges() -> impl Strategy<Value = Range<i32>> {
    prop_oneof![
        1 => Just(Range::Empty),
        1 => Just(Range::all()),
        6 => (-1000..1000_i32, 1..1000_i32).prop_map(|(from, length)| (from..from + length).into()),
        1 => any::<i32>().prop_map(|from| (from..).into()),
        1 => any::<i32>().prop_map(|to| (..to).into()),
    ]
}

fn multiranges() -> impl Strategy<Value = Multirange<i32>> {
    vec((1..100_i32, 1..100_i32), 0..5).prop_map(|gaps_and_lengths| {
        let mut at = -300;
        let ranges = gaps_and_lengths.into_iter().map(|(gap, length)| {
            let from = at + gap;
            at = from + length;
            (from..at).into()
        });
        ranges.collect()
    })
}

#[test]
fn any_value_comes_back() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_database, connection) = runtime.block_on(connected());
    let mirror = Mirror { runtime, connection };
    let texts = || any::<String>().prop_map(|text| text.replace('\0', "0"));
    mirror.shows("bool", any::<bool>());
    mirror.shows("int2", any::<i16>());
    mirror.shows("int4", any::<i32>());
    mirror.shows("int8", any::<i64>());
    mirror.shows("oid", any::<u32>());
    // NaN is not equal to itself: `every_type` has it.
    mirror.shows("float4", any::<f32>().prop_filter("is equal to itself", |n| !n.is_nan()));
    mirror.shows("float8", any::<f64>().prop_filter("is equal to itself", |n| !n.is_nan()));
    mirror.shows("text", texts());
    mirror.shows("varchar", texts());
    mirror.shows("bytea", vec(any::<u8>(), 0..300));
    mirror.shows("numeric", numerics());
    mirror.shows("timestamptz", times());
    mirror.shows("timestamp", times());
    mirror.shows("int4range", ranges());
    mirror.shows("int4multirange", multiranges());
    let intervals = (-2_000_000..2_000_000_i32, any::<i32>(), -(1_i64 << 50)..1 << 50);
    mirror.shows(
        "interval",
        intervals.prop_map(|(months, days, microseconds)| Interval { months, days, microseconds }),
    );
}

/// Composites in arrays in composites, each of another making.
#[test]
fn any_nesting_comes_back_as_text_and_raw() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_database, connection) = runtime.block_on(connected());
    let script = "
        create type mood as enum ('sad', 'it''s \"fine\"', 'ö');
        create domain small as int check (value < 1000);
        create type inner_one as (n small, t text, m mood, r numrange);
        create type outer_one as (list inner_one[], one inner_one, span int4multirange, at timestamptz);
    ";
    runtime.block_on(connection.run_script(script)).unwrap();
    let inner = (
        prop::option::of(-1000..1000_i32),
        prop::option::of(any::<String>()),
        prop::option::of(0..3_usize),
    );
    let outers = vec((vec(inner.clone(), 0..4), inner), 0..4);
    let config = Config { cases: CASES, ..Config::default() };
    let quoted = |text: &str| format!("'{}'", text.replace('\0', "0").replace('\'', "''"));
    let sql_of = |(n, t, m): &(Option<i32>, Option<String>, Option<usize>)| {
        let moods = ["sad", "it's \"fine\"", "ö"];
        format!(
            "row({}, {}, {}, numrange({}, null))::inner_one",
            n.map_or("null".to_owned(), |n| n.to_string()),
            t.as_ref().map_or("null".to_owned(), |t| quoted(t)),
            m.map_or("null::mood".to_owned(), |m| format!("{}::mood", quoted(moods[m]))),
            n.map_or("null".to_owned(), |n| format!("{n}.50")),
        )
    };
    let tried = TestRunner::new(config).run(&outers, |outers| {
        let rows: Vec<String> = outers
            .iter()
            .map(|(list, one)| {
                let list: Vec<String> = list.iter().map(sql_of).collect();
                format!(
                    "row(array[{}]::inner_one[], {}, '{{[1,5),[7,)}}', '2026-11-24 00:00+00')::outer_one",
                    list.join(", "),
                    sql_of(one)
                )
            })
            .collect();
        let array = format!("array[{}]::outer_one[]", rows.join(", "));
        runtime.block_on(async {
            let sql = format!("select {array}, {array}::text");
            let rows = connection.run_query(&sql, ()).await.unwrap();
            let row = rows.first().unwrap();
            let (raw, text): (Raw, String) = (row.get(0).unwrap(), row.get(1).unwrap());
            let sql = format!("select $1::outer_one[] = {array}, $2::outer_one[] = {array}");
            let rows = connection.run_query(&sql, (&raw, Text(text))).await.unwrap();
            let row = rows.first().unwrap();
            assert!(row.get::<bool>(0).unwrap() && row.get::<bool>(1).unwrap());
        });
        Ok(())
    });
    tried.unwrap_or_else(|error| panic!("{error}"));
}
