//! The tables that the fake server seems to have: those of workloads d and e, in binary only.

use crate::frames::message;
use crate::item::Item;
use crate::workload_e::byte_at;

/// A table that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// As many rows as the parameter says.
    Rows,
    /// One value, as large as the parameter says.
    Values,
}

impl Table {
    /// The one that a statement names.
    pub(super) fn named_in(text: &[u8]) -> Option<Table> {
        let names = |name: &[u8]| text.windows(name.len()).any(|word| word == name);
        if names(b"txpostgres_bench_rows") {
            Some(Table::Rows)
        } else if names(b"txpostgres_bench_values") {
            Some(Table::Values)
        } else {
            None
        }
    }

    /// Its RowDescription.
    pub(super) fn description(self, binary: bool) -> Vec<u8> {
        let columns: &[(&str, u32, i16)] = match self {
            Table::Rows => &[("id", 20, 8), ("name", 25, -1), ("value", 701, 8), ("at", 1184, 8)],
            Table::Values => &[("bytes", 17, -1)],
        };
        let mut body = u16::try_from(columns.len()).unwrap_or(0).to_be_bytes().to_vec();
        for (name, oid, size) in columns {
            body.extend_from_slice(name.as_bytes());
            body.extend_from_slice(&[0; 7]);
            body.extend_from_slice(&oid.to_be_bytes());
            body.extend_from_slice(&size.to_be_bytes());
            body.extend_from_slice(&(-1_i32).to_be_bytes());
            body.extend_from_slice(&i16::from(binary).to_be_bytes());
        }
        message(b'T', &[&body])
    }

    /// What its rows and their end are.
    pub(super) fn answer(self, parameter: u32, output: &mut Vec<u8>) {
        let rows = match self {
            Table::Rows => {
                let mut row = Vec::new();
                for n in 1..=parameter {
                    row.clear();
                    let item = Item::number(n);
                    item.write(item.id, &mut row);
                    output.extend(message(b'D', &[&row]));
                }
                parameter
            }
            Table::Values => {
                let value: Vec<u8> = (0..parameter).map(byte_at).collect();
                output.extend(message(b'D', &[b"\0\x01", &parameter.to_be_bytes(), &value]));
                1
            }
        };
        output.extend(message(b'C', &[format!("SELECT {rows}\0").as_bytes()]));
    }
}
