//! What the code made by `txpostgres-derive` calls. Not meant for anybody else.

use std::error::Error as StdError;

use bytes::BufMut;
use postgres_types::{Field, FromSql, IsNull, Kind, ToSql, Type};

use super::Malformed;
use super::mismatch::{self, FieldError, Note};
use super::unread::Unread;
use crate::error::{Error, Result};
use crate::result::row::Column;

pub use crate::result::column_reader::ColumnReader;
pub use bytes::BytesMut;

/// Why a value cannot be read or written.
pub type Cause = Box<dyn StdError + Sync + Send>;

/// What a domain is of; any other type itself.
pub fn base(ty: &Type) -> &Type {
    super::base(ty)
}

/// The reader of a field's column: the error names the field.
///
/// # Errors
///
/// As [`ColumnReader::new`].
pub fn column_reader<'a, T: FromSql<'a>>(
    columns: &[Column],
    name: &str,
    field: &str,
) -> Result<ColumnReader> {
    ColumnReader::new::<T>(columns, name).map_err(|error| of_field(&error, field))
}

/// The same, if there is such a column.
///
/// # Errors
///
/// As [`ColumnReader::find`].
pub fn column_reader_if_any<'a, T: FromSql<'a>>(
    columns: &[Column],
    name: &str,
    field: &str,
) -> Result<Option<ColumnReader>> {
    ColumnReader::find::<T>(columns, name).map_err(|error| of_field(&error, field))
}

#[cold]
fn of_field(error: &Error, field: &str) -> Error {
    let hint = error.hint().map(str::to_owned);
    let named =
        Error::new(error.kind(), format!("{field}: {error}")).with_delivery(error.delivery());
    match hint {
        Some(hint) => named.with_hint(hint),
        None => named,
    }
}

/// The fields of a composite that is read.
#[derive(Debug)]
pub struct Fields<'t, 'a> {
    declared: std::slice::Iter<'t, Field>,
    unread: Unread<'a>,
}

impl<'t, 'a> Fields<'t, 'a> {
    /// Begins to read a value.
    ///
    /// # Errors
    ///
    /// The type is no composite, or it has another number of fields than the value.
    pub fn read(ty: &'t Type, raw: &'a [u8]) -> Result<Self, Cause> {
        let declared = fields_of(ty)?;
        let mut unread = Unread::new("a composite", raw);
        // A type and a length each.
        let announced = unread.count("fields", 8)?;
        if announced != declared.len() {
            return Err(Malformed::Fields { announced, declared: declared.len() }.into());
        }
        Ok(Self { declared: declared.iter(), unread })
    }

    /// The next field and its value.
    ///
    /// # Errors
    ///
    /// The value breaks off, or has a field of another type.
    #[allow(clippy::type_complexity)]
    pub fn next_field(&mut self) -> Result<Option<(&'t Field, Option<&'a [u8]>)>, Cause> {
        let Some(field) = self.declared.next() else {
            self.unread.end()?;
            return Ok(None);
        };
        let (announced, declared) = (self.unread.u32()?, field.type_().oid());
        if announced != declared {
            return Err(Malformed::FieldType { announced, declared }.into());
        }
        Ok(Some((field, self.unread.nullable("a field")?)))
    }
}

/// Reads a field's value; the error names the field.
///
/// # Errors
///
/// It is NULL and `T` has no room for that, or it does not read as a `T`.
#[inline]
pub fn read_field<'a, T: FromSql<'a>>(field: &Field, value: Option<&'a [u8]>) -> Result<T, Cause> {
    match value {
        Some(value) => read::<T>(field.type_(), value)
            .map_err(|cause| FieldError::unread::<T>(field, value, cause).into()),
        None => T::from_sql_null(field.type_()).map_err(|_| FieldError::null::<T>(field).into()),
    }
}

/// Reads a value as this type, or as what the type's domains are of.
///
/// # Errors
///
/// Those of the decoder.
#[inline]
pub fn read<'a, T: FromSql<'a>>(ty: &Type, value: &'a [u8]) -> Result<T, Cause> {
    match super::without_domains(ty) {
        Some(plain) if !T::accepts(ty) => super::decode(ty, &plain, value),
        _ => super::decode(ty, ty, value),
    }
}

/// Whether the type, or what its domains are of, reads as a `T`.
pub fn reads<'a, T: FromSql<'a>>(ty: &Type) -> bool {
    super::accepts(ty, T::accepts)
}

/// Whether a `T` can be written as the type, or as what the type's domains are of.
pub fn writes<T: ToSql>(ty: &Type) -> bool {
    super::accepts(ty, T::accepts)
}

/// Whether the type has this name, which the type of Rust `rust` stands for. If only the name is
/// another, the error will say so. `agrees`: whether all else is as it should be.
pub fn is_named(ty: &Type, name: &str, rust: &str, agrees: impl FnOnce() -> bool) -> bool {
    let is_named = ty.name() == name;
    if !is_named {
        let others = match ty.kind() {
            Kind::Enum(_) => "labels",
            Kind::Composite(_) => "fields",
            _ => return false,
        };
        let of = ty.name();
        let advice = if is_alike(name, of) || agrees() {
            format!(
                "{rust} stands for \"{name}\", the type is \"{of}\": `#[postgres(name = \"{of}\")]`"
            )
        } else {
            format!(
                "{rust} stands for \"{name}\", and the type is \"{of}\", which has other {others}"
            )
        };
        mismatch::leave(ty, Note::Advice(advice));
    }
    is_named
}

