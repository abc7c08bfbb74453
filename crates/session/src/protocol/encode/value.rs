//! One value as it is sent: its length, and its bytes in the form of its type.

use bytes::{BufMut, BytesMut};
use postgres_types::{Format, IsNull, ToSql, Type, WrongType};

use super::Draft;
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::value::mismatch::{self, Note};
use crate::value::{fitting, to_sql_checked, write_as_text, write_plain};

/// What writing a value comes to.
pub(crate) type Written = std::result::Result<IsNull, Box<dyn std::error::Error + Sync + Send>>;

/// Whether the value is written as text.
#[inline]
pub(super) fn is_text<T: ToSql + ?Sized>(value: &T, ty: &Type) -> bool {
    matches!(value.encode_format(ty), Format::Text)
}

impl Draft<'_> {
    /// A row in COPY's binary format begins, which has so many values.
    #[inline]
    pub(crate) fn tuple(&mut self, count: i16) {
        self.out.put_i16(count);
    }

    /// The next value of a row in COPY's binary format, as `write` writes it.
    // Once for each value there is, and most of it falls away when the value's type is known.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn field(
        &mut self,
        index: usize,
        format: Format,
        ty: &Type,
        write: impl Fn(&Type, &mut BytesMut) -> Written,
    ) -> Result<()> {
        if matches!(format, Format::Text) && !crate::value::is_text(ty) {
            return Err(text_field(index, ty));
        }
        self.sized(index, ty, write).map(drop)
    }

    /// Writes a parameter; says whether it is NULL.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(super) fn parameter<T: ToSql + ?Sized>(
        &mut self,
        index: usize,
        value: &T,
        ty: &Type,
        as_text: bool,
        has_moments: bool,
    ) -> Result<bool> {
        let write = |ty: &Type, out: &mut BytesMut| {
            if as_text {
                write_as_text(|| value.to_sql_checked(ty, out))
            } else if has_moments {
                to_sql_checked(value, ty, out)
            } else {
                value.to_sql_checked(ty, out)
            }
        };
        self.sized(index, ty, write)
    }

    /// Writes what `write` writes behind its length; says whether it is NULL.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn sized(
        &mut self,
        index: usize,
        ty: &Type,
        write: impl Fn(&Type, &mut BytesMut) -> Written,
    ) -> Result<bool> {
        let at = self.out.len();
        self.out.put_i32(-1);
        let written = write(ty, self.out);
        let written = match written {
            Err(cause) => self.write_otherwise(at + 4, ty, cause, &write),
            written => written,
        };
        let is_null = match written {
            Ok(is_null) => matches!(is_null, IsNull::Yes),
            Err(source) => return Err(unsendable(index, ty, source)),
        };
        let Some(length) = self.out.len().checked_sub(at + 4) else {
            // Other requests may have lain there: the session sees that its outbox has shrunk.
            return Err(shrunk(index, ty));
        };
        if is_null {
            self.out.truncate(at + 4);
            return Ok(true);
        }
        if length > limits::REQUEST_BYTES {
            return Err(too_long(index, ty, length));
        }
        if let (Ok(word), Some(place)) = (u32::try_from(length), self.out.get_mut(at..at + 4)) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        Ok(false)
    }
}

impl Draft<'_> {
    /// The value could not be written: perhaps it takes what the type's domains are of.
    #[cold]
    fn write_otherwise(
        &mut self,
        at: usize,
        ty: &Type,
        cause: Box<dyn std::error::Error + Sync + Send>,
        write: &dyn Fn(&Type, &mut BytesMut) -> Written,
    ) -> Written {
        // What has written nothing has not removed anything either.
        if self.out.len() != at {
            return Err(cause);
        }
        write_plain(ty, self.out, cause, write)
    }
}

fn parameter_error(index: usize, ty: &Type, what: &str) -> Error {
    let number = index + 1;
    let name = ty.name();
    Error::new(ErrorKind::Parameter, format!("parameter ${number} ({name}) {what}"))
}

#[cold]
fn unsendable(index: usize, ty: &Type, source: Box<dyn std::error::Error + Sync + Send>) -> Error {
    let error = parameter_error(index, ty, "cannot be sent");
    let note = mismatch::take(ty);
    if !source.is::<WrongType>() {
        return error.with_source(source);
    }
    match note {
        Some(Note::Why(why)) => error.with_source(why),
        Some(Note::Advice(advice)) => error.with_source(source).with_hint(advice),
        None => error.with_source(source).with_hint(fitting::advice(ty, false)),
    }
}

#[cold]
fn shrunk(index: usize, ty: &Type) -> Error {
    parameter_error(index, ty, "removed bytes that are not its own")
}

#[cold]
fn too_long(index: usize, ty: &Type, length: usize) -> Error {
    let most = limits::REQUEST_BYTES;
    parameter_error(index, ty, &format!("has {length} bytes; PostgreSQL takes {most} at most"))
}

#[cold]
fn text_field(index: usize, ty: &Type) -> Error {
    parameter_error(index, ty, "is in text form, which has no place in a binary COPY")
        .with_hint("send text by copy_in")
}
