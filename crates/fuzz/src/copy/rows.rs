//! Rows in the binary format: written, damaged, and read in pieces.

use std::sync::Arc;

use postgres_types::Type;
use proptest::prelude::*;
use proptest::sample::Index;
use txpostgres_session::types::ToSql;
use txpostgres_session::value::Raw;
use txpostgres_session::{Column, CopyDecoder, CopyEncoder};

use crate::opened;
use crate::probe::Probe;
use crate::values::good;

/// The types of columns.
const TYPES: [Type; 8] = [
    Type::INT4,
    Type::TEXT,
    Type::BYTEA,
    Type::NUMERIC,
    Type::TIMESTAMPTZ,
    Type::INT4_ARRAY,
    Type::BOOL,
    Type::JSONB,
];

/// Bytes of memory that may be taken whatever the data is.
const ITSELF: usize = 64 * 1024;

/// As many times the data may be taken: what is kept of the last piece, the batch, its places.
const FACTOR: usize = 16;

/// Rows, how they are damaged, and how they are cut.
#[derive(Debug, Clone)]
pub(super) struct Written {
    types: Vec<Type>,
    /// For each row its values, and whether it has one too many or one of another type.
    rows: Vec<(Vec<Value>, Bad)>,
    damage: Vec<(Index, Damage)>,
    sizes: Vec<usize>,
}

type Value = Option<Vec<u8>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bad {
    No,
    Count,
    Type,
}

#[derive(Debug, Clone)]
enum Damage {
    Byte(u8),
    Word(i32),
    Cut,
    Insert(Vec<u8>),
    Repeat(usize),
}

pub(super) fn written() -> impl Strategy<Value = Written> {
    let ty = prop::sample::select(TYPES.to_vec());
    let bad = prop_oneof![8 => Just(Bad::No), 1 => Just(Bad::Count), 1 => Just(Bad::Type)];
    let rows = prop::collection::vec(ty, 0..5).prop_flat_map(move |types| {
        let row: Vec<_> = types.iter().map(|ty| prop::option::weighted(0.8, good(ty))).collect();
        (Just(types), prop::collection::vec((row, bad.clone()), 0..6))
    });
    let damage = prop_oneof![
        any::<u8>().prop_map(Damage::Byte),
        prop_oneof![-3..8_i32, Just(i32::MAX), Just(i32::MIN), any::<i32>()].prop_map(Damage::Word),
        Just(Damage::Cut),
        prop::collection::vec(any::<u8>(), 1..8).prop_map(Damage::Insert),
        (1..40_usize).prop_map(Damage::Repeat),
    ];
    let damage = prop::collection::vec((any::<Index>(), damage), 0..3);
    let sizes = prop::collection::vec(1..40_usize, 1..5);
    (rows, damage, sizes).prop_map(|((types, rows), damage, sizes)| Written {
        types,
        rows,
        damage,
        sizes,
    })
}

/// What came of reading: the values of the rows, and the error at the end, if there is one.
#[derive(Debug, PartialEq)]
struct Read {
    rows: Vec<Vec<Value>>,
    end: Result<(), String>,
}

impl Written {
    pub(super) fn check(&self, probe: &mut Probe) {
        let (mut bytes, good) = self.write(probe);
        let oids: Vec<u32> = self.types.iter().map(Type::oid).collect();
        let columns = opened::columns(&oids, 1);
        for (at, damage) in &self.damage {
            damage.apply(at.index(bytes.len() + 1), &mut bytes);
        }
        let most = ITSELF + FACTOR * bytes.len() * self.sizes.len();
        let whole = probe.within("whole rows", most, || read(&columns, &[&bytes]));
        let mut pieces = Vec::new();
        let mut rest = &bytes[..];
        for size in self.sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        // Rows of one piece each are batches of their own, which have a size.
        let most = ITSELF + (FACTOR + 512) * bytes.len();
        let cut = probe.within("rows in pieces", most, || read(&columns, &pieces));
        assert_eq!(whole.end, cut.end, "whole and in pieces");
        match &whole.end {
            Ok(()) => {
                assert_eq!(whole.rows, cut.rows);
                probe.reached("rows: read");
            }
            Err(said) if said.contains("breaks off") => probe.reached("rows: broken off"),
            Err(_) => probe.reached("rows: refused"),
        }
        if self.damage.is_empty() {
            assert_eq!(whole, Read { rows: good, end: Ok(()) });
        }
    }