/// Whether two names differ by case, underscores, quotes or a schema only.
#[cold]
fn is_alike(a: &str, b: &str) -> bool {
    let plain = |name: &str| {
        let name = name.rsplit('.').next().unwrap_or_default();
        name.replace(['_', '"'], "").to_lowercase()
    };
    plain(a) == plain(b)
}

/// Whether an enum has the name that the type of Rust `rust` stands for, and its labels. If not,
/// the error will say what is another.
pub fn is_enum(ty: &Type, name: &str, rust: &str, variants: &[&str]) -> bool {
    let Kind::Enum(labels) = ty.kind() else {
        return false;
    };
    is_named(ty, name, rust, || other_label(ty, rust, labels, variants).is_none())
        && match other_label(ty, rust, labels, variants) {
            Some(advice) => {
                mismatch::leave(ty, Note::Advice(advice));
                false
            }
            None => true,
        }
}

/// Which label an enum and the type of Rust do not share.
fn other_label(ty: &Type, rust: &str, labels: &[String], variants: &[&str]) -> Option<String> {
    let of = ty.name();
    if let Some(label) = labels.iter().find(|label| !variants.contains(&label.as_str())) {
        return Some(format!(
            "the enum {of} has the label {label}, which {rust} lacks: `allow_mismatch`"
        ));
    }
    let lacks = variants.iter().find(|name| !labels.iter().any(|label| label == **name))?;
    Some(format!("{rust} has the label {lacks}, which the enum {of} lacks: `allow_mismatch`"))
}

/// Whether an enum has the name that the type of Rust `rust` stands for, whatever its labels are.
/// If not, the error will say so.
pub fn is_enum_of_some(ty: &Type, name: &str, rust: &str, variants: &[&str]) -> bool {
    let Kind::Enum(labels) = ty.kind() else {
        return false;
    };
    is_named(ty, name, rust, || labels.iter().any(|label| variants.contains(&label.as_str())))
}

/// What a struct has for a field: whether the field's type goes with it, and its name. `None` if it
/// has nothing.
pub type Part = Option<(bool, &'static str)>;

/// Whether a composite has the name that the struct `rust` stands for, and its fields, by their
/// names. If not, the error will say why.
pub fn is_composite(
    ty: &Type,
    name: &str,
    rust: &str,
    names: &[&str],
    part: impl Fn(&Field) -> Part,
) -> bool {
    let Kind::Composite(fields) = ty.kind() else {
        return false;
    };
    let fit = || {
        fields.len() == names.len()
            && fields.iter().all(|field| matches!(part(field), Some((true, _))))
    };
    if !is_named(ty, name, rust, fit) {
        return false;
    }
    let fit = fit();
    if !fit {
        mismatch::leave(ty, Note::Why(why_not(ty, fields, names, &part)));
    }
    fit
}

#[cold]
fn why_not(ty: &Type, fields: &[Field], names: &[&str], part: &dyn Fn(&Field) -> Part) -> String {
    let is_there = |name: &&&str| fields.iter().any(|field| field.name() == **name);
    if let Some(name) = names.iter().find(|name| !is_there(name)) {
        return format!("the type {} has no field \"{name}\"", ty.name());
    }
    for field in fields {
        let (name, of) = (field.name(), field.type_());
        match part(field) {
            Some((true, _)) => {}
            // It has left a note itself if it is a composite.
            Some((false, rust)) => {
                return match mismatch::take(of) {
                    Some(Note::Why(why)) => format!("field \"{name}\" ({}): {why}", of.name()),
                    Some(Note::Advice(advice)) => {
                        format!(
                            "field \"{name}\" ({}) does not go with {rust}: {advice}",
                            of.name()
                        )
                    }
                    None => format!("field \"{name}\" ({}) does not go with {rust}", of.name()),
                };
            }
            None => return format!("the struct has no field \"{name}\""),
        }
    }
    format!("the type {} has other fields than the struct", ty.name())
}

/// Writes the number of a composite's fields, and gives them back.
///
/// # Errors
///
/// The type is no composite.
pub fn begin_fields<'t>(ty: &'t Type, out: &mut BytesMut) -> Result<&'t [Field], Cause> {
    let fields = fields_of(ty)?;
    out.put_i32(i32::try_from(fields.len())?);
    Ok(fields)
}

/// Writes one field.
///
/// # Errors
///
/// The value cannot be written as the field's type.
pub fn write_field(value: &impl ToSql, field: &Field, out: &mut BytesMut) -> Result<(), Cause> {
    out.put_u32(field.type_().oid());
    let at = out.len();
    let mut is_null = IsNull::No;
    super::write_sized(out, |out| {
        is_null = super::write(value, field.type_(), out)
            .map_err(|cause| Cause::from(FieldError::other(field, cause)))?;
        Ok(())
    })?;
    if matches!(is_null, IsNull::Yes) {
        out.truncate(at);
        out.put_i32(-1);
    }
    Ok(())
}

fn fields_of(ty: &Type) -> Result<&[Field], Cause> {
    match base(ty).kind() {
        Kind::Composite(fields) => Ok(fields),
        _ => Err(format!("{} is not a composite", ty.name()).into()),
    }
}

/// A label that no variant stands for.
#[cold]
pub fn unknown_label(ty: &str) -> Cause {
    format!("the enum {ty} has a label that no variant stands for").into()
}

/// A field of the database that the struct does not have.
#[cold]
pub fn unknown_field(name: &str) -> Cause {
    format!("the composite has a field {name}, which the struct does not have").into()
}

/// A field of the struct that the database does not have.
#[cold]
pub fn missing_field(name: &str) -> Cause {
    format!("the composite has no field {name}").into()
}
