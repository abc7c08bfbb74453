//! Values of other crates, which come with the features named after them: they go out and come back equal, and what they cannot
//! hold is an error, whoever sent it.

#![cfg(all(
    feature = "with-bit-vec-0_9",
    feature = "with-chrono-0_4",
    feature = "with-cidr-0_3",
    feature = "with-eui48-1",
    feature = "with-geo-types-0_7",
    feature = "with-jiff-0_2",
    feature = "with-serde_json-1",
    feature = "with-smol_str-01",
    feature = "with-time-0_3",
    feature = "with-uuid-1"
))]
// clippy.toml allows it in tests, but not in what tests share.
use bit_vec::BitVec;
use proptest::prelude::*;
use rust_decimal::Decimal;
use smol_str::SmolStr;
use txpostgres::types::{FromSql, Json, Type};
use txpostgres::value::{Range, verify};
use txpostgres::{Connection, ErrorKind};
use uuid::Uuid;

use crate::support::{assert_works, connected, same};

#[tokio::test]
async fn dates_and_times_of_chrono() {
    use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Utc};

    let (_database, connection) = connected().await;
    let days = [(2000, 1, 1), (-4712, 1, 1), (262_142, 12, 31)];
    let days = days.map(|(year, month, day)| NaiveDate::from_ymd_opt(year, month, day).unwrap());
    let times = [(0, 0), (86_399, 999_999_000), (43_200, 1_000)];
    let times = times.map(|(seconds, nanoseconds)| {
        NaiveTime::from_num_seconds_from_midnight_opt(seconds, nanoseconds).unwrap()
    });
    let moments: Vec<NaiveDateTime> =
        days.iter().zip(times).map(|(day, time)| day.and_time(time)).collect();
    same(&connection, "date", days.to_vec()).await;
    same(&connection, "time", times.to_vec()).await;
    same(&connection, "timestamp", moments.clone()).await;
    let moments: Vec<DateTime<Utc>> = moments.iter().map(NaiveDateTime::and_utc).collect();
    same(&connection, "timestamptz", moments.clone()).await;
    // PostgreSQL keeps the moment and no offset: it comes back as that of UTC, and is equal.
    let east = FixedOffset::east_opt(3_600).unwrap();
    let there: Vec<_> = moments.iter().take(1).map(|moment| moment.with_timezone(&east)).collect();
    same(&connection, "timestamptz", there).await;
    same(&connection, "daterange", vec![Range::from(days[1]..days[0])]).await;
}

#[tokio::test]
async fn dates_and_times_of_time() {
    use time::{Date, OffsetDateTime, PrimitiveDateTime, Time};

    let (_database, connection) = connected().await;
    let days = [
        Date::from_ordinal_date(2000, 1).unwrap(),
        Date::from_ordinal_date(-4_712, 1).unwrap(),
        Date::from_ordinal_date(9_999, 365).unwrap(),
    ];
    let times = [Time::MIDNIGHT, Time::from_hms_micro(23, 59, 59, 999_999).unwrap()];
    let moments = days.map(|day| PrimitiveDateTime::new(day, times[1]));
    same(&connection, "date", days.to_vec()).await;
    same(&connection, "time", times.to_vec()).await;
    same(&connection, "timestamp", moments.to_vec()).await;
    let moments: Vec<OffsetDateTime> = moments.iter().map(|moment| moment.assume_utc()).collect();
    same(&connection, "timestamptz", moments).await;
}

#[tokio::test]
async fn dates_and_times_of_jiff() {
    use jiff::Timestamp;
    use jiff::civil::{Date, DateTime, Time};

    let (_database, connection) = connected().await;
    let days = [Date::new(2000, 1, 1), Date::new(-4_712, 1, 1), Date::new(9_998, 12, 31)];
    let days = days.map(Result::unwrap);
    let times = [Time::midnight(), Time::new(23, 59, 59, 999_999_000).unwrap()];
    let moments: Vec<DateTime> = days.iter().map(|day| day.to_datetime(times[1])).collect();
    same(&connection, "date", days.to_vec()).await;
    same(&connection, "time", times.to_vec()).await;
    same(&connection, "timestamp", moments).await;
    let moments = [0, -1, 253_402_207_200_000_000].map(Timestamp::from_microsecond);
    same(&connection, "timestamptz", moments.map(Result::unwrap).to_vec()).await;
}

