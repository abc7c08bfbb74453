//! Values that lie, of every kind of type and in every shape: an error that names the column and the row, in little memory.
//!
//! Alone in its test binary: the allocator counts for the whole process.

// A test's helpers may panic as the test itself may; clippy.toml allows it inside of `#[test]` only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::{BTreeMap, HashMap};

use peak_alloc::PeakAlloc;
use support::dialog::{Dialog, message};
use support::player::{Player, submit_query};
use txpostgres_session::types::{Field, Kind, Type};
use txpostgres_session::value::{Interval, Multirange, Numeric, Range, Raw, Text};
use txpostgres_session::{
    ErrorKind, Event, Execute, FromRow, NextStep, Query, Result, Rows, Scalar, Session,
};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What all of this may take at once: 64 MB.
const MEMORY: usize = 64 << 20;

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&i32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

fn data_row(values: &[Vec<u8>]) -> Vec<u8> {
    let count = u16::try_from(values.len()).unwrap().to_be_bytes();
    let values: Vec<u8> = values.iter().flat_map(|value| sized(value)).collect();
    message(b'D', &[&count[..], &values].concat())
}

/// Columns named c0, c1 … of these types, in binary.
fn row_description(oids: &[u32]) -> Vec<u8> {
    let mut body = u16::try_from(oids.len()).unwrap().to_be_bytes().to_vec();
    for (number, oid) in oids.iter().enumerate() {
        body.extend(format!("c{number}\0").bytes());
        body.extend([0; 6]);
        body.extend(oid.to_be_bytes());
        body.extend(b"\xff\xff\xff\xff\xff\xff\0\x01");
    }
    message(b'T', &body)
}

fn array(member: u32, elements: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = [[0, 0, 0, 1], [0; 4], member.to_be_bytes()].concat();
    bytes.extend(i32::try_from(elements.len()).unwrap().to_be_bytes());
    bytes.extend([0, 0, 0, 1]);
    bytes.extend(elements.iter().flat_map(|element| sized(element)));
    bytes
}

/// One row of the answer to a lookup.
fn described(oid: u32, name: &str, kind: u8, part: u32, fields: &[(&str, u32)]) -> Vec<u8> {
    let names: Vec<Vec<u8>> = fields.iter().map(|(name, _)| name.as_bytes().to_vec()).collect();
    let types: Vec<Vec<u8>> = fields.iter().map(|(_, ty)| ty.to_be_bytes().to_vec()).collect();
    data_row(&[
        oid.to_be_bytes().to_vec(),
        b"public".to_vec(),
        name.as_bytes().to_vec(),
        vec![kind],
        vec![1],
        vec![1],
        part.to_be_bytes().to_vec(),
        array(25, &[]),
        array(25, &names),
        array(26, &types),
    ])
}

/// The columns of a lookup.
const LOOKUP: &[u32] = &[26, 25, 25, 18, 16, 16, 26, 1009, 1009, 1028];

const PAIR: u32 = 70_001;
const FLOATS: u32 = 70_002;
const MANY_FLOATS: u32 = 70_003;
const HSTORE: u32 = 70_004;
const PAIRS: u32 = 70_005;
const NODE: u32 = 70_006;

fn answer(columns: &[u32], rows: &[Vec<u8>]) -> Vec<u8> {
    [
        message(b'1', b""),
        message(b'2', b""),
        row_description(columns),
        rows.concat(),
        message(b'C', b"SELECT 1\0"),
        message(b'Z', b"I"),
    ]
    .concat()
}

fn settled(session: &mut Session, query: &mut Query) -> NextStep {
    while let Some(event) = session.next_event() {
        if let Event::Settled { outcome, status, .. } = event {
            return query.settled(session, "select *", outcome, status);
        }
    }
    panic!("nothing has settled")
}

/// The rows of a query without parameters, whose types are looked up.
fn rows(columns: &[u32], rows: &[Vec<u8>], lookup: &[Vec<u8>]) -> Rows {
    let dialog = Dialog::parse("values", "A session.\n! open");
    let mut player = Player::new(&dialog);
    player.take();
    player.receive(&[message(b'R', &[0; 4]), message(b'Z', b"I")].concat());
    let session = &mut player.session;
    while session.next_event().is_some() {}
    let mut query = Query::new();
    submit_query(&mut query, session, "select *", Execute::Run(&[]), None).unwrap();
    session.receive(&answer(columns, rows));
    match settled(session, &mut query) {
        NextStep::Done(answer) => answer.unwrap().take_rows(),
        NextStep::Again => {
            submit_query(&mut query, session, "select *", Execute::Run(&[]), None).unwrap();
            session.receive(&answer(LOOKUP, lookup));
            let NextStep::Done(answer) = settled(session, &mut query) else { panic!() };
            answer.unwrap().take_rows()
        }
        NextStep::AgainAfterRollback(error) => panic!("{error}"),
    }
}