    /// Writes the rows; gives the bytes, and the rows that can be written.
    fn write(&self, probe: &mut Probe) -> (Vec<u8>, Vec<Vec<Value>>) {
        let mut encoder = CopyEncoder::new(self.types.clone()).unwrap();
        let mut good = Vec::new();
        for (number, (row, bad)) in self.rows.iter().enumerate() {
            let mut values: Vec<Option<Raw>> = row
                .iter()
                .zip(&self.types)
                .map(|(value, ty)| value.clone().map(|bytes| Raw::new(ty.clone(), bytes)))
                .collect();
            match (bad, values.last_mut()) {
                (Bad::No, _) => {}
                (Bad::Type, Some(last)) => *last = Some(Raw::new(Type::UUID, vec![0; 16])),
                _ => values.push(None),
            }
            let before = (encoder.len(), encoder.rows());
            let outcome = if number % 2 == 0 {
                let values: Vec<_> =
                    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
                encoder.row(&values)
            } else {
                one_by_one(&mut encoder, &values)
            };
            assert_eq!(outcome.is_ok(), *bad == Bad::No, "{outcome:?}");
            if outcome.is_ok() {
                good.push(row.clone());
            } else {
                assert_eq!((encoder.len(), encoder.rows()), before, "a bad row leaves something");
                probe.reached("rows: a row that is not written");
            }
        }
        encoder.finish();
        assert_eq!(encoder.rows(), good.len());
        (encoder.bytes().to_vec(), good)
    }
}

/// As the face writes tuples: accepted once for all.
fn one_by_one(encoder: &mut CopyEncoder, values: &[Option<Raw>]) -> txpostgres_session::Result<()> {
    let mut row = encoder.begin(values.len(), Some(|_| true))?;
    for value in values {
        row.value(value)?;
    }
    row.keep();
    Ok(())
}

fn read(columns: &Arc<[Column]>, pieces: &[&[u8]]) -> Read {
    let mut decoder = CopyDecoder::new(Arc::clone(columns));
    let mut all = Vec::new();
    for piece in pieces {
        match decoder.receive(piece.to_vec()) {
            Ok(rows) => {
                for row in rows.iter().flat_map(|rows| rows.iter()) {
                    assert_eq!(row.number(), all.len());
                    let value = |at| row.raw(at).unwrap().map(<[u8]>::to_vec);
                    all.push((0..row.len()).map(value).collect());
                }
            }
            Err(error) => {
                // In one piece, rows before the error are not told.
                return Read { rows: Vec::new(), end: Err(format!("{error} {:?}", error.item())) };
            }
        }
    }
    assert_eq!(decoder.rows(), all.len());
    Read { rows: all, end: decoder.receive_end().map_err(|error| error.to_string()) }
}

impl Damage {
    fn apply(&self, at: usize, bytes: &mut Vec<u8>) {
        match self {
            Self::Byte(byte) => {
                if let Some(old) = bytes.get_mut(at) {
                    *old = *byte;
                }
            }
            Self::Word(word) => {
                bytes.iter_mut().skip(at).zip(word.to_be_bytes()).for_each(|(old, new)| *old = new);
            }
            Self::Cut => bytes.truncate(at),
            Self::Insert(more) => drop(bytes.splice(at..at, more.iter().copied())),
            Self::Repeat(count) => {
                let copy = bytes[at..(at + count).min(bytes.len())].to_vec();
                drop(bytes.splice(at..at, copy));
            }
        }
    }
}
