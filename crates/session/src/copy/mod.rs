//! What is said of a COPY before its data comes: which way it goes, and in which form.

pub(crate) mod rows;

use std::fmt;

use crate::error::Result;
use crate::protocol::wire::Reader;
use crate::result::row::{Format, format_of};

/// Which way the data of a COPY goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// `FROM STDIN`: from us to the server.
    In,
    /// `TO STDOUT`: from the server to us.
    Out,
}

/// The form of the data (manual, section 54.7, `CopyInResponse` and `CopyOutResponse`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyLayout {
    format: Format,
    columns: usize,
}

impl CopyLayout {
    pub(crate) fn read(body: &[u8], what: &'static str) -> Result<Self> {
        let mut reader = Reader::new(body, what);
        let format = format_of(i16::from(reader.u8()?))?;
        let columns = usize::from(reader.u16()?);
        for _ in 0..columns {
            // The same for all of them.
            format_of(reader.i16()?)?;
        }
        reader.end()?;
        Ok(Self { format, columns })
    }

    /// Text and CSV are both [`Format::Text`].
    pub fn format(&self) -> Format {
        self.format
    }

    /// How many columns a row has.
    pub fn columns(&self) -> usize {
        self.columns
    }
}

/// Data of a COPY that came together.
#[derive(Default)]
pub struct CopyData {
    /// As they came.
    pub bytes: Vec<u8>,
    /// How many messages they came in: the server makes one of each row.
    pub messages: usize,
}

impl fmt::Debug for CopyData {
    /// Sizes only: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyData")
            .field("bytes", &self.bytes.len())
            .field("messages", &self.messages)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_read_or_refused() {
        let binary = CopyLayout::read(b"\x01\0\x02\0\x01\0\x01", "CopyInResponse").unwrap();
        assert_eq!((binary.format(), binary.columns()), (Format::Binary, 2));
        let text = CopyLayout::read(b"\0\0\0", "CopyInResponse").unwrap();
        assert_eq!((text.format(), text.columns()), (Format::Text, 0));
        for body in [&b""[..], b"\x02\0\0", b"\0\0\x01", b"\0\0\0\0", b"\0\0\x01\0\x07"] {
            CopyLayout::read(body, "CopyInResponse").unwrap_err();
        }
    }
}
