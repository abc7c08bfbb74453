//! Every base type that the server has goes out and comes back equal: as the Rust type that there is for it, as text and raw.

// clippy.toml allows it in tests, but not in what tests share.
use std::time::{Duration, SystemTime};

use txpostgres::value::{Interval, Multirange, Numeric, Range, Raw, Text};
use txpostgres::{Connection, Format};

use crate::support::{connected, same};

/// Values of each type in PostgreSQL's text form: ordinary ones, the empty one, the extremes.
const SAMPLES: &[(&str, &[&str])] = &[
    ("bool", &["t", "f"]),
    ("int2", &["0", "-32768", "32767"]),
    ("int4", &["0", "-2147483648", "2147483647"]),
    ("int8", &["0", "-9223372036854775808", "9223372036854775807"]),
    ("float4", &["0", "-0", "1.5", "NaN", "Infinity", "-Infinity", "3.4028235e+38", "1e-45"]),
    (
        "float8",
        &["0", "-0", "0.1", "NaN", "Infinity", "-Infinity", "1.7976931348623157e+308", "5e-324"],
    ),
    (
        "numeric",
        &[
            "0",
            "0.00",
            "-1.50",
            "NaN",
            "Infinity",
            "-Infinity",
            "99999999999999999999999999.000000001",
            "0.0000000000000000000000000000000000001",
            "10000",
            "1e1000",
            "1e-1000",
            "123456789.00010000",
        ],
    ),
    ("money", &["$0.00", "-$92,233,720,368,547,758.08", "$92,233,720,368,547,758.07"]),
    ("text", &["", "ö", "a\"b'c\\d,{}()", "null", "NULL"]),
    ("varchar", &["", "x y"]),
    ("bpchar", &["", "x "]),
    ("name", &["", "pg_class"]),
    ("char", &["", "x"]),
    ("bytea", &["\\x", "\\x00ff10"]),
    ("uuid", &["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"]),
    ("json", &["null", "{\"a\": [1, 2.50, \"ö\"]}"]),
    ("jsonb", &["null", "{\"a\": [1, 2.50, \"ö\"]}"]),
    ("jsonpath", &["$.\"a\"[*]?(@ > 1)"]),
    ("xml", &["<a>b</a>"]),
    ("date", &["2026-11-24", "4713-01-01 BC", "5874897-12-31", "infinity", "-infinity"]),
    ("time", &["00:00:00", "23:59:59.999999", "24:00:00"]),
    ("timetz", &["00:00:00+15:59:59", "24:00:00-15:59:59"]),
    (
        "timestamp",
        &[
            "2000-01-01 00:00:00",
            "4713-01-01 00:00:00 BC",
            "294276-12-31 23:59:59.999999",
            "infinity",
            "-infinity",
        ],
    ),
    (
        "timestamptz",
        &[
            "2000-01-01 00:00:00+00",
            "0044-03-15 12:00:00+00 BC",
            "294276-12-31 23:59:59.999999+00",
            "infinity",
            "-infinity",
        ],
    ),
    (
        "interval",
        &["00:00:00", "-178000000 years", "1 mon -2 days 03:04:05.000006", "2147483647 days"],
    ),
    ("bit", &["", "0", "101010101"]),
    ("varbit", &["", "0", "101010101"]),
    ("inet", &["0.0.0.0", "255.255.255.255/0", "::", "2001:db8::1/64"]),
    ("cidr", &["0.0.0.0/0", "2001:db8::/32"]),
    ("macaddr", &["08:00:2b:01:02:03"]),
    ("macaddr8", &["08:00:2b:01:02:03:04:05"]),
    ("point", &["(0,0)", "(1.5,-Infinity)"]),
    ("line", &["{1,-1,0}"]),
    ("lseg", &["[(0,0),(1,1)]"]),
    ("box", &["(1,1),(0,0)"]),
    ("path", &["[(0,0),(1,1)]", "((0,0),(1,1),(2,0))"]),
    ("polygon", &["((0,0),(1,1),(2,0))"]),
    ("circle", &["<(0,0),1>"]),
    ("tsvector", &["", "'a':1A,2 'b'"]),
    // The server does not read what it sends for an empty one: "malformed tsquery".
    ("tsquery", &["'a' & !'b' <2> 'c':*AB"]),
    ("oid", &["0", "4294967295"]),
    ("xid", &["0", "4294967295"]),
    ("xid8", &["0", "18446744073709551615"]),
    ("cid", &["0", "4294967295"]),
    ("tid", &["(0,0)", "(4294967295,65535)"]),
    ("pg_lsn", &["0/0", "FFFFFFFF/FFFFFFFF"]),
    ("txid_snapshot", &["10:20:10,14,15", "1:1:"]),
    ("pg_snapshot", &["10:20:10,14,15", "1:1:"]),
    // Empty ones it does not read either: "invalid int2vector data".
    ("int2vector", &["1 2 3"]),
    ("oidvector", &["1 2 3"]),
    ("refcursor", &["", "c"]),
    ("aclitem", &["=r/postgres"]),
    ("regproc", &["-", "now"]),
    ("regprocedure", &["-", "now()"]),
    ("regoper", &["0"]),
    ("regoperator", &["0", "+(integer,integer)"]),
    ("regclass", &["-", "pg_type"]),
    ("regtype", &["-", "integer"]),
    ("regrole", &["-", "postgres"]),
    ("regnamespace", &["-", "pg_catalog"]),
    ("regcollation", &["-", "\"C\""]),
    ("regconfig", &["-", "simple"]),
    ("regdictionary", &["-", "simple"]),
    ("regdatabase", &["-", "postgres"]),
];

