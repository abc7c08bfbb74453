//! Rows as values: anonymous records and composites, read and written as tuples.

use bytes::{BufMut, BytesMut};
use postgres_types::{Field, FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};

use super::base;
use super::derive::{self, Cause};
use super::mismatch::{self, Note};
use super::unread::Unread;
use crate::result::row::type_of;

/// The fields of a record in their order, as a tuple of up to 12.
///
/// It reads an anonymous record, such as `row(1, 'a')` or an element of `array_agg((a, b))`, and
/// any composite with as many fields of these types; to a composite it can be written as well.
/// PostgreSQL takes no anonymous record as a parameter.
///
/// An anonymous record names the types of its fields by number, and nothing looks these up: a field
/// of a type that PostgreSQL does not come with reads as [`Raw`](super::Raw) only. Cast the record
/// to a composite type then, or the field to `text`.
///
/// ```
/// # fn show(row: &txpostgres_session::Row<'_>) -> txpostgres_session::Result<()> {
/// use txpostgres_session::value::Record;
///
/// let Record((number, name)): Record<(i32, Option<String>)> = row.get(0)?;
/// let all: Vec<Record<(i32, String)>> = row.get("all")?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Record<T>(pub T);

/// Takes a record apart.
struct Fields<'t, 'a> {
    /// Those that the type has, if it has any.
    declared: Option<&'t [Field]>,
    number: usize,
    unread: Unread<'a>,
}

impl<'t, 'a> Fields<'t, 'a> {
    fn new(ty: &'t Type, raw: &'a [u8], takes: usize) -> Result<Self, Cause> {
        // A type and a length each.
        let mut unread = Unread::new("a record", raw);
        let count = unread.count("fields", 8)?;
        if count != takes {
            return Err(format!("the record has {count} fields, and the tuple {takes}").into());
        }
        let declared = match base(ty).kind() {
            Kind::Composite(fields) => Some(&**fields),
            _ => None,
        };
        Ok(Self { declared, number: 0, unread })
    }

    fn next<T: FromSql<'a>>(&mut self) -> Result<T, Cause> {
        let announced = self.unread.u32()?;
        let value = self.unread.nullable("a field")?;
        let declared = self.declared.and_then(|fields| fields.get(self.number));
        self.number += 1;
        if let Some(field) = declared {
            return derive::read_field(field, value);
        }
        let ty = type_of(announced);
        // A NULL is one of any type.
        if value.is_some() && !derive::reads::<T>(&ty) {
            return Err(does_not_go(self.number, &ty, std::any::type_name::<T>()));
        }
        if let Some(value) = value {
            super::verify(&ty, value)?;
        }
        derive::read_field(&Field::new(self.number.to_string(), ty), value)
    }
}

#[cold]
fn does_not_go(number: usize, ty: &Type, rust: &str) -> Cause {
    let advice = if Type::from_oid(ty.oid()).is_some() {
        super::fitting::advice(ty, true)
    } else {
        "cast the record to a composite type, or the field to text".to_owned()
    };
    format!("field {number} ({}) does not go with {rust}: {advice}", ty.name()).into()
}

/// Whether a field's type goes with a type of Rust, and the name of that.
type Part = (fn(&Type) -> bool, fn() -> &'static str);

/// Whether the type is a composite of these fields. If not, the error will say which is another.
fn is_composite_of(ty: &Type, parts: &[Part], reads: bool) -> bool {
    let Kind::Composite(fields) = ty.kind() else {
        return false;
    };
    let other = fields.iter().zip(parts).find(|(field, (accepts, _))| !accepts(field.type_()));
    let why = match other {
        _ if fields.len() != parts.len() => {
            let (name, count) = (ty.name(), fields.len());
            format!("the type {name} has {count} fields, and the tuple {}", parts.len())
        }
        Some((field, (_, rust))) => mismatch::of_field(field, rust(), reads),
        None => return true,
    };
    mismatch::leave(ty, Note::Why(why));
    false
}

macro_rules! records {
    ($($count:literal $($name:ident $index:tt)+;)+) => {$(
        impl<'a, $($name: FromSql<'a>),+> FromSql<'a> for Record<($($name,)+)> {
            fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Cause> {
                let mut fields = Fields::new(ty, raw, $count)?;
                let read = ($(fields.next::<$name>()?,)+);
                fields.unread.end()?;
                Ok(Self(read))
            }

            fn accepts(ty: &Type) -> bool {
                *ty == Type::RECORD || is_composite_of(
                    ty,
                    &[$((derive::reads::<$name>, std::any::type_name::<$name>)),+],
                    true,
                )
            }
        }

        impl<$($name: ToSql),+> ToSql for Record<($($name,)+)> {
            fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Cause> {
                let Kind::Composite(fields) = base(ty).kind() else {
                    return Err(format!("{} is not a composite", ty.name()).into());
                };
                if fields.len() != $count {
                    return Err(format!("{} has {} fields", ty.name(), fields.len()).into());
                }
                out.put_i32($count);
                let mut fields = fields.iter();
                $(
                    if let Some(field) = fields.next() {
                        derive::write_field(&self.0.$index, field, out)?;
                    }
                )+
                Ok(IsNull::No)
            }

            fn accepts(ty: &Type) -> bool {
                is_composite_of(
                    ty,
                    &[$((derive::writes::<$name>, std::any::type_name::<$name>)),+],
                    false,
                )
            }

            to_sql_checked!();
        }
    )+};
}

records! {
    1 A 0;
    2 A 0 B 1;
    3 A 0 B 1 C 2;
    4 A 0 B 1 C 2 D 3;
    5 A 0 B 1 C 2 D 3 E 4;
    6 A 0 B 1 C 2 D 3 E 4 F 5;
    7 A 0 B 1 C 2 D 3 E 4 F 5 G 6;
    8 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7;
    9 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8;
    10 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9;
    11 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10;
    12 A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11;
}
