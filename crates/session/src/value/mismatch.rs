//! Which part of a type does not fit, or is NULL, for the error that says so.
//!
//! `accepts` of `ToSql` and `FromSql` can say no and not why. So a derived type that says no
//! leaves a note, and the code that makes the error picks it up, in the same thread and before
//! anything else is asked.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;

use postgres_types::{Field, FromSql, Kind, Type, WasNull};

use super::fitting;

type Cause = Box<dyn Error + Sync + Send>;

thread_local! {
    /// The number of the type that did not fit last, and what is known of it.
    static NOTE: RefCell<Option<(u32, Note)>> = const { RefCell::new(None) };
}

/// What is known of a type that does not fit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// Which part of it does not fit.
    Why(String),
    /// What to change.
    Advice(String),
}

/// Leaves a note.
#[cold]
pub(super) fn leave(ty: &Type, note: Note) {
    NOTE.set(Some((ty.oid(), note)));
}

/// The note, if it is about this type or one that it is made of.
#[cold]
pub(crate) fn take(ty: &Type) -> Option<Note> {
    let (oid, note) = NOTE.take()?;
    is_made_of(ty, oid).then_some(note)
}

/// Why values of the type do not read as a `T`, if that is known.
#[cold]
pub(crate) fn explain<'a, T: FromSql<'a>>(ty: &Type) -> Option<Note> {
    NOTE.set(None);
    let accepted = T::accepts(ty);
    take(ty).filter(|_| !accepted)
}

/// Why a field does not go with a type of Rust: as that has said itself, or by the field's type.
#[cold]
pub(super) fn of_field(field: &Field, rust: &str, reads: bool) -> String {
    let (name, ty) = (field.name(), field.type_());
    let advice = match take(ty) {
        Some(Note::Why(why)) => return format!("field \"{name}\" ({}): {why}", ty.name()),
        Some(Note::Advice(advice)) => advice,
        None => fitting::advice(ty, reads),
    };
    format!("field \"{name}\" ({}) does not go with {rust}: {advice}", ty.name())
}

fn is_made_of(ty: &Type, oid: u32) -> bool {
    ty.oid() == oid
        || match ty.kind() {
            Kind::Array(of) | Kind::Domain(of) | Kind::Range(of) | Kind::Multirange(of) => {
                is_made_of(of, oid)
            }
            Kind::Composite(fields) => fields.iter().any(|field| is_made_of(field.type_(), oid)),
            _ => false,
        }
}

/// What is wrong with a field's value.
#[derive(Debug)]
pub(super) struct FieldError {
    field: String,
    ty: String,
    what: What,
}

#[derive(Debug)]
enum What {
    /// It is NULL, and the type of Rust has no room for that.
    Null(&'static str),
    /// With what to read it as instead, if that is known.
    Other(Cause, Option<String>),
}

impl FieldError {
    pub(super) fn null<T>(field: &Field) -> Self {
        Self::new(field, What::Null(std::any::type_name::<T>()))
    }

    pub(super) fn other(field: &Field, cause: Cause) -> Self {
        Self::new(field, What::Other(cause, None))
    }

    /// The value does not read as a `T`.
    #[cold]
    pub(super) fn unread<T>(field: &Field, value: &[u8], cause: Cause) -> Self {
        let instead = fitting::with_room::<T>(field.type_(), value, &*cause);
        Self::new(field, What::Other(cause, instead))
    }

    fn new(field: &Field, what: What) -> Self {
        Self { field: field.name().to_owned(), ty: field.type_().name().to_owned(), what }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "field \"{}\" ({})", self.field, self.ty)?;
        match &self.what {
            What::Null(rust) => write!(f, " is NULL; read it as Option<{rust}>"),
            What::Other(_, Some(instead)) => write!(f, ": {instead}"),
            What::Other(cause, None) => write!(f, ": {cause}"),
        }
    }
}

// The cause is in the text already.
impl Error for FieldError {}

/// Whether a value could not be read for a NULL within it: then its type is what it was.
#[cold]
pub(crate) fn is_null(cause: &(dyn Error + Sync + Send + 'static)) -> bool {
    match cause.downcast_ref::<FieldError>() {
        Some(FieldError { what: What::Null(_), .. }) => true,
        Some(FieldError { what: What::Other(cause, _), .. }) => is_null(&**cause),
        None => cause.is::<WasNull>(),
    }
}