/// Types that no value of can be written: the server makes them, and reads none.
const MADE_BY_THE_SERVER: &[&str] = &[
    "pg_node_tree",
    "pg_ndistinct",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
    "gtsvector",
];

fn samples(name: &str) -> &'static [&'static str] {
    SAMPLES.iter().find(|(known, _)| *known == name).map_or(&[], |(_, samples)| *samples)
}

async fn names(connection: &Connection, sql: &str) -> Vec<String> {
    let names = connection.run_query_as::<(String,), _>(sql, ()).await.unwrap();
    names.into_iter().map(|(name,)| name).collect()
}

/// Sends a text as this type, takes it back in text and raw, and sends what came back once more. Says how it prints.
async fn there_and_back(connection: &Connection, ty: &str, text: Option<&str>) -> Option<String> {
    let sql = format!("select $1::{ty}");
    let what = || format!("{ty} of {text:?}");
    let sent = connection.run_query(&sql, (text.map(Text),)).in_text().await;
    let rows = sent.unwrap_or_else(|error| panic!("{}: {error}", what()));
    let printed: Option<String> = rows.first().unwrap().get(0).unwrap();

    let rows = connection.run_query(&sql, (printed.as_deref().map(Text),)).await.unwrap();
    let column = &rows.columns()[0];
    assert!(!column.type_().schema().is_empty(), "{} is not known", what());
    let row = rows.first().unwrap();
    let again = match column.format() {
        Format::Text => {
            let text: Option<Text> = row.get(0).unwrap();
            connection.run_query(&sql, (text,)).in_text().await
        }
        Format::Binary => {
            let raw: Option<Raw<&[u8]>> =
                row.get(0).unwrap_or_else(|error| panic!("{}: {error}", what()));
            // The server has domains and their base types of one type in a column.
            connection.run_query(&sql, (raw,)).in_text().await
        }
    };
    let rows = again.unwrap_or_else(|error| panic!("{} again: {error}", what()));
    assert_eq!(rows.first().unwrap().get::<Option<String>>(0).unwrap(), printed, "{}", what());
    printed
}

#[tokio::test]
async fn base_types_and_their_arrays() {
    let (_database, connection) = connected().await;
    let set = "set lc_monetary = 'C'; set time zone 'UTC'; set extra_float_digits = 1";
    connection.run_script(set).await.unwrap();
    let all = names(
        &connection,
        "select t.typname from pg_type t where t.typtype = 'b' and t.typcategory <> 'A'
         or t.typname in ('int2vector', 'oidvector') and t.typtype = 'b' order by 1",
    )
    .await;
    assert!(all.len() > 55, "{all:?}");
    for ty in all.iter().filter(|ty| !MADE_BY_THE_SERVER.contains(&ty.as_str())) {
        let samples = samples(ty);
        assert!(!samples.is_empty(), "the server has a type {ty} that is not tried");
        let quoted_name = format!("pg_catalog.\"{ty}\"");
        let mut elements = Vec::new();
        for sample in samples {
            elements.push(there_and_back(&connection, &quoted_name, Some(sample)).await);
        }
        assert_eq!(there_and_back(&connection, &quoted_name, None).await, None);

        // The array of them, with a NULL; in two dimensions; empty.
        let array = format!("{quoted_name}[]");
        let delimiter = if ty == "box" { ";" } else { "," };
        let members: Vec<String> = elements.iter().flatten().map(|text| quoted(text)).collect();
        let text = format!("{{{}{delimiter}NULL}}", members.join(delimiter));
        there_and_back(&connection, &array, Some(&text)).await;
        there_and_back(&connection, &array, Some(&format!("{{{text}{delimiter}{text}}}"))).await;
        there_and_back(&connection, &array, Some("{}")).await;
        there_and_back(&connection, &array, None).await;
    }
}

