//! Values: every decoder that is handed on, over bytes that are random, damaged or good.
//!
//! Checked: no panic that is not told as an error; memory is a multiple of the value; an error is
//! of bounded length; a decoder says the same whether it is asked by row, by reader or by `Raw`;
//! what was decoded is encoded again, and comes back the same; numbers come back from their text.

mod decoders;
mod good;
#[path = "../../../session/src/value/tests/recorded.rs"]
mod recorded;
#[path = "../../../session/src/value/tests/samples.rs"]
mod samples;

use std::fmt;

use postgres_types::{Kind, Type};
use proptest::prelude::*;
use txpostgres_session::value::{Numeric, verify};

use crate::probe::Probe;
use crate::target::{Cases, Checked};
pub(crate) use good::{any_known_type, good};

#[derive(Clone)]
enum Case {
    Value { ty: Type, bytes: Vec<u8>, is: Is },
    Number(String),
}

/// How a value was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    Random,
    Damaged,
    Good,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(text) => write!(f, "number {text:?}"),
            Self::Value { ty, bytes, is } => {
                write!(f, "{is:?} {ty} (oid {}, {:?}): ", ty.oid(), ty.kind())?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

pub(crate) const EXPECTED: &[&str] = &[
    "value: Damaged, decoded",
    "value: Damaged, refused",
    "value: Good, decoded",
    "value: Random, decoded",
    "value: Random, refused",
    "encoded: bool",
    "encoded: float8",
    "encoded: inet",
    "encoded: int4",
    "encoded: _int4",
    "encoded: int4range",
    "encoded: int8multirange",
    "encoded: interval",
    "encoded: json",
    "encoded: jsonb",
    "encoded: numeric",
    "encoded: pair",
    "encoded: positive",
    "encoded: text",
    "encoded: timestamptz",
    "encoded: uuid",
    "encoded: varbit",
    "number: read",
    "number: refused",
];

pub(crate) fn cases() -> Box<dyn Cases> {
    let value = |is| move |(ty, bytes)| Case::Value { ty, bytes, is };
    let any_of = || prop_oneof![samples::any_type(), any_known_type()];
    let good_ones = any_of().prop_flat_map(|ty| (Just(ty.clone()), good(&ty)));
    let recorded = prop::sample::select(recorded::from_the_server());
    let fair = prop_oneof![4 => good_ones.clone(), 1 => recorded];
    let damage = prop::collection::vec(
        (any::<prop::sample::Index>(), samples::any_word(), 0..4_u8, any::<u8>()),
        1..3,
    );
    let damaged = (fair, damage, prop::option::weighted(0.2, any_of())).prop_map(
        |((ty, mut bytes), damage, other)| {
            for change in damage {
                damage_at(&mut bytes, change);
            }
            (other.unwrap_or(ty), bytes)
        },
    );
    let strategy = prop_oneof![
        3 => (any_of(), samples::any_bytes()).prop_map(value(Is::Random)),
        6 => damaged.prop_map(value(Is::Damaged)),
        4 => good_ones.prop_map(value(Is::Good)),
        1 => number().prop_map(Case::Number),
    ];
    Box::new(Checked { strategy, check })
}

/// A word or a byte replaced, bytes left out, or one put in.
fn damage_at(bytes: &mut Vec<u8>, (place, word, how, byte): (prop::sample::Index, i32, u8, u8)) {
    let place = place.index(bytes.len() + 1);
    let word = word.to_be_bytes();
    match how {
        0 => bytes[place..].iter_mut().zip(word).for_each(|(old, new)| *old = new),
        1 => bytes[place..].iter_mut().zip([byte]).for_each(|(old, new)| *old = new),
        2 => bytes.truncate(place),
        _ => bytes.insert(place, byte),
    }
}

/// Numbers as they are written, and texts that are almost numbers.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        r"-?[0-9]{1,40}(\.[0-9]{0,40})?",
        r"-?[0-9]{0,5}(\.[0-9]{0,5})?[eE][-+]?[0-9]{0,6}",
        r"[-+]?(0{0,9}[1-9]0{0,9}){1,3}(\.0{0,9}[1-9]0{0,9})?",
        r"[-+ ]?(NaN|nan|inf|Infinity|-Infinity|0x1F|1_000|\.|)",
        r"[-+.eE0-9_xN ]{0,12}",
    ]
}

fn check(case: &Case, probe: &mut Probe) {
    match case {
        Case::Value { ty, bytes, is } => {
            // One that has the name alone is verified as what decoders take it for.
            let is_clear = ty.name() != "hstore" || *ty.kind() == Kind::Simple;
            let is_good = *is == Is::Good && is_clear;
            assert!(!is_good || verify(ty, bytes).is_ok(), "a good value is refused");
            let decoded = decoders::all(ty, bytes, probe);
            let what = if decoded { "decoded" } else { "refused" };
            probe.coverage.count_name("value: ", &format!("{is:?}, {what}"));
        }
        Case::Number(text) => {
            let most = 64 * text.len() + (1 << 16);
            let Ok(number) = probe.within("a number", most, || text.parse::<Numeric>()) else {
                return probe.reached("number: refused");
            };
            probe.reached("number: read");
            let printed = number.to_string();
            assert_eq!(printed.parse::<Numeric>().unwrap(), number, "{printed}");
            let bytes = decoders::encoded(&Type::NUMERIC, &number).unwrap();
            decoders::all(&Type::NUMERIC, &bytes, probe);
        }
    }
}
