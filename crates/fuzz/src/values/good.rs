//! Values that are whole: what a server sends of a type, with its extremes.

use postgres_types::{Kind, Type};
use proptest::prelude::*;
use proptest::strategy::Union;

use super::samples::made;

/// Built-in types of every kind, and some that are not.
pub(crate) fn any_known_type() -> impl Strategy<Value = Type> {
    let mut types: Vec<Type> = (1..5_100).filter_map(Type::from_oid).collect();
    let lamp = Kind::Enum(vec!["red".into(), "green".into()]);
    types.extend([
        made("lamp", lamp),
        made("positive", Kind::Domain(Type::INT4)),
        made("_positive", Kind::Array(made("positive", Kind::Domain(Type::INT4)))),
        made("moment", Kind::Domain(Type::TIMESTAMPTZ)),
    ]);
    // Those with values of many forms come more often.
    let frequent = vec![
        Type::NUMERIC,
        Type::INTERVAL,
        Type::JSONB,
        Type::JSON,
        Type::TIME,
        Type::TIMESTAMP,
        Type::TIMESTAMPTZ,
        Type::DATE,
        Type::INET,
        Type::CIDR,
        Type::VARBIT,
        Type::INT4_ARRAY,
        Type::TEXT_ARRAY,
        Type::NUMERIC_ARRAY,
        Type::TS_RANGE,
        Type::NUM_RANGE,
        Type::INT8MULTI_RANGE,
        Type::RECORD,
        made("positive", Kind::Domain(Type::INT4)),
        super::samples::pair(),
    ];
    prop_oneof![prop::sample::select(types), prop::sample::select(frequent)]
}

/// A value of this type.
pub(crate) fn good(ty: &Type) -> BoxedStrategy<Vec<u8>> {
    of_levels(ty, 3)
}

fn of_levels(ty: &Type, levels: u32) -> BoxedStrategy<Vec<u8>> {
    let Some(levels) = levels.checked_sub(1) else { return least(ty) };
    match ty.kind() {
        Kind::Array(member) => array(member, levels),
        Kind::Range(bound) => range(of_levels(bound, levels)),
        Kind::Multirange(bound) => {
            let range = range(of_levels(bound, levels));
            prop::collection::vec(range, 0..4).prop_map(|all| counted(&all)).boxed()
        }
        Kind::Domain(base) => of_levels(base, levels + 1),
        Kind::Enum(labels) => prop::sample::select(labels.clone()).prop_map(Into::into).boxed(),
        Kind::Composite(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|field| {
                    let value = prop::option::weighted(0.8, of_levels(field.type_(), levels));
                    (Just(field.type_().oid()), value)
                })
                .collect();
            fields.prop_map(|fields| record(&fields)).boxed()
        }
        _ if *ty == Type::RECORD => any_record(levels),
        _ if *ty == Type::RECORD_ARRAY => array(&Type::RECORD, levels),
        _ if *ty == Type::ANYARRAY => array(&Type::INT4, levels),
        _ if ty.name() == "hstore" => hstore(),
        _ => simple(ty),
    }
}

/// The least value: what has parts has none of them.
fn least(ty: &Type) -> BoxedStrategy<Vec<u8>> {
    let empty_array = |oid: u32| [&[0; 8][..], &oid.to_be_bytes()].concat();
    let bytes = match ty.kind() {
        Kind::Array(member) => empty_array(member.oid()),
        Kind::Range(_) => vec![1],
        Kind::Multirange(_) => be(0),
        Kind::Domain(base) => return least(base),
        Kind::Composite(fields) => {
            record(&fields.iter().map(|field| (field.type_().oid(), None)).collect::<Vec<_>>())
        }
        _ if *ty == Type::RECORD => be(0),
        _ if *ty == Type::RECORD_ARRAY => empty_array(Type::RECORD.oid()),
        _ if *ty == Type::ANYARRAY => empty_array(Type::INT4.oid()),
        _ if ty.name() == "hstore" => be(0),
        _ => return simple(ty),
    };
    Just(bytes).boxed()
}

