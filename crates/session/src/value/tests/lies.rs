//! Every kind of lie, and the line that a user gets to read about it.

use postgres_types::Type;

use super::{Kind, hex, hstore, made, pair, verify};

/// A type, bytes in hexadecimal, and what is said of them.
type Lie = (Type, &'static str, &'static str);

fn refused(lies: &[Lie]) {
    for (ty, text, line) in lies {
        let malformed = verify(ty, &hex(text)).expect_err(line);
        assert_eq!(malformed.to_string(), *line, "{ty} {text}");
    }
}

/// Arrays. The first one made the process abort: 20 bytes, 51 GB.
#[test]
fn arrays() {
    refused(&[
        (
            Type::TEXT_ARRAY,
            "00000001 00000000 00000019 7fffffff 00000001",
            "an array announces 2147483647 elements and 0 bytes follow",
        ),
        (
            Type::TEXT_ARRAY,
            "00000001 00000000 00000019 00000002 00000001 00000000 000000",
            "an array announces 2 elements and 7 bytes follow",
        ),
        (
            Type::INT4_ARRAY,
            "00000001 00000000 00000017 ffffffff 00000001",
            "an array announces -1 elements and 0 bytes follow",
        ),
        // Two negative dimensions make a positive product.
        (
            Type::INT4_ARRAY,
            "00000002 00000000 00000017 ffffffff 00000001 ffffffff 00000001 00000004 00000001",
            "an array announces -1 elements and 16 bytes follow",
        ),
        // 2^16 times 2^16 is 0 in 32 bits; (2^31-1)^6 has no place in 64.
        (
            Type::INT4_ARRAY,
            "00000002 00000000 00000017 00010000 00000001 00010000 00000001",
            "an array announces 4294967296 elements and 0 bytes follow",
        ),
        (
            Type::INT4_ARRAY,
            "00000006 00000000 00000017 7fffffff 00000001 7fffffff 00000001 7fffffff 00000001
             7fffffff 00000001 7fffffff 00000001 7fffffff 00000001",
            "an array announces 9223372036854775807 elements and 0 bytes follow",
        ),
        (
            Type::INT4_ARRAY,
            "00000002 00000000 00000017 7fffffff 00000001 00000000 00000001",
            "an array of several dimensions has one of length 0",
        ),
        (
            Type::INT4_ARRAY,
            "00000007 00000000 00000017",
            "an array announces 7 dimensions, and 6 are the most",
        ),
        (
            Type::INT4_ARRAY,
            "ffffffff 00000000 00000017",
            "an array announces -1 dimensions, and 6 are the most",
        ),
        (Type::INT4_ARRAY, "00000006 00000000 00000017 00000001 00000001", "an array breaks off"),
        (Type::INT4_ARRAY, "", "an array breaks off"),
        (Type::INT4_ARRAY, "00000000 00000000 00000017 00", "1 bytes are left after an array"),
        (
            Type::INT4_ARRAY,
            "00000001 00000000 00000017 00000001 00000001 fffffffe",
            "an element of an array announces -2 bytes and 0 follow",
        ),
        (
            Type::INT4_ARRAY,
            "00000001 00000000 00000017 00000001 00000001 7fffffff 00000001",
            "an element of an array announces 2147483647 bytes and 4 follow",
        ),
        (
            Type::INT2_VECTOR,
            "00000001 00000000 00000015 40000000 00000000 00000002 0001",
            "an array announces 1073741824 elements and 6 bytes follow",
        ),
        (
            Type::ANYARRAY,
            "00000001 00000000 000006a4 00000001 00000001 00000008 ffff000000000000",
            "a numeric announces 65535 digits and 0 bytes follow",
        ),
        // A lie within an element.
        (
            Type::INT4_RANGE_ARRAY,
            "00000001 00000000 00000f40 00000001 00000001 00000009 02 7fffffff 00000001",
            "a bound of a range announces 2147483647 bytes and 4 follow",
        ),
    ]);
}

/// An hstore, and what is called one.
#[test]
fn hstores() {
    refused(&[
        (hstore(), "7fffffff", "an hstore announces 2147483647 pairs and 0 bytes follow"),
        (hstore(), "ffffffff", "an hstore announces -1 pairs and 0 bytes follow"),
        (
            hstore(),
            "00000001 ffffffff 00000000",
            "a key of an hstore announces -1 bytes and 4 follow",
        ),
        (
            hstore(),
            "00000001 00000000 fffffffe",
            "a value of an hstore announces -2 bytes and 0 follow",
        ),
        (
            made("hstore", Kind::Domain(Type::TEXT)),
            "7f7f7f7f",
            "an hstore announces 2139062143 pairs and 0 bytes follow",
        ),
    ]);
}

