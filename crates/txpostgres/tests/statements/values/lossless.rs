//! Nothing changes in silence: what a decoder reads of a generated set of extremes is what the server has, or an error.

#![cfg(all(
    feature = "with-bit-vec-0_9",
    feature = "with-chrono-0_4",
    feature = "with-cidr-0_3",
    feature = "with-eui48-1",
    feature = "with-geo-types-0_7",
    feature = "with-jiff-0_2",
    feature = "with-serde_json-1",
    feature = "with-time-0_3",
    feature = "with-uuid-1"
))]

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rust_decimal::Decimal;
use txpostgres::types::{Date, FromSqlOwned, Json, Timestamp, ToSql};
use txpostgres::value::{Interval, Numeric, Range, Text};
use txpostgres::{Connection, ErrorKind};

use crate::support::{assert_works, bounded, connected};

/// Random numbers that are the same each time (Knuth's MMIX).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 20) % end
    }

    fn digits(&mut self, count: u64) -> String {
        (0..count).map(|_| char::from(b'0' + u8::try_from(self.below(10)).unwrap())).collect()
    }
}

/// Reads these values as a `T` and sends what was read back. Gives those that were refused.
///
/// `same` compares them in the server, the one that was read as `a` and the one that it has as `b`.
async fn keeps<T>(connection: &Connection, ty: &str, texts: &[String], same: &str) -> Vec<String>
where
    T: ToSql + FromSqlOwned + Sync + Send,
{
    let sql = format!(
        "select v, array[v, null] from unnest($1::text[]) with ordinality u(t, n), \
                       lateral (select t::{ty} as v) x order by n"
    );
    let rows = bounded(connection.run_query(&sql, (texts,))).await.unwrap();
    let (mut bytes, mut unsent) = (bytes::BytesMut::new(), 0);
    let (mut read, mut of, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for (row, text) in rows.iter().zip(texts) {
        let within = row.get::<Vec<Option<T>>>(1).map(|_| ());
        match row.get::<T>(0) {
            // What cannot be sent back is no silent change either.
            Ok(value) if value.to_sql_checked(rows.columns()[0].type_(), &mut bytes).is_err() => {
                unsent += 1;
            }
            Ok(value) => {
                read.push(value);
                of.push(text);
                within.unwrap_or_else(|error| panic!("{ty} {text}: {error}"));
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
                assert!(within.is_err(), "{ty} {text} was read within an array");
                refused.push(text.clone());
            }
        }
    }
    // A reader that was made for the result refuses the same, and a range of it.
    let shaped = rows.iter_as::<(T, Vec<Option<T>>)>().unwrap().flatten().count();
    assert_eq!(shaped, read.len() + unsent, "{ty}");
    let sql = format!(
        "select t from unnest($1::{ty}[], $2::text[]) u(a, t), lateral (select t::{ty} as b) x where not ({same})"
    );
    let changed = bounded(connection.run_query(&sql, (&read, &of))).await.unwrap();
    let changed: Vec<(String,)> = changed.decode().unwrap();
    assert_eq!(changed, [], "{ty} as {} is another value", std::any::type_name::<T>());
    assert!(!read.is_empty() || texts.len() == refused.len());
    refused
}

const TEXT: &str = "a::text = b::text";

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn all_of(refused: &[String], expected: &[&str]) {
    for text in expected {
        assert!(refused.iter().any(|refused| refused == text), "{text} was read");
    }
}

#[tokio::test]
async fn times_of_day() {
    let (_database, connection) = connected().await;
    let mut dice = Dice(1);
    let mut times = owned(&["00:00", "23:59:59.999999", "24:00:00", "12:00:00.000001"]);
    times.extend((0..200).map(|_| {
        let second = dice.below(86_400);
        format!("{}:{}:{}.{}", second / 3_600, second / 60 % 60, second % 60, dice.digits(6))
    }));
    assert_eq!(keeps::<chrono::NaiveTime>(&connection, "time", &times, TEXT).await, ["24:00:00"]);
    assert_eq!(keeps::<time::Time>(&connection, "time", &times, TEXT).await, ["24:00:00"]);
    assert_eq!(keeps::<jiff::civil::Time>(&connection, "time", &times, TEXT).await, ["24:00:00"]);
    bounded(connection.run_script("create type times as range (subtype = time)")).await.unwrap();
    let rows = bounded(connection.run_query("select '[1:00,24:00]'::times", ())).await.unwrap();
    let row = rows.first().unwrap();
    let error = row.get::<Range<chrono::NaiveTime>>(0).unwrap_err();
    assert!(error.to_string().contains("24:00:00 would become 00:00:00"), "{error}");
    let rows = bounded(connection.run_query("select '24:00'::time", ()).in_text()).await.unwrap();
    assert_eq!(rows.first().unwrap().get::<Text>(0).unwrap().0, "24:00:00");
}

#[tokio::test]
async fn days_and_moments() {
    let (_database, connection) = connected().await;
    let connection = &connection;
    bounded(connection.run_script("set time zone 'UTC'")).await.unwrap();
    let mut dice = Dice(2);
    let infinite = ["infinity", "-infinity"];
    let mut days =
        owned(&["4713-01-01 BC", "5874897-12-31", "0001-12-31 BC", "9999-12-31", "10000-01-01"]);
    days.extend(owned(&infinite));
    days.extend((0..300).map(|_| {
        format!(
            "{:05}-{:02}-{:02}",
            dice.below(300_000) + 1,
            dice.below(12) + 1,
            dice.below(28) + 1
        )
    }));
    days.extend((0..100).map(|_| {
        format!(
            "{:04}-{:02}-{:02} BC",
            dice.below(4_700) + 1,
            dice.below(12) + 1,
            dice.below(28) + 1
        )
    }));
    all_of(&keeps::<chrono::NaiveDate>(connection, "date", &days, TEXT).await, &infinite);
    all_of(&keeps::<time::Date>(connection, "date", &days, TEXT).await, &infinite);
    all_of(&keeps::<jiff::civil::Date>(connection, "date", &days, TEXT).await, &infinite);
    let kept = keeps::<Date<chrono::NaiveDate>>(connection, "date", &days, TEXT).await;
    assert!(!kept.iter().any(|text| text.contains("infinity")));

    let mut moments = owned(&[
        "4714-11-24 00:00:00 BC",
        "294276-12-31 23:59:59.999999",
        "9999-12-31 23:59:59.999999",
    ]);
    moments.extend(owned(&infinite));
    moments.extend(
        days.iter()
            .filter(|day| {
                !day.contains("infinity") && !day.starts_with("58") && !day.starts_with("29")
            })
            .map(|day| {
                let (day, era) = day.split_once(' ').unwrap_or((day, ""));
                format!(
                    "{day} {:02}:{:02}:{:02}.{} {era}",
                    dice.below(24),
                    dice.below(60),
                    dice.below(60),
                    dice.digits(6)
                )
            }),
    );
    all_of(
        &keeps::<chrono::NaiveDateTime>(connection, "timestamp", &moments, TEXT).await,
        &infinite,
    );
    all_of(
        &keeps::<time::PrimitiveDateTime>(connection, "timestamp", &moments, TEXT).await,
        &infinite,
    );
    all_of(
        &keeps::<jiff::civil::DateTime>(connection, "timestamp", &moments, TEXT).await,
        &infinite,
    );
    assert_eq!(keeps::<SystemTime>(connection, "timestamp", &moments, TEXT).await, infinite);
    assert_eq!(keeps::<SystemTime>(connection, "timestamptz", &moments, TEXT).await, infinite);
    let none: [&str; 0] = [];
    assert_eq!(
        keeps::<Timestamp<SystemTime>>(connection, "timestamptz", &moments, TEXT).await,
        none
    );
    all_of(
        &keeps::<chrono::DateTime<chrono::Utc>>(connection, "timestamptz", &moments, TEXT).await,
        &infinite,
    );
    all_of(
        &keeps::<chrono::DateTime<chrono::FixedOffset>>(connection, "timestamptz", &moments, TEXT)
            .await,
        &infinite,
    );
    all_of(
        &keeps::<time::OffsetDateTime>(connection, "timestamptz", &moments, TEXT).await,
        &infinite,
    );
    all_of(&keeps::<jiff::Timestamp>(connection, "timestamptz", &moments, TEXT).await, &infinite);
}

#[tokio::test]
async fn addresses() {
    let (_database, connection) = connected().await;
    let mut dice = Dice(3);
    let mut hosts = owned(&["10.1.2.3/8", "10.1.2.3/32", "::1/128", "::1/32", "0.0.0.0/0"]);
    for mask in 0..=128 {
        let group = |dice: &mut Dice| format!("{:x}", dice.below(0x1_0000));
        let groups: Vec<String> = (0..8).map(|_| group(&mut dice)).collect();
        hosts.push(format!("{}/{mask}", groups.join(":")));
        if mask <= 32 {
            let bytes: Vec<String> = (0..4).map(|_| dice.below(256).to_string()).collect();
            hosts.push(format!("{}/{mask}", bytes.join(".")));
        }
    }
    let refused = keeps::<IpAddr>(&connection, "inet", &hosts, TEXT).await;
    all_of(&refused, &["10.1.2.3/8", "::1/32", "0.0.0.0/0"]);
    assert_eq!(refused.len(), hosts.len() - 4);
    let none: [&str; 0] = [];
    assert_eq!(keeps::<cidr::IpInet>(&connection, "inet", &hosts, TEXT).await, none);
    let networks: Vec<(String,)> = connection
        .run_query_as("select network(t::inet)::text from unnest($1::text[]) t", (&hosts,))
        .await
        .unwrap();
    let networks: Vec<String> = networks.into_iter().map(|(text,)| text).collect();
    assert_eq!(keeps::<cidr::IpCidr>(&connection, "cidr", &networks, TEXT).await, none);
    let cards: Vec<String> = (0..100)
        .map(|_| {
            format!(
                "08:{:02x}:{:02x}:ff:00:{:02x}",
                dice.below(256),
                dice.below(256),
                dice.below(256)
            )
        })
        .collect();
    assert_eq!(keeps::<eui48::MacAddress>(&connection, "macaddr", &cards, TEXT).await, none);
}

#[tokio::test]
async fn numbers() {
    let (_database, connection) = connected().await;
    let mut dice = Dice(4);
    let mut numbers = owned(&[
        "0",
        "0.00",
        "9999e36",
        "1e32",
        "1e28",
        "1e29",
        "-1e28",
        "79228162514264337593543950335",
        "79228162514264337593543950336",
        "7.9228162514264337593543950335",
        "7.9228162514264337593543950336",
        "0.0000000000000000000000000001",
        "0.00000000000000000000000000001",
        "1.5000000000000000000000000000000000",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e-16000",
        "1e130000",
        "5e27",
    ]);
    for _ in 0..3_000 {
        let (whole, fraction) = (dice.below(34), dice.below(34));
        let zeros = "0".repeat(usize::try_from(dice.below(12)).unwrap());
        let sign = if dice.below(2) == 0 { "-" } else { "" };
        numbers.push(match dice.below(3) {
            0 => format!("{sign}{}{zeros}", dice.digits(whole + 1)),
            1 => format!("{sign}0.{zeros}{}", dice.digits(fraction + 1)),
            _ => format!("{sign}{}.{}", dice.digits(whole + 1), dice.digits(fraction + 1)),
        });
    }
    let refused = keeps::<Decimal>(&connection, "numeric", &numbers, "a = b").await;
    all_of(
        &refused,
        &["9999e36", "1e32", "1e29", "NaN", "79228162514264337593543950336", "1e-16000"],
    );
    // What fits is read: nothing is refused that has no more than 28 digits.
    let few = |text: &&String| text.chars().filter(char::is_ascii_digit).count() <= 28;
    let refused: Vec<&String> =
        refused.iter().filter(|text| !text.contains('e')).filter(few).collect();
    assert!(refused.iter().all(|text| text.contains('N') || text.contains("Inf")), "{refused:?}");
    let none: [&str; 0] = [];
    assert_eq!(keeps::<Numeric>(&connection, "numeric", &numbers, TEXT).await, none);
    let doubles =
        owned(&["0", "-0", "NaN", "Infinity", "-Infinity", "5e-324", "1.7976931348623157e308"]);
    assert_eq!(keeps::<f64>(&connection, "float8", &doubles, TEXT).await, none);
    assert_eq!(
        keeps::<f32>(&connection, "float4", &owned(&["-0", "NaN", "1e-45", "3.4028235e38"]), TEXT)
            .await,
        none
    );
}

#[tokio::test]
async fn shapes_documents_and_the_rest() {
    let (_database, connection) = connected().await;
    let connection = &connection;
    let mut dice = Dice(5);
    let none: [&str; 0] = [];
    let extremes = ["0", "-0", "1.5", "NaN", "Infinity", "-Infinity", "1e308", "5e-324"];
    let mut point = || {
        let mut one = || extremes[usize::try_from(dice.below(8)).unwrap()];
        format!("({},{})", one(), one())
    };
    let points: Vec<String> = (0..100).map(|_| point()).collect();
    let boxes: Vec<String> = (0..100).map(|_| format!("{},{}", point(), point())).collect();
    let paths: Vec<String> = (0..100)
        .map(|n| {
            let points = format!("{},{},{}", point(), point(), point());
            if n % 2 == 0 { format!("[{points}]") } else { format!("({points})") }
        })
        .collect();
    assert_eq!(keeps::<geo_types::Point<f64>>(connection, "point", &points, TEXT).await, none);
    let refused = keeps::<geo_types::Rect<f64>>(connection, "box", &boxes, TEXT).await;
    assert!(refused.iter().all(|text| text.contains("NaN")), "{refused:?}");
    let refused = keeps::<geo_types::LineString<f64>>(connection, "path", &paths, TEXT).await;
    assert!(refused.len() == 50 && refused.iter().all(|path| path.starts_with('(')));

    let mut dice = Dice(6);
    let ids: Vec<String> = (0..100)
        .map(|_| {
            format!(
                "{:08x}-0000-ffff-{:04x}-{:012x}",
                dice.below(1 << 32),
                dice.below(1 << 16),
                dice.below(1 << 40)
            )
        })
        .collect();
    assert_eq!(keeps::<uuid::Uuid>(connection, "uuid", &ids, TEXT).await, none);
    let bits: Vec<String> = (0..100)
        .map(|n| (0..n).map(|_| if dice.below(2) == 0 { '0' } else { '1' }).collect())
        .collect();
    assert_eq!(keeps::<bit_vec::BitVec>(connection, "varbit", &bits, TEXT).await, none);
    let documents = owned(&[
        "null",
        "[]",
        "{}",
        "18446744073709551615",
        "-9223372036854775808",
        "1.5",
        "1e300",
        r#"{"a": ["ö\n", true, {"": null}]}"#,
        r#""\ud83d\ude00""#,
    ]);
    assert_eq!(keeps::<serde_json::Value>(connection, "jsonb", &documents, TEXT).await, none);
    assert_eq!(
        keeps::<serde_json::Value>(connection, "jsonb", &owned(&["1e400"]), TEXT).await,
        ["1e400"]
    );
    assert_eq!(
        keeps::<Json<Vec<u8>>>(connection, "jsonb", &owned(&["[255]", "[256]"]), TEXT).await,
        ["[256]"]
    );
    let spans = owned(&[
        "-178000000 years",
        "178000000 years",
        "2147483647 days",
        "1 mon -2 days 03:04:05.000006",
    ]);
    assert_eq!(keeps::<Interval>(connection, "interval", &spans, TEXT).await, none);
    assert_works(connection).await;
}

/// A time that the server has no room for is refused, wherever it stands, instead of becoming another one.
#[tokio::test]
async fn times_that_are_too_far_are_not_sent() {
    let (_database, connection) = connected().await;
    let domains = "create domain moment as timestamptz; create domain later_moment as moment;
        create domain span as tstzrange";
    bounded(connection.run_script(domains)).await.unwrap();
    let years = |years: u64| Duration::from_secs(years * 31_556_952);
    for far in [
        UNIX_EPOCH + years(300_000),
        UNIX_EPOCH + years(700_000),
        UNIX_EPOCH - years(7_000),
        UNIX_EPOCH + Duration::from_secs(1 << 62),
    ] {
        let refused = async |ty: &str, value: &(dyn ToSql + Sync)| {
            let error = bounded(connection.run_query(&format!("select $1::{ty}"), &[value]))
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Parameter, "{ty}: {error}");
            assert!(error.to_string().contains("beyond what"), "{error}");
        };
        refused("timestamptz", &far).await;
        refused("timestamp", &Some(far)).await;
        refused("timestamptz[]", &vec![UNIX_EPOCH, far]).await;
        refused("tstzrange", &Range::from(far..)).await;
        for ty in ["moment", "later_moment"] {
            refused(ty, &far).await;
            refused(&format!("{ty}[]"), &vec![UNIX_EPOCH, far]).await;
        }
        refused("span", &Range::from(far..)).await;
        let error =
            bounded(connection.run_query("select $1::timestamptz", (far,))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Parameter);
        bounded(connection.run_script("create temp table if not exists moments (at timestamptz)"))
            .await
            .unwrap();
        let mut copy = bounded(connection.copy_in_rows("moments", &["at"])).await.unwrap();
        assert_eq!(bounded(copy.send((far,))).await.unwrap_err().kind(), ErrorKind::Parameter);
        bounded(copy.send((UNIX_EPOCH,))).await.unwrap();
        assert_eq!(bounded(copy.finish()).await.unwrap(), 1);
    }
    // Its encoder panics on a moment that is in the year 10,000 by UTC.
    let last =
        time::PrimitiveDateTime::MAX.assume_offset(time::UtcOffset::from_hms(-1, 0, 0).unwrap());
    let error = bounded(connection.run_query("select $1::timestamptz", (last,))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Parameter, "{error}");
    assert_works(&connection).await;
}