#[tokio::test]
async fn numbers_and_identifiers() {
    let (_database, connection) = connected().await;
    let numbers = ["0", "-1.50", "79228162514264337593543950335", "0.0000000000000000000000000001"];
    let numbers = numbers.map(|text| text.parse::<Decimal>().unwrap());
    same(&connection, "numeric", numbers.to_vec()).await;
    same(&connection, "numrange", vec![Range::from(numbers[1]..numbers[0])]).await;
    same(&connection, "uuid", vec![Uuid::nil(), Uuid::max(), Uuid::from_u128(1 << 64)]).await;
    let bits = [BitVec::new(), BitVec::from_elem(1, true), BitVec::from_elem(1_001, false)];
    same(&connection, "varbit", bits.to_vec()).await;
    same(&connection, "bit(9)", vec![BitVec::from_elem(9, true)]).await;
    let texts = ["", "ö", "a text that does not fit into the place of a pointer"];
    same(&connection, "text", texts.map(SmolStr::new).to_vec()).await;
    same(&connection, "varchar", texts.map(SmolStr::new).to_vec()).await;
}

#[tokio::test]
async fn addresses() {
    use cidr::{IpCidr, IpInet};
    use eui48::MacAddress;

    let (_database, connection) = connected().await;
    let hosts = ["10.1.2.3/8", "::1", "2001:db8::7/32", "0.0.0.0/0"];
    let hosts = hosts.map(|text| text.parse::<IpInet>().unwrap());
    same(&connection, "inet", hosts.to_vec()).await;
    let networks = hosts.map(|host| host.network());
    same::<IpCidr>(&connection, "cidr", networks.to_vec()).await;
    let cards = [MacAddress::nil(), MacAddress::broadcast(), MacAddress::new([8, 0, 43, 1, 2, 3])];
    same(&connection, "macaddr", cards.to_vec()).await;
}

#[tokio::test]
async fn documents_and_shapes() {
    use geo_types::{LineString, Point, Rect, coord};
    use serde_json::{Value, json};

    let (_database, connection) = connected().await;
    let connection = &connection;
    let documents = [Value::Null, json!({"a": [1, 2.5, "ö", null], "b": {}}), json!("\u{1f600}")];
    // A `json` has no equality.
    same(connection, "jsonb", documents.to_vec()).await;
    same(connection, "jsonb", vec![Json(vec![1, 2]), Json(vec![])]).await;
    back(connection, "json", documents[1].clone()).await;

    // Nor have points and paths; that of boxes compares areas.
    back(connection, "point", Point::new(f64::MAX, -0.5)).await;
    let corners = (coord! { x: -1.0, y: -2.0 }, coord! { x: 1.5, y: 2.5 });
    back(connection, "box", Rect::new(corners.0, corners.1)).await;
    back(connection, "path", LineString(vec![corners.0, corners.1, corners.0])).await;
}

/// Sends a value and takes it back.
async fn back<T>(connection: &Connection, ty: &str, value: T)
where
    T: txpostgres::types::ToSql + Sync + Send + PartialEq + for<'a> FromSql<'a>,
{
    let sql = format!("select $1::{ty}, null::{ty}");
    let rows = connection.run_query(&sql, (&value,)).await.unwrap();
    let row = rows.first().unwrap();
    assert_eq!(row.get::<T>(0).unwrap(), value);
    assert_eq!(row.get::<Option<T>>(1).unwrap(), None);
}

/// Reads this expression as a type that cannot hold it.
async fn refused<T: for<'a> FromSql<'a>>(connection: &Connection, value: &str) {
    let rows = connection.run_query(&format!("select {value} as v"), ()).await.unwrap();
    let Err(error) = rows.first().unwrap().get::<T>("v") else {
        panic!("{value} was read");
    };
    assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
    let text = format!("{error:#}");
    assert!(text.contains("column 0") && text.contains('v'), "{text}");
    assert_works(connection).await;
}

/// What the server has and the crate has not is an error that names the column, and the connection goes on.
#[tokio::test]
async fn what_a_crate_cannot_hold() {
    let (_database, connection) = connected().await;
    let connection = &connection;
    for end in ["infinity", "-infinity", "294276-12-31 23:59:59.999999"] {
        let (moment, zoned) = (format!("timestamp '{end}'"), format!("timestamptz '{end}'"));
        refused::<time::PrimitiveDateTime>(connection, &moment).await;
        refused::<time::OffsetDateTime>(connection, &zoned).await;
        refused::<jiff::civil::DateTime>(connection, &moment).await;
        refused::<jiff::Timestamp>(connection, &zoned).await;
        refused::<chrono::NaiveDateTime>(connection, &moment).await;
        refused::<chrono::DateTime<chrono::Utc>>(connection, &zoned).await;
    }
    for end in ["infinity", "-infinity", "5874897-12-31"] {
        let day = format!("date '{end}'");
        refused::<chrono::NaiveDate>(connection, &day).await;
        refused::<time::Date>(connection, &day).await;
        refused::<jiff::civil::Date>(connection, &day).await;
    }
    for number in ["NaN", "Infinity", "1e40"] {
        refused::<Decimal>(connection, &format!("numeric '{number}'")).await;
    }
}