fn simple(ty: &Type) -> BoxedStrategy<Vec<u8>> {
    match *ty {
        Type::BOOL => any::<bool>().prop_map(|is| vec![is.into()]).boxed(),
        Type::CHAR => any::<u8>().prop_map(|byte| vec![byte]).boxed(),
        Type::INT2 => word::<2>(),
        Type::INT8 | Type::MONEY | Type::FLOAT8 | Type::XID8 | Type::PG_LSN | Type::MACADDR8 => {
            word::<8>()
        }
        Type::TIME | Type::TIMESTAMP | Type::TIMESTAMPTZ => moment(),
        Type::DATE => prop_oneof![word::<4>(), (-3_000_000..3_000_000_i32).prop_map(be)].boxed(),
        Type::TIMETZ => (0..=86_400_000_000_i64, -60_000..60_000_i32)
            .prop_map(|(time, zone)| [&time.to_be_bytes()[..], &zone.to_be_bytes()].concat())
            .boxed(),
        Type::INTERVAL => (word::<8>(), word::<4>(), word::<4>())
            .prop_map(|(micros, days, months)| [micros, days, months].concat())
            .boxed(),
        Type::UUID => word::<16>(),
        Type::MACADDR => word::<6>(),
        Type::POINT => prop::collection::vec(word::<8>(), 2).prop_map(|all| all.concat()).boxed(),
        Type::BOX | Type::LSEG => {
            prop::collection::vec(word::<8>(), 4).prop_map(|all| all.concat()).boxed()
        }
        Type::LINE | Type::CIRCLE => {
            prop::collection::vec(word::<8>(), 3).prop_map(|all| all.concat()).boxed()
        }
        Type::PATH => (any::<bool>(), points())
            .prop_map(|(closed, points)| [&[closed.into()][..], &points].concat())
            .boxed(),
        Type::POLYGON => points().boxed(),
        Type::NUMERIC => numeric(),
        Type::INET | Type::CIDR => address(matches!(*ty, Type::CIDR)),
        Type::BIT | Type::VARBIT => prop::collection::vec(any::<bool>(), 0..40)
            .prop_map(|bits| {
                let mut bytes = vec![0; bits.len().div_ceil(8)];
                for (at, _) in bits.iter().enumerate().filter(|(_, is)| **is) {
                    bytes[at / 8] |= 0x80 >> (at % 8);
                }
                [be(i32::try_from(bits.len()).unwrap()), bytes].concat()
            })
            .boxed(),
        Type::JSON => json().boxed(),
        Type::JSONB => json().prop_map(|text| [vec![1], text].concat()).boxed(),
        Type::BYTEA => prop::collection::vec(any::<u8>(), 0..40).boxed(),
        Type::INT2_VECTOR => array(&Type::INT2, 1),
        Type::OID_VECTOR => array(&Type::OID, 1),
        Type::TS_VECTOR | Type::TSQUERY => Just(vec![0; 4]).boxed(),
        Type::PG_SNAPSHOT | Type::TXID_SNAPSHOT => Just(vec![0; 20]).boxed(),
        Type::TEXT
        | Type::VARCHAR
        | Type::BPCHAR
        | Type::NAME
        | Type::UNKNOWN
        | Type::XML
        | Type::CSTRING => text().boxed(),
        Type::JSONPATH => text().prop_map(|text| [vec![1], text].concat()).boxed(),
        // The types that are numbers of four bytes, and all that have no binary form.
        _ => word::<4>(),
    }
}

