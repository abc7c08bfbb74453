//! Prepared statements, and portals: statements with their parameters, and how far they were
//! executed.

use super::statement::Statement;
use crate::token::Token;
use crate::wire::{self, Fields};

/// A prepared statement.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) statement: Statement,
    /// The shape of its table when it was prepared.
    pub(super) shape: u32,
}

/// A statement with its parameters, and how far it was executed.
#[derive(Debug, Clone)]
pub(super) struct Portal {
    pub(super) prepared: Prepared,
    pub(super) parameters: Parameters,
    pub(super) formats: Vec<u16>,
    /// The next row.
    pub(super) row: u32,
    pub(super) has_begun: bool,
    pub(super) has_ended: bool,
}

/// The values of a Bind, as far as statements use them.
#[derive(Debug, Clone, Default)]
pub(super) struct Parameters {
    pub(super) token: Option<Token>,
    pub(super) shift: i64,
    pub(super) texts: Vec<String>,
}

/// A count and so many format codes.
pub(super) fn read_formats(fields: &mut Fields<'_>) -> Option<Vec<u16>> {
    let count = fields.short()?;
    (0..count).map(|_| fields.short()).collect()
}

impl Parameters {
    /// `has_number`: the second one is an `int8`, else all are texts, which have the same form in
    /// both formats.
    pub(super) fn read(fields: &mut Fields<'_>, formats: &[u16], has_number: bool) -> Option<Self> {
        let mut this = Self::default();
        for index in 0..usize::from(fields.short()?) {
            let value = fields.value()?;
            if has_number && index == 1 && wire::format_of(formats, index) == 1 {
                let number = i64::from_be_bytes(*value.first_chunk()?);
                this.texts.push(number.to_string());
            } else {
                this.texts.push(std::str::from_utf8(value).ok()?.to_owned());
            }
        }
        this.token = this.texts.first().and_then(|text| text.parse().ok());
        this.shift = this.texts.get(1).and_then(|text| text.parse().ok()).unwrap_or(0);
        Some(this)
    }
}