/// Reads with every decoder that accepts the type, once [`verify`] has let the value pass, as a row does: none may panic.
/// `Decimal` of rust_decimal 1.43 is left out, since it does, on `1e32` for one; the guide says so.
fn read(ty: &Type, bytes: &[u8]) {
    fn one<'a, T: FromSql<'a>>(ty: &Type, bytes: &'a [u8]) {
        if T::accepts(ty) {
            drop(T::from_sql(ty, bytes));
        }
    }
    if verify(ty, bytes).is_err() {
        return;
    }
    one::<chrono::NaiveDate>(ty, bytes);
    one::<chrono::NaiveTime>(ty, bytes);
    one::<chrono::NaiveDateTime>(ty, bytes);
    one::<chrono::DateTime<chrono::Utc>>(ty, bytes);
    one::<chrono::DateTime<chrono::Local>>(ty, bytes);
    one::<chrono::DateTime<chrono::FixedOffset>>(ty, bytes);
    one::<time::Date>(ty, bytes);
    one::<time::Time>(ty, bytes);
    one::<time::PrimitiveDateTime>(ty, bytes);
    one::<time::OffsetDateTime>(ty, bytes);
    one::<jiff::civil::Date>(ty, bytes);
    one::<jiff::civil::Time>(ty, bytes);
    one::<jiff::civil::DateTime>(ty, bytes);
    one::<jiff::Timestamp>(ty, bytes);
    one::<Uuid>(ty, bytes);
    one::<BitVec>(ty, bytes);
    one::<SmolStr>(ty, bytes);
    one::<cidr::IpInet>(ty, bytes);
    one::<cidr::IpCidr>(ty, bytes);
    one::<eui48::MacAddress>(ty, bytes);
    one::<serde_json::Value>(ty, bytes);
    one::<Json<Vec<Option<i32>>>>(ty, bytes);
    one::<geo_types::Point<f64>>(ty, bytes);
    one::<geo_types::Rect<f64>>(ty, bytes);
    one::<geo_types::LineString<f64>>(ty, bytes);
}

/// A type, and a value that has its size and form, but may mean anything.
fn any_value() -> impl Strategy<Value = (Type, Vec<u8>)> {
    let words = |count: usize| {
        let word = prop_oneof![
            2 => any::<i32>(),
            1 => -2..3_i32,
            // The ends of numbers; the infinity and the NaN of a float8.
            1 => proptest::sample::select(vec![i32::MIN, i32::MAX, 0x7ff0_0000, 0x7ff8_0000]),
        ];
        proptest::collection::vec(word, count)
            .prop_map(|words| words.into_iter().flat_map(i32::to_be_bytes).collect::<Vec<u8>>())
    };
    let sized = |types: &'static [Type], count| (proptest::sample::select(types), words(count));
    // The number of bits, and the bytes for them.
    let bits = (0..100_u16).prop_flat_map(|bits| {
        let bytes = proptest::collection::vec(any::<u8>(), usize::from(bits).div_ceil(8));
        let value =
            bytes.prop_map(move |bytes| [&i32::from(bits).to_be_bytes()[..], &bytes].concat());
        (proptest::sample::select(vec![Type::BIT, Type::VARBIT]), value)
    });
    // Family, bits of the mask, whether it is a cidr, the length of the address, the address.
    let address = (1..4_u8, 0..140_u8, 0..3_u8, proptest::sample::select(vec![4_u8, 16, 5]))
        .prop_flat_map(|(family, mask, is_cidr, length)| {
            let bytes = proptest::collection::vec(0..2_u8, usize::from(length));
            let value = bytes
                .prop_map(move |bytes| [&[family, mask, is_cidr, length][..], &bytes].concat());
            (proptest::sample::select(vec![Type::INET, Type::CIDR]), value)
        });
    let path = (any::<bool>(), 0..4_u8).prop_flat_map(move |(closed, points)| {
        words(usize::from(points) * 4).prop_map(move |bytes| {
            let head = [u8::from(closed), 0, 0, 0, points];
            (Type::PATH, [&head[..], &bytes].concat())
        })
    });
    let text = (
        proptest::sample::select(vec![Type::TEXT, Type::JSON]),
        "[0-9eE.+\"\\[\\]{}, truefalsn\\\\-]{0,12}".prop_map(String::into_bytes),
    );
    let document = "[0-9eE.\"\\[\\]{}:,-]{0,12}"
        .prop_map(|text| (Type::JSONB, [b"\x01", text.as_bytes()].concat()));
    prop_oneof![
        1 => sized(&[Type::DATE], 1),
        3 => sized(&[Type::TIME, Type::TIMESTAMP, Type::TIMESTAMPTZ], 2),
        1 => sized(&[Type::UUID, Type::POINT], 4),
        1 => sized(&[Type::BOX], 8),
        1 => proptest::collection::vec(any::<u8>(), 5..8).prop_map(|bytes| (Type::MACADDR, bytes)),
        1 => bits,
        2 => address,
        1 => path,
        1 => text,
        1 => document,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decoders_survive_what_passes((ty, bytes) in any_value()) {
        read(&ty, &bytes);
    }
}