fn be(number: i32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// A number of `N` bytes: random, small, or an extreme.
fn word<const N: usize>() -> BoxedStrategy<Vec<u8>> {
    let filled = |first: u8, rest: u8| {
        let mut bytes = vec![rest; N];
        bytes[0] = first;
        bytes
    };
    Union::new_weighted(vec![
        (4, prop::collection::vec(any::<u8>(), N).boxed()),
        (
            3,
            any::<i8>()
                .prop_map(move |last| {
                    let mut bytes = filled(if last < 0 { 0xff } else { 0 }, 0);
                    bytes.fill(if last < 0 { 0xff } else { 0 });
                    bytes[N - 1] = last.to_be_bytes()[0];
                    bytes
                })
                .boxed(),
        ),
        (1, Just(filled(0x80, 0)).boxed()),
        (1, Just(filled(0x7f, 0xff)).boxed()),
        (1, Just(filled(0x7f, 0)).boxed()),
        // NaN and an infinity of eight bytes.
        (
            1,
            prop::sample::select(vec![0xf8, 0xf0])
                .prop_map(move |second| {
                    let mut bytes = filled(0x7f, 0);
                    if let Some(byte) = bytes.get_mut(1) {
                        *byte = second;
                    }
                    bytes
                })
                .boxed(),
        ),
    ])
    .boxed()
}

/// Microseconds: of a day, around 2000, at the ends of what PostgreSQL has, or any.
fn moment() -> BoxedStrategy<Vec<u8>> {
    let around = |at: i64| (-3..=3_i64).prop_map(move |by| at.saturating_add(by));
    let micros = prop_oneof![
        0..=86_400_000_000_i64,
        -1_000_000_000_000_000..1_000_000_000_000_000_i64,
        around(i64::MAX),
        around(i64::MIN),
        around(-211_813_488_000_000_000),
        around(9_223_371_331_200_000_000),
        around(-62_135_596_800_000_000 - 946_684_800_000_000),
        around(252_455_616_000_000_000),
        any::<i64>(),
    ];
    micros.prop_map(|micros| micros.to_be_bytes().to_vec()).boxed()
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![".{0,12}", "[ -~]{0,20}", "[0-9.:e+-]{0,10}"].prop_map(String::into_bytes)
}

fn json() -> impl Strategy<Value = Vec<u8>> {
    let known = vec!["null", "true", "{}", "[]", "\"\"", "1e400", "-0", "{\"a\":[1,2.5,null]}"];
    prop_oneof![
        prop::sample::select(known).prop_map(|text| text.as_bytes().to_vec()),
        (1..200_usize).prop_map(|depth| ["[".repeat(depth), "]".repeat(depth)].concat().into()),
        r#"\{"[a-z]{0,3}":(-?[0-9]{1,30}(\.[0-9]{1,20})?|"[a-z\\]{0,4}")\}"#
            .prop_map(String::into_bytes),
    ]
}

/// Groups of four digits, the weight of the first, the sign, how many digits are shown.
fn numeric() -> BoxedStrategy<Vec<u8>> {
    let digit = prop_oneof![0..10_000_i16, prop::sample::select(vec![0_i16, 1, 9_999, 1_000])];
    let weight =
        prop_oneof![-9..12_i16, -130..130_i16, prop::sample::select(vec![i16::MAX, i16::MIN])];
    let sign = prop::sample::select(vec![0_u16, 0, 0, 0x4000, 0xc000, 0xd000, 0xf000]);
    let shown = prop_oneof![0..40_i16, 0..=0x3fff_i16];
    (prop::collection::vec(digit, 0..10), weight, sign, shown)
        .prop_map(|(digits, weight, sign, shown)| {
            let digits = if sign >= 0xc000 { Vec::new() } else { digits };
            let mut bytes = i16::try_from(digits.len()).unwrap().to_be_bytes().to_vec();
            bytes.extend(weight.to_be_bytes());
            bytes.extend(sign.to_be_bytes());
            bytes.extend(shown.to_be_bytes());
            bytes.extend(digits.into_iter().flat_map(i16::to_be_bytes));
            bytes
        })
        .boxed()
}

/// Family, bits of the mask, whether it is a cidr, the length of the address, the address.
fn address(is_cidr: bool) -> BoxedStrategy<Vec<u8>> {
    (any::<bool>(), any::<u8>(), any::<u128>(), any::<bool>())
        .prop_map(move |(is_v6, mask, address, is_host)| {
            let (family, length) = if is_v6 { (3, 16) } else { (2, 4) };
            let bits = u32::from(length) * 8;
            let mask = if is_host { bits } else { u32::from(mask) % (bits + 1) };
            let address = address >> (128 - bits);
            let hosts = if mask == 0 { u128::MAX } else { (1_u128 << (bits - mask)) - 1 };
            let address = if is_cidr { address & !hosts } else { address };
            let mut bytes = vec![family, u8::try_from(mask).unwrap(), is_cidr.into(), length];
            bytes.extend(&address.to_be_bytes()[16 - usize::from(length)..]);
            bytes
        })
        .boxed()
}

fn points() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec((word::<8>(), word::<8>()), 0..5).prop_map(|points| {
        let all: Vec<_> = points.iter().map(|(x, y)| [&x[..], &y[..]].concat()).collect();
        [be(i32::try_from(all.len()).unwrap()), all.concat()].concat()
    })
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&be(i32::try_from(bytes.len()).unwrap())[..], bytes].concat()
}