/// A decoder that panics: its value is an error, and the connection and the interaction go on.
#[tokio::test]
async fn a_decoder_that_panics_is_an_error() {
    #[derive(Debug)]
    struct Panics;

    impl<'a> txpostgres::types::FromSql<'a> for Panics {
        fn from_sql(
            _: &txpostgres::types::Type,
            _: &'a [u8],
        ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
            panic!("of a number")
        }

        fn accepts(ty: &txpostgres::types::Type) -> bool {
            *ty == txpostgres::types::Type::NUMERIC
        }
    }

    let (_database, connection) = connected().await;
    let read = connection.run_interaction(async |cursor| {
        let rows = cursor.run_query("select 1::numeric, array[1::numeric]", ()).await?;
        let row = rows.first().unwrap();
        for error in [
            row.get::<Panics>(0).unwrap_err(),
            row.get::<Vec<Panics>>(1).unwrap_err(),
            row.decode::<(Panics, Vec<Panics>)>().unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Decode);
            assert!(error.to_string().contains("its decoder panicked: of a number"), "{error}");
        }
        let streamed = cursor.run_query_as::<(Panics,), _>("select 1::numeric", ()).await;
        assert_eq!(streamed.unwrap_err().kind(), ErrorKind::Decode);
        cursor.run_query_as::<(i32,), _>("select 1", ()).await
    });
    assert_eq!(bounded(read).await.unwrap(), [(1,)]);
    assert_works(&connection).await;
}