fn lookup() -> Vec<Vec<u8>> {
    vec![
        described(PAIR, "pair", b'c', 0, &[("a", 23), ("b", 1009)]),
        described(FLOATS, "floats", b'r', 701, &[]),
        described(MANY_FLOATS, "many_floats", b'm', 701, &[]),
        described(HSTORE, "hstore", b'b', 0, &[]),
        described(PAIRS, "_pair", b'a', PAIR, &[]),
        described(NODE, "node", b'c', 0, &[("child", NODE)]),
    ]
}

const BILLIONS: [u8; 4] = [0x7f, 0xff, 0xff, 0xff];

/// Bytes that lie as this type, each in its own way.
fn lies(oid: u32) -> Vec<Vec<u8>> {
    let head =
        |count: [u8; 4]| [&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 25][..], &count, &[0; 4]].concat();
    let mut lies = match oid {
        1009 | PAIRS => vec![head(BILLIONS), head([0xff; 4])],
        // Fields, then a field of another type, then one that is too long.
        PAIR | NODE => vec![
            BILLIONS.to_vec(),
            [&[0, 0, 0, 2, 0, 0, 0, 25][..], &[0xff; 4], &[0, 0, 3, 0xf1], &[0xff; 4]].concat(),
            [&[0, 0, 0, 2, 0, 0, 0, 23][..], &BILLIONS].concat(),
            [&[0, 0, 0, 2, 0, 0, 0, 23][..], &[0xff, 0xff, 0xff, 0xfe]].concat(),
        ],
        FLOATS | 3904 => vec![
            vec![0x02],
            [&[0x02][..], &BILLIONS].concat(),
            [&[0x02][..], &[0xff; 4]].concat(),
            vec![0x03],
            vec![0x18, 0],
        ],
        MANY_FLOATS | 4451 => {
            vec![BILLIONS.to_vec(), vec![0xff; 4], [&[0, 0, 0, 1][..], &BILLIONS].concat()]
        }
        HSTORE => vec![BILLIONS.to_vec(), vec![0xff; 4], [&[0, 0, 0, 1][..], &BILLIONS].concat()],
        1700 => vec![
            vec![0xff, 0xff, 0, 0, 0, 0, 0, 0],
            vec![0, 0, 0, 0, 0x12, 0x34, 0, 0],
            vec![0, 1, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
        ],
        1186 => vec![vec![0; 15], vec![0; 17]],
        23 => vec![vec![0; 3], vec![0; 5]],
        25 => vec![vec![0xff]],
        other => panic!("{other}"),
    };
    lies.push(vec![]);
    if oid == 25 {
        lies.pop();
    }
    lies
}

/// Reads the only column as this shape, expecting an error that names it.
fn refused<T: for<'r> FromRow<'r>>(oid: u32) {
    for lie in lies(oid) {
        // The second row lies.
        let good = good(oid);
        let rows =
            rows(&[oid], &[data_row(&[good]), data_row(std::slice::from_ref(&lie))], &lookup());
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        let decoded: Result<Vec<T>> = rows.decode();
        let peak = ALLOCATOR.peak_usage().saturating_sub(before);
        let error = decoded.err().unwrap_or_else(|| panic!("{oid} {lie:?} is taken"));
        assert_eq!(error.kind(), ErrorKind::Decode);
        let text = error.to_string();
        assert!(text.starts_with("column 0 \"c0\" ("), "{text}");
        assert!(text.contains(") of row 1 "), "{text}");
        assert!(peak < MEMORY, "{oid} {lie:?} takes {peak}");
    }
}

/// Bytes that are what they say.
fn good(oid: u32) -> Vec<u8> {
    match oid {
        1009 => array(25, &[b"x".to_vec()]),
        PAIR => [&[0, 0, 0, 2, 0, 0, 0, 23][..], &[0xff; 4], &[0, 0, 3, 0xf1], &[0xff; 4]].concat(),
        NODE => [&[0, 0, 0, 1][..], &NODE.to_be_bytes(), &[0xff; 4]].concat(),
        PAIRS => array(PAIR, &[good(PAIR)]),
        FLOATS | 3904 => vec![0x18],
        MANY_FLOATS | 4451 | HSTORE | 23 => vec![0; 4],
        1700 => vec![0; 8],
        1186 => vec![0; 16],
        _ => vec![],
    }
}