fn nullable(value: Option<&Vec<u8>>) -> Vec<u8> {
    value.map_or_else(|| be(-1), |value| sized(value))
}

/// Their number, and each with its length.
fn counted(all: &[Vec<u8>]) -> Vec<u8> {
    let all: Vec<_> = all.iter().map(|one| sized(one)).collect();
    [be(i32::try_from(all.len()).unwrap()), all.concat()].concat()
}

/// Of up to three dimensions, with lower bounds of any kind.
fn array(member: &Type, levels: u32) -> BoxedStrategy<Vec<u8>> {
    let oid = member.oid();
    let element = prop::option::weighted(0.8, of_levels(member, levels));
    let lower = prop_oneof![Just(1_i32), any::<i32>()];
    prop::collection::vec((1..4_usize, lower), 0..4)
        .prop_flat_map(move |dimensions| {
            let count = match dimensions.len() {
                0 => 0,
                _ => dimensions.iter().map(|(length, _)| length).product(),
            };
            (Just(dimensions), prop::collection::vec(element.clone(), count))
        })
        .prop_map(move |(dimensions, elements)| {
            let has_nulls = elements.iter().any(Option::is_none);
            let mut bytes = be(i32::try_from(dimensions.len()).unwrap());
            bytes.extend(be(has_nulls.into()));
            bytes.extend(oid.to_be_bytes());
            for (length, lower) in dimensions {
                bytes.extend(be(i32::try_from(length).unwrap()));
                bytes.extend(be(lower));
            }
            bytes.extend(elements.iter().flat_map(|element| nullable(element.as_ref())));
            bytes
        })
        .boxed()
}

fn range(bound: BoxedStrategy<Vec<u8>>) -> BoxedStrategy<Vec<u8>> {
    (0..32_u8, bound.clone(), bound)
        .prop_map(|(flags, lower, upper)| {
            if flags & 1 != 0 {
                return vec![1];
            }
            let mut bytes = vec![flags];
            for (infinite, bound) in [(8, lower), (16, upper)] {
                if flags & infinite == 0 {
                    bytes.extend(sized(&bound));
                }
            }
            bytes
        })
        .boxed()
}

fn record(fields: &[(u32, Option<Vec<u8>>)]) -> Vec<u8> {
    let mut bytes = be(i32::try_from(fields.len()).unwrap());
    for (oid, value) in fields {
        bytes.extend(oid.to_be_bytes());
        bytes.extend(nullable(value.as_ref()));
    }
    bytes
}

fn any_record(levels: u32) -> BoxedStrategy<Vec<u8>> {
    let types = vec![Type::INT4, Type::TEXT, Type::INT4_ARRAY, Type::RECORD, Type::NUMERIC];
    let field = prop::sample::select(types).prop_flat_map(move |ty| {
        (Just(ty.oid()), prop::option::weighted(0.8, of_levels(&ty, levels)))
    });
    // An `int4` and a text often: those are decoded.
    let pair = (of_levels(&Type::INT4, 1), text())
        .prop_map(|(number, text)| vec![(23, Some(number)), (25, Some(text))]);
    prop_oneof![prop::collection::vec(field, 0..4), pair].prop_map(|fields| record(&fields)).boxed()
}

fn hstore() -> BoxedStrategy<Vec<u8>> {
    prop::collection::vec((text(), prop::option::of(text())), 0..4)
        .prop_map(|pairs| {
            let mut bytes = be(i32::try_from(pairs.len()).unwrap());
            for (key, value) in pairs {
                bytes.extend(sized(&key));
                bytes.extend(nullable(value.as_ref()));
            }
            bytes
        })
        .boxed()
}