#[tokio::test]
async fn ranges_and_multiranges() {
    let (_database, connection) = connected().await;
    connection.run_script("set time zone 'UTC'; create type textrange as range (subtype = text, multirange_type_name = textmultirange)").await.unwrap();
    let sql = "select r.rngtypid::regtype::text, r.rngmultitypid::regtype::text, t.typname
               from pg_range r join pg_type t on t.oid = r.rngsubtype";
    let kinds = connection.run_query_as::<(String, String, String), _>(sql, ()).await.unwrap();
    assert!(kinds.len() >= 7, "{kinds:?}");
    for (range, multirange, bound) in kinds {
        // A bound that sorts: of the samples the first two that make a range.
        let samples = samples(&bound);
        let (low, high) = (samples[0], samples[1]);
        let ordered = format!(
            "select least($1::{bound}, $2::{bound})::text, greatest($1::{bound}, $2::{bound})::text"
        );
        let texts: Vec<(String, String)> =
            connection.run_query_as(&ordered, (Text(low), Text(high))).await.unwrap();
        let (low, high) = &texts[0];
        let (low, high) = (quoted(low), quoted(high));
        for text in [
            "empty".to_owned(),
            "(,)".to_owned(),
            format!("[{low},)"),
            format!("(,{high})"),
            format!("[{low},{high})"),
            format!("({low},{low}]"),
        ] {
            there_and_back(&connection, &range, Some(&text)).await;
            there_and_back(&connection, &multirange, Some(&format!("{{{text}}}"))).await;
        }
        there_and_back(&connection, &range, None).await;
        there_and_back(&connection, &multirange, Some("{}")).await;
        there_and_back(&connection, &format!("{range}[]"), Some("{empty,NULL}")).await;
        there_and_back(&connection, &format!("{multirange}[]"), Some("{\"{empty}\",NULL}")).await;
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[tokio::test]
async fn composites_of_everything() {
    let (_database, connection) = connected().await;
    let types: Vec<&str> = SAMPLES
        .iter()
        .map(|(ty, _)| *ty)
        .filter(|ty| !["regdatabase", "aclitem"].contains(ty))
        .collect();
    let fields =
        |of: &dyn Fn(&str) -> String| types.iter().map(|ty| of(ty)).collect::<Vec<_>>().join(", ");
    let members =
        fields(&|ty| format!("\"f {ty}\" pg_catalog.\"{ty}\", \"a {ty}\" pg_catalog.\"{ty}\"[]"));
    connection
        .run_script(&format!(
            "set time zone 'UTC'; create type everything as ({members});
             create type nested as (one everything, many everything[], label text);
             create domain labelled as nested check ((value).label <> '')"
        ))
        .await
        .unwrap();
    let literals = fields(&|ty| {
        let sample = samples(ty).last().unwrap().replace('\'', "''");
        format!("'{sample}'::pg_catalog.\"{ty}\", array['{sample}', null]::pg_catalog.\"{ty}\"[]")
    });
    let sql = format!(
        "select row(row({literals})::everything, array[row({literals})::everything, null], 'x')::nested::text"
    );
    let text = &connection.run_query_as::<(String,), _>(&sql, ()).await.unwrap()[0].0;
    for ty in ["nested", "nested[]", "labelled[]"] {
        let text = if ty == "nested" { text.clone() } else { format!("{{{},NULL}}", quoted(text)) };
        there_and_back(&connection, ty, Some(&text)).await;
        there_and_back(&connection, ty, None).await;
    }
}

#[tokio::test]
async fn rust_types() {
    let (_database, connection) = connected().await;
    let connection = &connection;
    same(connection, "bool", vec![true, false]).await;
    same(connection, "int2", vec![0, i16::MIN, i16::MAX]).await;
    same(connection, "int4", vec![0, i32::MIN, i32::MAX]).await;
    same(connection, "int8", vec![0, i64::MIN, i64::MAX]).await;
    same(connection, "oid", vec![0, u32::MAX]).await;
    same(connection, "float4", vec![0.0, f32::MIN, f32::INFINITY, f32::MIN_POSITIVE]).await;
    same(connection, "float8", vec![0.1, f64::MAX, f64::NEG_INFINITY, 5e-324]).await;
    same(connection, "text", vec![String::new(), "ö\u{10ffff}".into(), "x".repeat(100_000)]).await;
    same(connection, "bytea", vec![vec![], vec![0_u8, 255], vec![7; 100_000]]).await;
    let epoch = SystemTime::UNIX_EPOCH;
    let seconds = Duration::from_micros;
    same(
        connection,
        "timestamptz",
        vec![epoch, epoch + seconds(1), epoch - seconds(63_000_000_000_000_000)],
    )
    .await;
    same(connection, "inet", vec!["::1".parse::<std::net::IpAddr>().unwrap()]).await;
    let numbers = samples("numeric").iter().map(|text| text.parse::<Numeric>().unwrap());
    same(connection, "numeric", numbers.collect()).await;
    let interval = Interval { months: -14, days: 3, microseconds: -4_000_001 };
    let most = Interval {
        months: 12 * 178_000_000,
        days: i32::MAX,
        microseconds: i64::from(i32::MAX) * 3_600_000_000,
    };
    same(connection, "interval", vec![Interval::default(), interval, most]).await;
    same(
        connection,
        "int4range",
        vec![Range::Empty, Range::from(1..2), Range::from(..5), Range::all()],
    )
    .await;
    let dates = Range::from(epoch..=epoch + seconds(5));
    same(connection, "tstzrange", vec![dates, Range::Empty]).await;
    let numeric_range = Range::from(Numeric::from(1)..Numeric::infinity());
    same(connection, "numrange", vec![numeric_range]).await;
    let ranges: Multirange<i64> = [1..2, 5..9].into_iter().map(Range::from).collect();
    same(connection, "int8multirange", vec![ranges, Multirange::default()]).await;
}