#[test]
fn what_lies_is_refused_in_every_shape() {
    refused::<(Vec<String>,)>(1009);
    refused::<Scalar<Vec<Option<String>>>>(1009);
    refused::<HashMap<String, Vec<String>>>(1009);
    refused::<BTreeMap<String, Option<Vec<String>>>>(1009);
    refused::<Scalar<Raw>>(1009);
    refused::<Scalar<Range<f64>>>(FLOATS);
    refused::<Scalar<Option<Range<f64>>>>(FLOATS);
    refused::<Scalar<Range<i32>>>(3904);
    refused::<Scalar<Multirange<f64>>>(MANY_FLOATS);
    refused::<Scalar<Multirange<i32>>>(4451);
    refused::<Scalar<HashMap<String, Option<String>>>>(HSTORE);
    refused::<Scalar<Raw>>(PAIR);
    refused::<Scalar<Vec<Raw>>>(PAIRS);
    refused::<Scalar<Raw>>(NODE);
    refused::<Scalar<Numeric>>(1700);
    refused::<Scalar<Interval>>(1186);
    refused::<(i32,)>(23);
    refused::<Scalar<Text>>(25);
}

#[test]
fn the_same_values_are_taken_when_they_do_not_lie() {
    let oids = [1009, PAIR, PAIRS, FLOATS, MANY_FLOATS, HSTORE, NODE];
    let values: Vec<Vec<u8>> = oids.iter().map(|&oid| good(oid)).collect();
    let rows = rows(&oids, &[data_row(&values)], &lookup());
    let raw: Vec<BTreeMap<String, Raw>> = rows.decode().unwrap();
    let names: Vec<&str> = raw[0].values().map(|raw| raw.type_().name()).collect();
    assert_eq!(names, ["_text", "pair", "_pair", "floats", "many_floats", "hstore", "node"]);
}

/// Whoever answers a lookup may be anybody.
#[test]
fn lookups_that_lie_fail_no_query() {
    let value = |bytes: &[u8]| vec![bytes.to_vec(); LOOKUP.len()];
    let endless: Vec<Vec<u8>> = (0..2_000)
        .map(|n| {
            let next: u32 = 80_000 + (n + 1) % 2_000;
            let fields = [("a", next), ("b", next), ("c", PAIR), ("d", 80_000)];
            described(if n == 0 { PAIR } else { 80_000 + n }, "t", b'c', 0, &fields)
        })
        .collect();
    for lookup in [
        vec![],
        vec![data_row(&value(b""))],
        vec![data_row(&value(&[0xff; 4]))],
        vec![data_row(&value(&BILLIONS))],
        vec![described(PAIR, "", b'?', 7, &[])],
        vec![described(PAIR, "a", b'a', PAIR, &[])],
        vec![described(PAIR, "d", b'd', PAIR, &[]), described(PAIR, "d", b'm', PAIR, &[])],
        endless,
    ] {
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        let rows = rows(&[PAIR, 23], &[data_row(&[vec![], vec![0, 0, 0, 7]])], &lookup);
        assert_eq!(rows.first().unwrap().get::<i32>(1).unwrap(), 7);
        let _ = rows.first().unwrap().get::<Raw>(0);
        let peak = ALLOCATOR.peak_usage().saturating_sub(before);
        assert!(peak < MEMORY, "{peak}");
    }
}

/// Records within records, 10,000 deep, and types as deep as the engine builds them.
#[test]
fn depth_is_refused() {
    let mut bytes = vec![0, 0, 0, 0];
    for _ in 0..10_000 {
        let record = Type::RECORD.oid().to_be_bytes();
        bytes = [&[0, 0, 0, 1][..], &record, &sized(&bytes)].concat();
    }
    let rows = rows(&[Type::RECORD.oid()], &[data_row(&[bytes.clone()])], &[]);
    let error = rows.decode::<Scalar<Raw>>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "column 0 \"c0\" (record) of row 0 is damaged: a value is nested deeper than 64 levels"
    );
    let field = Field::new("f".into(), Type::RECORD);
    let ty = Type::new("t".into(), 70_000, Kind::Composite(vec![field]), "public".into());
    let raw = Raw::new(ty, bytes);
    assert!(raw.get::<Raw>().unwrap_err().to_string().contains("deeper"));
}