/// A negative number of points made the decoder count down from it.
#[test]
fn paths() {
    refused(&[
        (Type::PATH, "00 ffffffff", "a path announces -1 points and 0 bytes follow"),
        (Type::PATH, "01 7fffffff", "a path announces 2147483647 points and 0 bytes follow"),
        (Type::POLYGON, "80000000", "a polygon announces -2147483648 points and 0 bytes follow"),
    ]);
}

/// Ranges and multiranges.
#[test]
fn ranges() {
    refused(&[
        (Type::INT4_RANGE, "", "a range breaks off"),
        (Type::INT4_RANGE, "02 ffffffff", "a bound of a range announces -1 bytes and 0 follow"),
        (Type::INT4_RANGE, "01 00", "1 bytes are left after a range"),
        (Type::INT4_RANGE, "18 00", "1 bytes are left after a range"),
        (Type::INT4_RANGE, "19", "a range is empty and has bounds (flags 0x19)"),
        (
            Type::NUM_RANGE,
            "08 00000008 0001000000000000",
            "a numeric announces 1 digits and 0 bytes follow",
        ),
        (
            Type::INT4MULTI_RANGE,
            "7fffffff 00000001 01",
            "a multirange announces 2147483647 ranges and 5 bytes follow",
        ),
        (
            Type::INT4MULTI_RANGE,
            "00000001 ffffffff 01",
            "a range of a multirange announces -1 bytes and 1 follow",
        ),
    ]);
}

/// Composites and records.
#[test]
fn composites() {
    refused(&[
        (
            Type::RECORD,
            "7fffffff 00000017 ffffffff",
            "a record announces 2147483647 fields and 8 bytes follow",
        ),
        (
            Type::RECORD,
            "00000001 000003f1 00000014 00000001 00000000 00000019 7fffffff 00000001",
            "an array announces 2147483647 elements and 0 bytes follow",
        ),
        (
            Type::RECORD,
            "00000001 00000017 7fffffff",
            "a field of a record announces 2147483647 bytes and 0 follow",
        ),
        (pair(), "ffffffff", "a composite announces -1 fields and 0 bytes follow"),
        (pair(), "00000000", "a composite announces 0 fields and its type has 2"),
        (
            pair(),
            "00000002 00000017 ffffffff 00000019 ffffffff",
            "a field of a composite announces type 25 and is declared as 1009",
        ),
        (
            pair(),
            "00000002 00000017 ffffffff 000003f1 00000014 00000001 00000000 00000019 7fffffff 00000001",
            "an array announces 2147483647 elements and 0 bytes follow",
        ),
    ]);
}

/// Numbers, bits, addresses, text search, snapshots.
#[test]
fn others() {
    refused(&[
        (
            Type::NUMERIC,
            "ffff 0000 0000 0000 0001",
            "a numeric announces 65535 digits and 2 bytes follow",
        ),
        (Type::NUMERIC, "0000", "a numeric breaks off"),
        (
            Type::VARBIT,
            "7fffffff ff",
            "the bits of a bit string announces 268435456 bytes and 1 follow",
        ),
        (Type::VARBIT, "ffffffff", "the bits of a bit string announces -1 bytes and 0 follow"),
        (Type::BIT, "00000008 ff ff", "1 bytes are left after a bit string"),
        (
            Type::INET,
            "02 20 00 10 7f000001",
            "the address of a network address announces 16 bytes and 4 follow",
        ),
        (Type::CIDR, "02 20", "a network address breaks off"),
        (
            Type::TS_VECTOR,
            "7fffffff 00 0000",
            "a tsvector announces 2147483647 lexemes and 3 bytes follow",
        ),
        (Type::TS_VECTOR, "00000001 616161", "a tsvector breaks off"),
        (
            Type::TS_VECTOR,
            "00000001 00 ffff 0001",
            "the positions of a lexeme of a tsvector announces 131070 bytes and 2 follow",
        ),
        (Type::TSQUERY, "7fffffff", "a tsquery announces 2147483647 items and 0 bytes follow"),
        (Type::TSQUERY, "00000001 0204", "a tsquery breaks off"),
        (Type::TSQUERY, "00000001 01000061", "a tsquery breaks off"),
        (
            Type::TXID_SNAPSHOT,
            "7fffffff 000000000000000a 0000000000000014",
            "a snapshot announces 2147483647 transactions and 0 bytes follow",
        ),
    ]);
}
