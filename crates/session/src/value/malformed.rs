//! What is wrong with a value: it announces more, or less, than the bytes that are there.

use std::error::Error;
use std::fmt;

use crate::limits;

/// Why a binary value was not handed to a decoder.
///
/// `Display` is one line of counts and names of parts; the value itself never appears in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// The bytes end in a place where more is due whatever was announced.
    Ends {
        /// What breaks off: `"an array"`.
        within: &'static str,
    },
    /// A number of things that the bytes which follow cannot hold, or a negative one.
    Count {
        /// What announces it: `"an array"`.
        of: &'static str,
        /// As announced; for an array the product of its dimensions.
        announced: i64,
        /// What is counted: `"elements"`.
        unit: &'static str,
        /// Bytes that follow the announcement.
        follow: usize,
    },
    /// A length that the bytes which follow do not have, or a negative one where NULL (−1) is not
    /// possible.
    Length {
        /// Whose length it is: `"an element"`.
        part: &'static str,
        /// What the part belongs to: `"an array"`.
        of: &'static str,
        /// As announced.
        announced: i64,
        /// Bytes that follow the announcement.
        follow: usize,
    },
    /// Bytes are left when everything announced has been read.
    Trailing {
        /// What ended too early: `"an array"`.
        of: &'static str,
        /// Bytes that are left.
        left: usize,
    },
    /// An array has a negative number of dimensions or more than [`limits::ARRAY_DIMENSIONS`].
    Dimensions {
        /// As announced.
        announced: i32,
    },
    /// An array of several dimensions has one of length zero.
    ///
    /// The server sends an array without elements with one dimension or none. With more, nested
    /// lists could be built out of nothing: dimensions of 2,147,483,647 and 0 take 28 bytes and
    /// mean two thousand million empty lists.
    EmptyDimension,
    /// A range is said to be empty and to have bounds.
    RangeFlags {
        /// The flags as they came.
        flags: u8,
    },
    /// A composite has another number of fields than its type.
    ///
    /// It may have been altered since its type was looked up.
    Fields {
        /// Fields that the value announces.
        announced: usize,
        /// Fields that the type has.
        declared: usize,
    },
    /// A field of a composite is of another type than declared.
    ///
    /// It may have been altered since its type was looked up.
    FieldType {
        /// The OID in the value.
        announced: u32,
        /// The OID in the type.
        declared: u32,
    },
    /// The value is nested deeper than [`limits::VALUE_DEPTH`].
    Depth,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Ends { within } => write!(f, "{within} breaks off"),
            Self::Count { of, announced, unit, follow } => {
                write!(f, "{of} announces {announced} {unit} and {follow} bytes follow")
            }
            Self::Length { part, of, announced, follow } => {
                write!(f, "{part} of {of} announces {announced} bytes and {follow} follow")
            }
            Self::Trailing { of, left } => write!(f, "{left} bytes are left after {of}"),
            Self::Dimensions { announced } => write!(
                f,
                "an array announces {announced} dimensions, and {} are the most",
                limits::ARRAY_DIMENSIONS
            ),
            Self::EmptyDimension => {
                f.write_str("an array of several dimensions has one of length 0")
            }
            Self::RangeFlags { flags } => {
                write!(f, "a range is empty and has bounds (flags {flags:#04x})")
            }
            Self::Fields { announced, declared } => {
                write!(f, "a composite announces {announced} fields and its type has {declared}")
            }
            Self::FieldType { announced, declared } => write!(
                f,
                "a field of a composite announces type {announced} and is declared as {declared}"
            ),
            Self::Depth => {
                write!(f, "a value is nested deeper than {} levels", limits::VALUE_DEPTH)
            }
        }
    }
}

impl Error for Malformed {}
